"""What one running system holds of its machine: nobody else gets it, and nothing stays behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orders.errors import StartError
from orders.system import place
from orders.system.place import bind, claimed, memory_directory, remove_abandoned, url_of


def test_a_data_directory_has_one_holder_who_is_named(tmp_path: Path) -> None:
    second = claimed(tmp_path / "data")
    with claimed(tmp_path / "data"), pytest.raises(StartError, match=f"is in use by process {os.getpid()}: "):
        second.__enter__()
    with claimed(tmp_path / "data"):
        assert (tmp_path / "data" / "lock").read_text() == f"{os.getpid()}\n"


def test_a_data_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StartError, match=r"cannot be used \(.*\): choose --data-dir$"),
        claimed(tmp_path / "file" / "x"),
    ):
        pytest.fail("held")


def test_a_socket_answers_where_its_url_says() -> None:
    with bind("127.0.0.1", 0) as listening:
        host, port = url_of(listening).removeprefix("http://").split(":")
        socket.create_connection((host, int(port))).close()


def test_a_wildcard_address_is_shown_as_one_that_can_be_called() -> None:
    with bind("0.0.0.0", 0) as listening:  # noqa: S104 - what is tested
        assert url_of(listening).startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("host", "why"), [("127.0.0.1", "Address already in use"), ("no.such.host.invalid", "Name or service not known|.+")]
)
def test_an_address_that_cannot_be_had_is_one_sentence(host: str, why: str) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"^HTTP cannot use {host}:{port} \(({why})\): choose another with"):
            bind(host, port)


def test_memory_lies_in_ram_where_there_is_room_else_with_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ram, data = tmp_path / "ram", tmp_path / "data"
    ram.mkdir()
    data.mkdir()
    monkeypatch.setattr(place, "SHM", ram)
    with memory_directory(data, 1) as path:
        assert path.parent == ram
        assert path.stat().st_mode & 0o777 == 0o700
    with memory_directory(data, 2**62) as path:
        assert path.parent == data
        (path / "memory").touch()
    assert [*ram.iterdir(), *data.iterdir()] == []
    monkeypatch.setattr(place, "SHM", tmp_path / "missing")
    with memory_directory(data, 1) as path:
        assert path.parent == data


def test_an_abandoned_memory_is_removed_and_a_held_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "SHM", tmp_path / "missing")
    code = f"import os; from orders.system.place import *; held_directory(Path({str(tmp_path)!r})); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    (abandoned,) = tmp_path.iterdir()
    with memory_directory(tmp_path, 1) as held:
        assert not abandoned.exists()
        remove_abandoned(tmp_path)
        assert held.exists()
