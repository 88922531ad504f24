"""What one running system holds of its machine alone: nobody else gets it, and anyone who is refused is told why."""

import os
import socket
import sys
from pathlib import Path

import pytest

from orders.embedded import account
from orders.errors import StartError
from orders.system import claims
from orders.system.claims import bind, claimed, url_of
from orders.system.machine import PortOwner


def refusal(data: Path) -> str:
    """What a start in the directory is refused with."""
    with pytest.raises(StartError) as refused, claimed(data):
        pytest.fail("held")
    return str(refused.value)


# ---- the data directory ----


def test_a_data_directory_has_one_holder_who_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with claimed(data):
        assert refusal(data) == (
            f"{data} is in use by process {os.getpid()}: stop that one first, or choose another with --data-dir"
        )
    with claimed(data):
        assert (data / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_yet_said_who_it_is_holds_too(tmp_path: Path) -> None:
    with claimed(tmp_path):
        (tmp_path / "lock").write_text("")
        assert f"{tmp_path} is in use by another process: " in refusal(tmp_path)


def test_a_file_in_place_of_a_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = "the data directory {} cannot be used ({}): choose another with --data-dir"
    assert refusal(tmp_path / "file") == sentence.format(tmp_path / "file", "it is not a directory")
    assert refusal(tmp_path / "file" / "x") == sentence.format(tmp_path / "file" / "x", "Not a directory")


def test_nobody_else_may_write_to_a_directory_that_is_made_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with claimed(tmp_path / "data"):
            assert (tmp_path / "data").stat().st_mode & 0o777 == 0o755
            assert (tmp_path / "data" / "lock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@pytest.mark.root
@pytest.mark.parametrize("part", ["lock", "state.json", "postgres", "kafka"])
def test_root_leaves_the_data_of_another_user_alone(tmp_path: Path, part: str) -> None:
    (tmp_path / part).touch()
    os.chown(tmp_path / part, 4711, 4711)
    assert refusal(tmp_path) == (
        f"{tmp_path} was made by the user 4711: start as 4711 (`sudo -u 4711 ./orders run`), for root would lock 4711 "
        "out, or choose another with --data-dir"
    )
    assert [path.name for path in tmp_path.iterdir()] == [part]


@pytest.mark.root
def test_root_takes_its_own_data_and_what_it_gave_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", account.NOBODY, account.NOBODY)
    with claimed(tmp_path):
        assert (tmp_path / "lock").exists()


def test_what_root_made_is_refused_to_others_with_the_command_that_hands_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "a b"
    (data / "postgres").mkdir(parents=True)
    owner = data.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4711)
    told = refusal(data)
    assert told.startswith(f"{data} was made by the user ")
    assert f"take it over with `sudo chown -R {owner + 4711} '{data}'`, or choose another with --data-dir" in told


def test_a_directory_that_is_closed_to_us_names_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "open", closed)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4711)
    assert "cannot be used (Permission denied; it belongs to the user " in refusal(tmp_path)


# ---- the HTTP address ----


def test_a_socket_answers_where_its_url_says() -> None:
    with bind("127.0.0.1", 0) as listening:
        host, port = url_of(listening).removeprefix("http://").split(":")
        socket.create_connection((host, int(port))).close()


@pytest.mark.skipif("not socket.has_ipv6", reason="there is no IPv6")
def test_an_address_of_ipv6_answers_where_its_url_says() -> None:
    with bind("::1", 0) as listening:
        assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


def test_a_wildcard_address_is_shown_as_one_that_can_be_called() -> None:
    with bind("0.0.0.0", 0) as listening:  # noqa: S104 - what is tested
        assert url_of(listening).startswith("http://127.0.0.1:")


def test_a_taken_port_names_who_has_it() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as refused:
            bind("127.0.0.1", port)
    assert f"HTTP cannot use 127.0.0.1:{port}: " in str(refused.value)
    assert f" (process {os.getpid()}) listens there, stop it or choose another with --http-port" in str(refused.value)


def test_a_port_of_another_orders_run_names_its_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "port_owner", lambda *_: PortOwner("orders run", 4711, Path("/data")))
    with bind("127.0.0.1", 0) as taken, pytest.raises(StartError) as refused:
        bind("127.0.0.1", taken.getsockname()[1])
    assert "another orders run (process 4711) of the data directory /data listens there, stop it" in str(refused.value)


def test_a_port_whose_owner_is_hidden_says_how_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "port_owner", lambda *_: None)
    with bind("127.0.0.1", 0) as taken, pytest.raises(StartError, match="does not show us which, see `sudo ") as told:
        bind("127.0.0.1", taken.getsockname()[1])
    assert ("ss -ltnp" if sys.platform == "linux" else "lsof") in str(told.value)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.1", "that is not an address of this machine"),
        ("no.such.host.invalid", "no address is known for that name"),
        ("x..y", "no address is known for that name"),
    ],
)
def test_an_address_that_cannot_be_had_is_one_sentence(host: str, why: str) -> None:
    with pytest.raises(StartError, match=rf"^HTTP cannot use {host}:8080: {why}, choose another with --http-host"):
        bind(host, 8080)


def test_a_port_of_roots_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", closed)
    with pytest.raises(StartError, match=r"low ports are root's, choose another with --http-port$"):
        bind("127.0.0.1", 80)
