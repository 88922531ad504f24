"""What the machine gives: each look on a directory, figures or a port of the test's own."""

import os
import resource
import socket
from pathlib import Path

import pytest

from orders.doctor import local
from orders.doctor.check import GB, MB
from orders.doctor.local import (
    data_directory,
    data_versions,
    disk,
    http_names,
    http_port,
    memory,
    open_files,
    shared_memory,
)
from orders.embedded import account
from orders.settings import Settings
from orders.system import claims, machine

SETTINGS = Settings(memory_bytes=256 * MB)


def test_a_directory_that_can_be_made_or_written_is_ok(tmp_path: Path) -> None:
    assert data_directory(tmp_path / "a" / "b", None).found.endswith("a/b can be made")
    assert data_directory(tmp_path, None).found.endswith("can be written")


def test_a_file_in_its_place_fails(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert data_directory(tmp_path / "data", None).state == "failed"


def test_what_another_user_made_fails_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "postgres").mkdir()
    monkeypatch.setattr(account, "owners", lambda: frozenset({os.geteuid() + 1}))
    found = data_directory(tmp_path, None)
    assert found.state == "failed"
    assert f"{tmp_path}/postgres belongs to another user (number {os.geteuid()})" in found.found


def test_a_directory_without_the_permission_to_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert data_directory(tmp_path / "data", None).found == f"{tmp_path} cannot be written by this user"


def test_a_directory_in_use_names_the_process_also_while_that_only_starts(tmp_path: Path) -> None:
    with claims.claimed(tmp_path):
        found = data_directory(tmp_path, None)
    assert found.found == f"{tmp_path} is in use by a system that runs (process {os.getpid()})"
    assert "can be written" in data_directory(tmp_path, None).found, "a lock file alone is no system"


def test_data_of_another_version_fails_and_says_which(tmp_path: Path) -> None:
    assert data_versions(tmp_path).found == "there is no data yet"
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "kafka").mkdir()
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text(f"{local.embedded_postgres().partition('.')[0]}\n")
    (tmp_path / "kafka" / "version").write_text("3.9.1\n")
    assert data_versions(tmp_path).state == "ok", "an older Kafka's data is read"
    (tmp_path / "kafka" / "version").write_text("99.0.0\n")
    assert "was made by Kafka 99.0" in data_versions(tmp_path).found
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    assert "was made by PostgreSQL 9" in data_versions(tmp_path).found


@pytest.mark.parametrize(
    ("free", "embedded", "state"),
    [
        (machine.DISK_LEAST - 1, True, "failed"),
        (machine.DISK_LEAST - 1, False, "ok"),
        (machine.DISK_LEAST, True, "warning"),
        (local.DISK_SCARCE, True, "ok"),
    ],
)
def test_the_disk_must_have_room_where_services_are_embedded(
    free: int, embedded: bool, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.system.machine.free_bytes", lambda _: free)
    monkeypatch.setattr("orders.system.capacity.free_bytes", lambda _: free)
    assert disk(tmp_path, embedded=embedded).state == state


def test_too_little_memory_fails_in_the_words_of_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MEMORY_LEAST", 2**60)
    assert memory(needed=True).state == "failed"
    assert memory(needed=False).state == "ok"


@pytest.mark.parametrize(
    ("shm", "ram", "on_disk", "state"),
    [
        (512 * MB, GB, 0, "ok"),
        (64 * MB, GB, GB, "warning"),
        (512 * MB, 100 * MB, GB, "warning"),
        (64 * MB, GB, 100 * MB, "failed"),
    ],
)
def test_shared_memory_needs_room_somewhere(shm: int, ram: int, on_disk: int, state: str) -> None:
    assert shared_memory(SETTINGS, shm, ram, on_disk).state == state


def test_a_room_that_is_closed_to_us_has_none(tmp_path: Path) -> None:
    assert local.room(tmp_path / "missing") == 0
    assert local.room(tmp_path) > 0


def test_few_open_files_are_a_warning_and_too_few_for_embedded_services_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600, 600))
    few = open_files(SETTINGS, embedded=True)
    assert (few.state, few.found) == (
        "warning",
        "600 for a process: a serve process may hold 532 of 10000 HTTP connections",
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600, 20_000))
    assert open_files(SETTINGS, embedded=True).state == "ok"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    assert open_files(SETTINGS, embedded=True).state == "failed"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert open_files(SETTINGS, embedded=True).state == "ok"


def test_a_taken_port_fails_and_says_by_whom() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = http_port(Settings(http_port=port))
        assert found.state == "failed"
        assert f"(process {os.getpid()})" in found.found
    assert http_port(Settings(http_port=0)).state == "ok"


@pytest.mark.parametrize(
    ("host", "names", "state"),
    [
        ("127.0.0.1", "", "ok"),
        ("127.8.9.10", "", "ok"),
        ("::1", "", "ok"),
        ("localhost", "", "ok"),
        ("0.0.0.0", "", "warning"),  # noqa: S104 - it is not bound
        ("::", "", "warning"),
        ("192.0.2.1", "", "warning"),
        ("192.0.2.1", "localhost, 192.0.2.1, ::1", "warning"),
        ("0.0.0.0", "orders.example", "ok"),  # noqa: S104 - it is not bound
        ("0.0.0.0", "*", "ok"),  # noqa: S104 - it is not bound
        ("orders.example", "", "ok"),
    ],
)
def test_a_server_for_other_machines_without_a_name_is_a_warning(host: str, names: str, state: str) -> None:
    """Every client that calls it by a name would get 421."""
    found = http_names(Settings(http_host=host, http_hosts=names))
    assert found.state == state
    assert ("ORDERS_HTTP_HOSTS" in found.advice) == (state == "warning")


@pytest.mark.parametrize(
    "name",
    ["https://orders.example", "orders.example/", "*.example", "orders example", "заказы.example", "[::1", "a;b"],
)
def test_a_name_that_no_request_can_have_is_a_warning(name: str) -> None:
    found = http_names(Settings(http_hosts=f"orders.example:8080, Orders_2, {name}"))
    assert (found.state, ascii(name) in found.found) == ("warning", True)
    assert http_names(Settings(http_hosts="orders.example:8080, Orders_2, 192.0.2.1, ::1")).state == "ok"
