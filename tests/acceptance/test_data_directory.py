"""A data directory that is copied or moved: what runs in the one is never taken for what runs in the other."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orders.sample import samples
from support.machine import free_port
from support.services import open_folder
from support.system import System, left_of, orders, running
from support.waiting import wait_for

pytestmark = pytest.mark.system  # takes long


COMMANDS = [
    ("status",),
    ("health",),
    ("get", "nobody"),
    ("send", "-"),
    ("dead-letters", "list"),
    ("dead-letters", "discard", "1", "--yes"),
    ("resume", "--all"),
    ("verify",),
    ("topics", "create"),
    ("config",),
    ("doctor",),
]


def copied(system: System, name: str) -> Path:
    """As `cp -a` makes it while the system runs."""
    copy = system.data.with_name(name)
    shutil.copytree(system.data, copy, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
    return copy


def pids(system: System) -> dict[str, int]:
    return {f"{each['kind']} {n}": each["pid"] for n, each in enumerate(system.status()["processes"])}


def test_a_start_in_a_copy_leaves_the_system_that_it_was_copied_from_alone(
    addresses: list[str], other_addresses: list[str]
) -> None:
    """It is named with its processes; both run, and each ends with its own."""
    with open_folder() as folder, running(folder / "data", addresses) as first:
        before = pids(first)
        copy = copied(first, "copy")
        with running(copy, other_addresses) as second:
            assert f"leaving run alone (process {first.process.pid}): it is of the directory that {copy}" in second.said
            assert pids(first) == before
            assert set(pids(second).values()).isdisjoint(before.values())
            assert first.request("GET", "/livez")[0] == second.request("GET", "/livez")[0] == 200
            second.stop()
        assert pids(first) == before
        assert first.request("GET", "/readyz")[0] == 200


def all_in(data: Path) -> dict[str, subprocess.CompletedProcess[bytes]]:
    """What each command says of a directory, HTTP asked on a port that nobody has unless a system there says where."""
    order, free = next(iter(samples(1, 7))), {"ORDERS_HTTP_PORT": str(free_port())}

    def run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        return orders(data, *command, given=order, variables=free)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(map(" ".join, COMMANDS), pool.map(run, COMMANDS), strict=True))


def test_commands_in_a_copy_find_nothing_that_runs(system: System) -> None:
    """They ask nobody, and change nothing, of the system that the directory was copied from."""
    copy = copied(system, "copy")
    for command, done in all_in(copy).items():
        said = (done.stdout + done.stderr).decode()
        assert "Traceback" not in said, command
        assert system.url not in said, command
        assert done.returncode in ({1, 2} if command not in {"config", "doctor"} else {0, 1}), said
    shutil.rmtree(copy)


def test_a_system_whose_directory_is_moved_ends_and_says_so_and_its_commands_are_one_sentence(
    addresses: list[str],
) -> None:
    """What it would start again would begin in an empty directory; where it was moved to, the next start finds all."""
    order = next(iter(samples(1, 8)))
    with open_folder() as folder, running(folder / "data", addresses) as system:
        assert system.request("POST", "/orders", order)[0] == 201
        moved = system.data.rename(folder / "moved")
        for command, done in all_in(moved).items():
            assert b"Traceback" not in done.stdout + done.stderr, command
        wait_for(lambda: system.process.poll() is not None, "its end", 20)
        assert system.process.returncode == 1
        assert f"{system.data} was moved or replaced while the system ran" in system.said
        assert left_of(system.data) == []
        with running(moved, addresses) as again:
            assert again.request("GET", f"/orders/{json.loads(order)['order_uid']}")[0] == 200


def test_a_pid_that_another_process_has_by_now_is_not_killed(addresses: list[str]) -> None:
    """As after a restart of the machine."""
    with open_folder() as folder, subprocess.Popen(["sleep", "100"]) as another:
        data = folder / "data"
        data.mkdir()
        named = [{"kind": kind, "pid": another.pid, "birth": ""} for kind in ("run", "serve", "kafka", "postgres")]
        (data / "state.json").write_text(json.dumps({"processes": named, "http_url": "http://127.0.0.1:1"}))
        with running(data, addresses) as system:
            assert another.poll() is None
            assert "alone" not in system.said
        another.kill()
