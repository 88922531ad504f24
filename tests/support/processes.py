"""Processes of the operating system, which may end at any moment, also between two looks."""

from contextlib import suppress

import psutil


def is_gone(pid: int) -> bool:
    """Whether a process has ended; also where nobody has asked for its status yet."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True
