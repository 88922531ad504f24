"""What is said on the terminal while something goes on: lines with their time, bars with rate and remaining time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from orders.system.stopping import Stop
from orders.timing import Clock, monotonic


class Bar:
    """The bar of one download; a step further is also where a download can be given up."""

    def __init__(self, progress: Progress, task: TaskID, stop: Stop) -> None:
        self._progress = progress
        self._task = task
        self._stop = stop

    def advance(self, count: int) -> None:
        """`count` more bytes are there."""
        self._stop.check()
        self._progress.advance(self._task, count)


class Steps:
    """Lines on standard output; a terminal that is gone is no reason to fail."""

    def __init__(self, stop: Stop, console: Console | None = None, clock: Clock = monotonic) -> None:
        self._stop = stop
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._began = clock()

    def step(self, text: str) -> None:
        """One line, with the seconds since the start."""
        self.say(f"{self._clock() - self._began:6.1f} s  {text}")

    def say(self, text: str) -> None:
        """A line as it is."""
        with suppress(OSError):
            self._console.print(text, markup=False)

    @contextmanager
    def download(self, total: int) -> Iterator[Bar]:
        """Shows a download of `total` bytes on a terminal, and nothing elsewhere."""
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            yield Bar(progress, progress.add_task("", total=total), self._stop)


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


class CountingBar:
    """Counts what is done on standard error, if that is a terminal: of `total`, where it is known."""

    def __init__(self, total: int | None) -> None:
        console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, count: int) -> None:
        """`count` more are done."""
        self._progress.advance(self._task, count)
