"""Where the values of all processes of a machine are kept: beside the shared memory, a small file for each process.

A process takes the first file that nobody holds and continues counting in it; so a sum over all files never goes back,
and what a killed process counted stays. The lock goes with the mapping, and that with the process, however it ends.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import add
from pathlib import Path
from typing import cast

import structlog

from orders.errors import Unavailable
from orders.metrics.kinds import Layout, Values

log = structlog.get_logger()

SUFFIX = ".metrics-"
"""In the names of the files, between the name of the shared memory and the fingerprint of the layout."""


def claim(memory: Path, layout: Layout) -> Values:
    """Values in a file beside the shared memory; private ones where there can be no file: the service continues."""
    try:
        remove_others(memory, layout)
        return Values(layout, mapped(memory, layout))
    except OSError as error:
        log.warning("metrics_incomplete", reason=f"no file for them can be made beside {memory}: {error.strerror}")
        return Values(layout)


def mapped(memory: Path, layout: Layout) -> "memoryview[float]":
    """The first file that nobody holds, held."""
    number = 0
    while (cells := held(Path(f"{prefix(memory, layout)}{number}"), 8 * layout.size)) is None:
        number += 1
    return cells


def held(path: Path, size: int) -> "memoryview[float] | None":
    """A file, held and filled with zeros where it is new; None where another process holds it."""
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        fill(file, size)
        return memoryview(mmap.mmap(file, size)).cast("d")  # it has a handle of its own, which keeps the lock


def fill(file: int, size: int) -> None:
    """Writes the zeros that are missing: a page that was never written kills who touches it on a full disk."""
    there = os.fstat(file).st_size
    while there < size:
        there += os.pwrite(file, bytes(size - there), there)


def remove_others(memory: Path, layout: Layout) -> None:
    """Removes files of other layouts, of an earlier release, that nobody holds any more.

    A layout and those that have it as their base are of one release.
    """
    for path in files(memory, SUFFIX):
        theirs = path.name.removeprefix(memory.name + SUFFIX).rpartition("-")[0]
        if not theirs.startswith(layout.fingerprint) and not layout.fingerprint.startswith(theirs):
            with suppress(OSError), opened(path, os.O_RDWR) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def totals(memory: Path, layout: Layout, own: Values) -> list[float]:
    """The sums over all processes, those that are gone too; of private values only one's own. Raises `Unavailable`.

    What processes counted in the base of the layout is in them.
    """
    sums = list(own.cells) if own.private else []
    sums += [0.0] * (layout.size - len(sums))
    try:
        for each in filter(None, (layout, layout.base)):
            for path in files(memory, f"{SUFFIX}{each.fingerprint}-"):
                sums[: each.size] = map(add, sums, read(path, 8 * each.size))
    except OSError as error:
        raise Unavailable(f"the metrics beside the shared memory cannot be read: {error.strerror}") from error
    return sums


def read(path: Path, size: int) -> list[float]:
    """What a file holds; nothing, as zeros, while it is being made."""
    with opened(path, os.O_RDONLY) as file:
        if os.fstat(file).st_size < size:
            return [0.0] * (size // 8)
        with mmap.mmap(file, size, access=mmap.ACCESS_READ) as view, memoryview(view).cast("d") as cells:
            return cast("list[float]", cells.tolist())


def prefix(memory: Path, layout: Layout) -> Path:
    return Path(f"{memory}{SUFFIX}{layout.fingerprint}-")


def files(memory: Path, suffix: str) -> Iterator[Path]:
    return (path for path in memory.parent.iterdir() if path.name.startswith(memory.name + suffix))


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)
