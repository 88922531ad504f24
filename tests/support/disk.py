"""Small disks, which only root can mount, and what fills them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import wait_for

MB = 2**20


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own."""
    place = folder / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is forbidden here")
    try:
        yield place
    finally:
        wait_for(lambda: subprocess.run(["umount", place], check=False).returncode == 0, "the disk is let go")


def fill(place: Path) -> None:
    """Leaves no byte free."""
    with filler(place).open("wb", buffering=0) as file:
        for size in (MB, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def make_room(place: Path) -> None:
    """Takes away what filled it."""
    filler(place).unlink()


def filler(place: Path) -> Path:
    return place / "filler"
