"""Floods of log lines: the first few of one kind in a window go through, the rest are counted.

Pure: time is an argument. Nothing that is counted is lost: each window that held lines back ends in one `Held`, when
its time is over, when it has to make room for another, or at the end of the process.
"""

from collections.abc import Iterator
from typing import NamedTuple

LineKind = tuple[str, str]
"""Action and reason of a line."""

FIRST = 5
"""Lines of one kind that go through in a window."""
WINDOW_SECONDS = 30.0
MOST_KINDS = 1000
"""Windows that are kept at the same time: a bound of the memory that a flood of ever new reasons takes."""


class Held(NamedTuple):
    """A window that is over: what it held back, and the level of the last such line."""

    kind: LineKind
    level: str
    lines: int
    seconds: float


class FloodWindow:
    """The lines of one kind since `began`."""

    __slots__ = ("began", "held", "level", "passed")

    def __init__(self, began: float) -> None:
        self.began = began
        self.passed = self.held = 0
        self.level = ""


class Floods:
    """Windows by kind, oldest first: all are equally long, so the order in which they began is that of their ends."""

    def __init__(self, first: int = FIRST, seconds: float = WINDOW_SECONDS, most: int = MOST_KINDS) -> None:
        self._first = first
        self._seconds = seconds
        self._most = most
        self._windows: dict[LineKind, FloodWindow] = {}

    def __len__(self) -> int:
        """How many windows are kept."""
        return len(self._windows)

    @property
    def next_end(self) -> float | None:
        """When the next window ends that held lines back; None where there is none."""
        return next((w.began + self._seconds for w in self._windows.values() if w.held), None)

    def passes(self, kind: LineKind, level: str, now: float) -> bool:
        """Whether a line goes through; else it is counted. To be called after `ended`, with the same `now`."""
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = FloodWindow(now)
        if window.passed < self._first:
            window.passed += 1
            return True
        window.held += 1
        window.level = level
        return False

    def ended(self, now: float) -> list[Held]:
        """Removes the windows that are over, and the oldest where there would be too many; what they held back."""
        return list(self._end(now))

    def flush(self, now: float) -> list[Held]:
        """Removes all windows; what they held back."""
        windows, self._windows = self._windows, {}
        return [_held(kind, window, now) for kind, window in windows.items() if window.held]

    def _end(self, now: float) -> Iterator[Held]:
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if now - window.began < self._seconds and len(self._windows) < self._most:
                return
            del self._windows[kind]
            if window.held:
                yield _held(kind, window, now)


def _held(kind: LineKind, window: FloodWindow, now: float) -> Held:
    return Held(kind, window.level, window.held, now - window.began)
