"""Which processes belong to a directory: those that have one of its files open, which no copy of it has.

A pid in a file proves nothing: the file may be a copy's, or the pid another's by now. An open file is known by device
and inode, which moving the directory leaves as they are. Times of creation move when the wall clock is set; ticks
since the boot do not.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOCK = "lock"
"""The file of a data directory that its `orders run` holds, and that all our processes of it have open."""
CLAIM = "claim"
"""The file of an embedded service's directory that it and its guard have open."""
PROC = Path("/proc")
BOOT = PROC / "sys/kernel/random/boot_id"
TICKS = 19
"""Where in /proc/PID/stat, behind the name, a process says at which tick since the boot it began (proc_pid_stat(5))."""


def member(file: Path) -> int:
    """A handle of a file, for a process to inherit: by it that process belongs to the file's directory."""
    return os.open(file, os.O_RDONLY)


def belongs(pid: int, file: Path) -> bool:
    """Whether a process that runs has this very file open; False where we may not look."""
    with suppress(OSError):
        wanted = file.stat()
        return any((each.st_dev, each.st_ino) == (wanted.st_dev, wanted.st_ino) for each in _open_files(pid))
    return False


def _open_files(pid: int) -> Iterator[os.stat_result]:
    if PROC.joinpath("self").exists():
        for handle in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # it was closed meanwhile
                yield handle.stat()
        return
    import psutil  # noqa: PLC0415 - slow to import, and of use where there is no /proc alone

    with suppress(psutil.Error):
        for opened in psutil.Process(pid).open_files():
            with suppress(OSError):
                yield Path(opened.path).stat()


def birth(pid: int) -> str:
    """When a process began, in words that no other process of this pid has; empty where there is none."""
    with suppress(OSError, IndexError):
        if BOOT.exists():
            ticks = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[TICKS]
            return f"{BOOT.read_text().strip()} {ticks.decode()}"
    import psutil  # noqa: PLC0415 - as above

    with suppress(psutil.Error):
        return str(psutil.Process(pid).create_time())
    return ""
