"""What a service that does not start died of, by its last words, and what a person can do about it."""

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from orders.endings import SHELL

MEMORY = (
    "there is too little memory (`ulimit -v` and a container's limit count too): end other programs, or raise the limit"
)
FULL = "make room on the disk of {directory}, or choose another directory with --data-dir"
CAUSES = {
    r"shared memory segment.*No space left": "the shared memory of the machine (/dev/shm) is full: make room there",
    r"No space left on device": FULL,
    r"Read-only file system": "choose a directory that can be written with --data-dir",
    r"Too many open files|insufficient file descriptors": "raise the limit of open files (`ulimit -n`)",
    r"unable to create native thread": "raise the limit of processes and threads (`ulimit -u`)",
    r"could not look up effective user ID": "give this user a name in /etc/passwd, or ORDERS_POSTGRES_DSN a server",
    r"insufficient memory|[Cc]annot allocate memory|[Cc]ould not (reserve|allocate)|OutOfMemoryError": MEMORY,
}
"""What in a line of a log shows a cause, and the next step; a cause goes before those below it."""
FULL_BYTES = 2**20
KILLED = SHELL + 9
ERROR = re.compile(r"\b(FATAL|ERROR|PANIC|Exception|Error)\b|\berror:")
PREFIX = re.compile(r"[0-9-]+[ T][0-9:.,]+ (UTC \[[0-9]+\] )?")
"""The time at the beginning of a line."""
FRAME = re.compile(r"at |\.\.\. \d+ more")
LONGEST = 400


class FailureCause(NamedTuple):
    """The words that show it best, and the next step."""

    words: str
    advice: str


def cause(lines: Sequence[str], directory: Path, status: int | None = None) -> FailureCause:
    """The cause that the lines of a log show, the last ones first; `status` is how the service ended."""
    lines = [PREFIX.sub("", line.strip()) for line in lines if line.strip()]
    for pattern, advice in CAUSES.items():
        if found := [line for line in lines if re.search(pattern, line)]:
            return FailureCause(found[-1][:LONGEST], advice.format(directory=directory))
    if is_full(directory):
        return FailureCause("there is no room left", FULL.format(directory=directory))
    if status == KILLED:
        return FailureCause("it was killed, as the kernel does when memory runs out", MEMORY)
    return FailureCause(_last_words(lines), f"see the logs in {directory}")


def is_full(directory: Path) -> bool:
    """Whether the disk has no room, not even for a log that would say so."""
    with suppress(OSError):
        return shutil.disk_usage(directory).free < FULL_BYTES
    return False


def _last_words(lines: Sequence[str]) -> str:
    """The last error, with the line after it, where Java says what happened; else the last line."""
    errors = [number for number, line in enumerate(lines) if ERROR.search(line)]
    lines_of_error = lines[errors[-1] : errors[-1] + 2] if errors else lines[-1:]
    return " / ".join(line for line in lines_of_error if not FRAME.match(line))[:LONGEST] or "it says nothing"
