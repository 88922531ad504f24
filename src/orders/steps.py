"""What `orders run` says on the terminal: a line per step with the time it took, a bar for the download."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TimeRemainingColumn, TransferSpeedColumn

from orders.stopping import Stop
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
