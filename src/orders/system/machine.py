"""What this machine has: room on a disk, memory, and who listens where. It only looks; others decide and say."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from orders.ownership import LOCK

SHM = Path("/dev/shm")  # noqa: S108 - the kernel's own; our directory in it is recreated and closed to others
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound

DISK_LEAST = 300 * 2**20
"""Bytes that embedded services need at least on the disk of the data directory."""
MEMORY_LEAST = 450 * 2**20
"""Bytes of memory that embedded services and our own processes need at least."""
FILES_LEAST = 512
"""Files that each embedded service must be able to hold open."""
FILES_OWN = 64
"""Files that a serve process needs besides its connections."""


def free_bytes(path: Path) -> int:
    """Bytes that we may still write on the disk of `path`, or of its nearest parent that is there."""
    for each in (path, *path.parents):
        with suppress(OSError):
            return shutil.disk_usage(each).free
    return 0


# ---- memory ----


class Cgroup(NamedTuple):
    """The files of one kind of control group that account for memory."""

    limit: str
    usage: str
    cache: tuple[str, ...]


V2 = Cgroup("memory.max", "memory.current", ("inactive_file", "active_file"))
V1 = Cgroup("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))


def available_memory() -> int:
    """Bytes that new processes may take: of the machine, and of each control group (a container's limit) we are in."""
    return min([int(psutil.virtual_memory().available), *_rooms()])


def _rooms() -> Iterator[int]:
    """What is left below each limit, from our own group up to the root."""
    for folder, kind in _groups():
        with suppress(OSError, ValueError):  # no limit is `max`; a group that another namespace hides is not there
            limit = int((folder / kind.limit).read_text())
            used = int((folder / kind.usage).read_text())
            yield max(limit - used + _cache(folder, kind), 0)


def _groups() -> Iterator[tuple[Path, Cgroup]]:
    with suppress(OSError):
        for line in OWN_CGROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            base = CGROUPS / "memory" if controllers else CGROUPS
            own = Path(path.lstrip("/"))
            for each in (own, *own.parents):
                yield base / each, V1 if controllers else V2


def _cache(folder: Path, kind: Cgroup) -> int:
    """Bytes of files in the group's use that the kernel gives back before it refuses any."""
    words = (folder / "memory.stat").read_text().split()
    figures = dict(zip(words[::2], words[1::2], strict=False))
    return sum(int(figures.get(name, 0)) for name in kind.cache)


# ---- ports ----


class PortOwner(NamedTuple):
    """A process that listens; `data_dir` is that of another `orders run`, None for any other program."""

    name: str
    pid: int
    data_dir: Path | None


def port_owner(host: str, port: int) -> PortOwner | None:
    """Who listens on a TCP port of an address, None if nobody does or the machine does not show us."""
    wanted = _addresses(host, port)
    for address, pid in _listeners(port):
        if pid and (address in wanted or wanted & ANY or address in ANY):
            with suppress(psutil.Error):
                return _owner(psutil.Process(pid))
    return None


def _addresses(host: str, port: int) -> set[str]:
    with suppress(OSError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return {host}


def _listeners(port: int) -> Iterator[tuple[str, int | None]]:
    found: list[tuple[Any, int | None]]
    try:
        found = [(each, each.pid) for each in psutil.net_connections("tcp")]
    except psutil.AccessDenied:  # macOS shows all to root only; our own processes it shows one by one
        found = list(_own_connections())
    for each, pid in found:
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port:
            yield each.laddr.ip, pid


def _own_connections() -> Iterator[tuple[Any, int]]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            yield from ((each, process.pid) for each in process.net_connections("tcp"))


def _owner(process: psutil.Process) -> PortOwner:
    for each in (process, *process.parents()):
        if _is_run(each):
            return PortOwner("orders run", each.pid, _data_of(each))
    return PortOwner(process.name(), process.pid, None)


def _is_run(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        words = process.cmdline()
        return "run" in words and any(Path(word).name == "orders" for word in words)
    return False


def _data_of(process: psutil.Process) -> Path | None:
    """The directory whose lock it holds: right whatever options, variables or a file said."""
    with suppress(psutil.Error):
        locks = [Path(each.path) for each in process.open_files()]
        return next((lock.parent for lock in locks if lock.name == LOCK), None)
    return None
