"""What the machine has: disks, memory with the limits of control groups, and who listens on a port."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from orders.system import machine
from orders.system.machine import PortOwner, available_memory, free_bytes, port_owner

MB = 2**20
PLENTY = 2**63 - 4096
"""What the first version of control groups writes for no limit."""


@pytest.fixture(autouse=True)
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 1000 MB to give, and no control groups yet."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000 * MB))
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def second(folder: Path, limit: str, used: int, cache: int = 0) -> None:
    """A group of the second version."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used * MB}\n")
    (folder / "memory.stat").write_text(f"anon 7\nactive_file {cache * MB}\ninactive_file 0\n")


def first(folder: Path, limit: int, used: int, cache: int = 0) -> None:
    """A group of the first version."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used * MB}\n")
    (folder / "memory.stat").write_text(f"total_active_file 0\ntotal_inactive_file {cache * MB}\n")


def test_room_is_that_of_the_nearest_directory_that_is_there(tmp_path: Path) -> None:
    there = os.statvfs(tmp_path)
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(there.f_bavail * there.f_frsize, rel=0.1)


def test_without_control_groups_memory_is_the_machines() -> None:
    assert available_memory() == 1000 * MB


def test_the_tightest_limit_on_the_way_up_counts_and_cache_comes_free(groups: Path) -> None:
    (groups / "own").write_text("0::/pod/container\n")
    second(groups / "pod", str(800 * MB), used=300, cache=50)
    second(groups / "pod" / "container", "max", used=200)
    assert available_memory() == 550 * MB
    second(groups / "pod" / "container", str(400 * MB), used=390)
    assert available_memory() == 10 * MB


def test_a_group_beyond_its_limit_has_nothing_to_give(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    second(groups, str(100 * MB), used=120)
    assert available_memory() == 0


def test_the_first_version_counts_too_and_other_controllers_do_not(groups: Path) -> None:
    (groups / "own").write_text("5:cpu,cpuacct:/tight\n4:memory:/docker/abc\n0::/\n")
    first(groups / "memory", PLENTY, used=5)
    first(groups / "memory" / "docker" / "abc", 700 * MB, used=650, cache=100)
    first(groups / "tight", 1, used=0)
    assert available_memory() == 150 * MB


def test_a_group_that_cannot_be_seen_does_not_count(groups: Path) -> None:
    # A container without a namespace of groups reads its path as the host sees it.
    (groups / "own").write_text("4:memory:/host/only\n")
    first(groups / "memory", 500 * MB, used=100)
    assert available_memory() == 400 * MB


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])  # noqa: S104 - looked up, not bound
def test_who_listens_on_a_port_is_named(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert port_owner(host, port) == PortOwner(psutil.Process().name(), os.getpid(), None)
    assert port_owner(host, port) is None


def test_who_listens_on_all_addresses_has_each_of_them() -> None:
    with socket.create_server(("", 0)) as listening:
        owner = port_owner("127.0.0.1", listening.getsockname()[1])
    assert owner
    assert owner.pid == os.getpid()


def test_where_only_root_may_see_all_connections_our_own_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        owner = port_owner("127.0.0.1", listening.getsockname()[1])
    assert owner
    assert owner.pid == os.getpid()
