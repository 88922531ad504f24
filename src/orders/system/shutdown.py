"""Asking a process to stop: by signals, and by the end of the process that started it."""

import os
import select
import signal
from collections.abc import Callable
from types import FrameType

from orders import threads
from orders.timing import Clock, monotonic

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 10.0
"""How long stopping everything may take."""
DRAIN_LOOK_SECONDS = 0.2


class StopRequested(Exception):
    """A signal asked to stop while something was being done."""


class StopSignal:
    """Whether a signal asked to stop, since when, and how much of the time for it is left."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._signal: int | None = None
        self._since: float | None = None
        self._pressed = False
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)

    def listen(self) -> None:
        """Takes the signals from now on; SIGHUP stays ignored where it is (`nohup`).

        SIGINT does not: a script's shell has what it starts with `&` ignore it (POSIX, 2.11), and `kill -INT` is meant.
        """
        for each in SIGNALS:
            if each != signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._asked)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        # Nothing here may take a lock: the handler runs between any two steps of the main thread.
        self._pressed = self._signal is not None
        self._signal = self._signal or number
        self.begin()
        os.write(self._woken, b"!")

    def __call__(self) -> bool:
        """Whether it is time to stop."""
        return self._signal is not None

    def begin(self) -> None:
        """Stopping begins, by a signal or because something failed: its time runs."""
        if self._since is None:
            self._since = self._clock()

    @property
    def begun(self) -> bool:
        """Whether stopping is under way, for whatever reason."""
        return self._since is not None

    def wait(self, seconds: float) -> bool:
        """Waits for a signal, for `seconds` at most; True when one came."""
        if not self():
            select.select([self._wake], [], [], seconds)
        return self()

    def check(self) -> None:
        """Raises `StopRequested` when it is time to stop."""
        if self():
            raise StopRequested

    @property
    def pressed(self) -> bool:
        """Whether a second signal came."""
        return self._pressed

    def drain(self, seconds: float, ended: Callable[[], bool]) -> None:
        """Waits before the stop for `seconds`, unless `ended` or a second signal comes; its time begins thereafter."""
        until = self._clock() + seconds
        while not self._pressed and not ended() and (left := until - self._clock()) > 0:
            if select.select([self._wake], [], [], min(left, DRAIN_LOOK_SECONDS))[0]:
                os.read(self._wake, 64)  # the first signal's byte is still there
        self._pressed = False
        self._since = self._clock()

    def left(self, share: float) -> float:
        """Seconds until `share` of the time for stopping is over; none when a second signal presses."""
        begun = self._clock() if self._since is None else self._since
        return 0.0 if self._pressed else max(begun + share * STOP_SECONDS - self._clock(), 0.0)

    def obey(self) -> None:
        """Ends the process by the signal that asked for it, so that its exit status is true."""
        if self._signal is not None:
            signal.signal(self._signal, signal.SIG_DFL)
            signal.raise_signal(self._signal)


def end_with(parent_fd: int | None) -> None:
    """Ends this process at once when the other end of the pipe `parent_fd` is gone with who held it."""

    def watch(pipe: int) -> None:
        while os.read(pipe, 1):
            pass
        os._exit(1)

    if parent_fd is not None:
        threads.start("parent", lambda: watch(parent_fd))
