"""Room for a running system: on the disk, in the machine's memory, and for the memory that its processes share."""

import fcntl
import os
import resource
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orders.errors import StartError
from orders.settings import Settings
from orders.system import machine
from orders.system.machine import available_memory, free_bytes

PREFIX = f"orders-{os.getuid()}-"
MB = 2**20


def require_disk(data: Path) -> None:
    """Raises `StartError` when embedded services find too little room on the disk to begin."""
    if (free := free_bytes(data)) < machine.DISK_LEAST:
        raise StartError(
            f"the disk of {data} has {free // MB} MB free, and the embedded PostgreSQL and Kafka begin at "
            f"{machine.DISK_LEAST // MB} MB: make room there, or choose another directory with --data-dir"
        )


def require_memory() -> None:
    """Raises `StartError` when the machine, or its container, has too little memory for embedded services."""
    if (free := available_memory()) < machine.MEMORY_LEAST:
        raise StartError(
            f"this machine, or the container, has {free // MB} MB of memory available, and the embedded PostgreSQL and "
            f"Kafka with what they serve take {machine.MEMORY_LEAST // MB} MB: end other programs, raise the "
            "container's limit, or name services elsewhere in ORDERS_POSTGRES_DSN and ORDERS_KAFKA_BOOTSTRAP"
        )


def require_files() -> None:
    """Lets us, and what we start, open as many files as embedded services need. Raises `StartError`.

    Java does not say so itself when it lacks files.
    """
    if (most := allow_files(machine.FILES_LEAST)) < machine.FILES_LEAST:
        raise StartError(
            f"{most} files may be open at the same time, and the embedded PostgreSQL and Kafka need "
            f"{machine.FILES_LEAST}: raise the limit (`ulimit -n`)"
        )


def files_of(settings: Settings) -> int:
    """Files that a serve process opens when it has all its connections."""
    return machine.FILES_OWN + settings.postgres_connections + settings.http_connections


def allow_files(wanted: int) -> int:
    """Lets us, and what we start, open `wanted` files if that may be; how many may be open then, at most `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


@contextmanager
def memory_directory(data: Path, budget: int) -> Iterator[tuple[Path, str]]:
    """A new directory for the shared memory of `budget` bytes, and a remark if it is not in RAM.

    It is in the data directory where RAM has no room. Takes away those that nobody holds any more, whichever of us left
    them. Raises `StartError` when there is no room in either.
    """
    for base in (machine.SHM, data):
        remove_abandoned(base)
    base, remark = _base(data, budget)
    path, handle = held_directory(base)
    try:
        yield path, remark
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def _base(data: Path, budget: int) -> tuple[Path, str]:
    needed = 2 * budget  # the file's largest size
    lacking = _lacking(budget, needed)
    if not lacking:
        return machine.SHM, ""
    if (free := free_bytes(data)) < needed:
        raise StartError(
            f"there is no room for the shared memory, which may grow to {needed // MB} MB ({lacking}, and the disk of "
            f"{data} has {free // MB} MB free): make room there, or give a smaller --memory-bytes"
        )
    return data, f" (on disk: it may grow to {needed // MB} MB, and {lacking})"


def _lacking(budget: int, needed: int) -> str:
    """Why it cannot be in RAM."""
    if not machine.SHM.is_dir() or not os.access(machine.SHM, os.W_OK):
        return f"{machine.SHM} is missing or closed to us"
    if (free := free_bytes(machine.SHM)) < needed:
        return f"{machine.SHM} has {free // MB} MB free"
    if (free := available_memory()) < budget:
        return f"{free // MB} MB of RAM are free"
    return ""


def held_directory(base: Path) -> tuple[Path, int]:
    """A new directory and the handle that holds it."""
    while True:
        path = base / f"{PREFIX}{secrets.token_hex(6)}"
        path.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists():  # else another start found it before it was held
                return path, handle
            os.close(handle)


def remove_abandoned(base: Path) -> None:
    """Removes memories whose holder is gone: the kernel let go of its lock, in whatever PID namespace it was."""
    for path in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(handle)
