"""Standard streams that were closed before the start (`<&-`, `>&-`)."""

import io
import os
import sys
from typing import NoReturn

from orders.errors import UsageError

NAMES = ("stdin", "stdout", "stderr")
WORDS = {"stdin": "standard input is closed: name a file", "stdout": "standard output is closed: nothing can be shown"}


class Closed(io.RawIOBase):
    """In place of one: `UsageError` for who reads it or writes to it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fileno(self) -> int:
        return NAMES.index(self._name)

    def readable(self) -> bool:
        return self._name == "stdin"

    def writable(self) -> bool:
        return not self.readable()

    def readinto(self, _buffer: object) -> NoReturn:
        raise UsageError(WORDS[self._name])

    def write(self, _data: object) -> NoReturn:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the process's life: else the flush at its end fails again
        raise UsageError(WORDS[self._name])


def replace_closed() -> None:
    """Puts `Closed` in place of closed streams; nobody misses standard error.

    Their numbers are taken: else the next file that is opened would have one, and what we start would write into it.
    """
    for number in range(len(NAMES)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in NAMES:
        if getattr(sys, name) is None:
            made = open(os.devnull, "w") if name == "stderr" else _wrapped(name)  # noqa: SIM115, PTH123 - as above
            setattr(sys, name, made)


def _wrapped(name: str) -> io.TextIOWrapper:
    if name == "stdin":
        return io.TextIOWrapper(io.BufferedReader(Closed(name)))
    return io.TextIOWrapper(Closed(name), write_through=True)  # type: ignore[arg-type] # raw is all that it needs
