"""A bar on standard error for what a command does one by one: how many, how fast, and how long still."""

from threading import Timer
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from orders.system.steps import LONG_SECONDS, Rate
from orders.timing import Clock, monotonic

SHOW_SECONDS = 0.1
"""How often the bar is updated: it takes longer than most of what is counted."""


class ProgressCount(ProgressColumn):
    """How many, where it is not known of how many."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text(f"{task.completed:,.0f}")


class PhaseBar:
    """What somebody else does in phases, each with a count of its own; seen on a terminal, while there is one."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
            disable=not console.is_interactive,
        )
        self._task = self._progress.add_task("", total=None)
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def at(self, phase: str, done: int, total: int) -> None:
        """So many are done of a phase; a `total` of 0 is not known."""
        if phase != self._phase:
            self._phase = phase
            self._progress.reset(self._task, description=phase)
            self._progress.start()
        self._progress.update(self._task, completed=done, total=total or None)


class CountingBar:
    """Seen on a terminal only, and only when it takes long; without a bar and a remaining time if there is no total."""

    def __init__(
        self, total: int | None, console: Console | None = None, clock: Clock = monotonic, *, text: str = ""
    ) -> None:
        console = console or Console(stderr=True)
        known = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        columns = (ProgressCount(), Rate()) if total is None else known
        self._progress = Progress(
            *((TextColumn("{task.description}"),) if text else ()),
            *columns,
            console=console,
            redirect_stdout=False,  # it may be a file, and what is written there is not part of the bar
            redirect_stderr=False,
            disable=not console.is_interactive,
        )
        self._task = self._progress.add_task(text, total=total)
        self._start = Timer(LONG_SECONDS, self._progress.start)
        self._start.daemon = True
        self._clock = clock
        self._told = float("-inf")
        self._done = 0

    def __enter__(self) -> Self:
        self._start.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._start.cancel()
        self._start.join()
        self._tell()
        self._progress.stop()

    def advance(self, count: int) -> None:
        """`count` more are done; calls never overlap."""
        self._done += count
        if self._clock() - self._told >= SHOW_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told = self._clock()
        self._progress.update(self._task, completed=self._done)
