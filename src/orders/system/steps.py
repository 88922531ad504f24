"""What is said on the terminal while something continues: lines with their time, bars with rate and remaining time.

Where logs are JSON the same lines are events among them, and nothing is drawn.
"""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import structlog
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from orders.system.shutdown import StopSignal
from orders.timing import Clock, monotonic

log = structlog.get_logger()

LONG_SECONDS = 2.0
"""What takes longer than this shows how far it is."""


class Addresses(NamedTuple):
    """Where a system that has started is found; no password is in it."""

    http: str
    kafka: str
    topic: str
    postgres: str


class Bar:
    """The bar of one download; a step further is also where a download can be given up."""

    def __init__(self, progress: Progress, task: TaskID, stop: StopSignal) -> None:
        self._progress = progress
        self._task = task
        self._stop = stop

    def advance(self, count: int) -> None:
        """`count` more bytes are there."""
        self._stop.check()
        self._progress.advance(self._task, count)


class SlowProgress:
    """How far something is that somebody else counts; `show` is called once it takes long and its end is not near."""

    def __init__(self, text: str, clock: Clock, show: Callable[[RenderableType], None]) -> None:
        self._progress = Progress(
            TextColumn("         {task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
        )
        self._task = self._progress.add_task(text, total=None)
        self._clock = clock
        self._long_at = clock() + LONG_SECONDS
        self._show = show
        self._shown = False

    def at(self, done: int, total: int) -> None:
        """So many are done by now."""
        self._progress.update(self._task, completed=done, total=total)
        if not self._shown and done < total and self._clock() >= self._long_at:
            self._shown = True
            self._show(self._progress)


class Steps:
    """Lines on standard output and, below them on a terminal, what is under way; a terminal may be gone."""

    def __init__(self, stop: StopSignal, console: Console | None = None, clock: Clock = monotonic) -> None:
        self._stop = stop
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._shown: list[RenderableType] = []
        self._live: Live | None = None

    def step(self, text: str) -> None:
        """One line, with the seconds since the start."""
        self.say(f"{self._clock() - self._began:6.1f} s  {text}")

    def say(self, text: str) -> None:
        """A line as it is."""
        with suppress(OSError):
            self._console.print(text, markup=False)

    def found_at(self, addresses: Addresses, order: str, uid: str) -> None:
        """Where the system is, and how to store an order (JSON) and to get it back."""
        for line in (
            "",
            f"HTTP        {addresses.http}",
            f"Kafka       {addresses.kafka}  (topic {addresses.topic})",
            f"PostgreSQL  {addresses.postgres}",
            "",
            "Store an order and get it back, in a second terminal (Ctrl-C here stops everything):",
            "",
            f"curl -i {addresses.http}/orders -H 'Content-Type: application/json' -d '{order}'",
            f"curl -i {addresses.http}/orders/{uid}",
        ):
            self.say(line)

    @contextmanager
    def download(self, total: int) -> Iterator[Bar]:
        """Shows a download of `total` bytes on a terminal, and nothing elsewhere."""
        progress = Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with self._showing(progress):
            yield Bar(progress, progress.add_task("", total=total), self._stop)

    @contextmanager
    def counted(self, text: str) -> Iterator[SlowProgress]:
        """Shows on a terminal how far something is that takes long, with rate and remaining time."""
        with ExitStack() as shown:
            yield SlowProgress(text, self._clock, lambda bar: shown.enter_context(self._showing(bar)))

    @contextmanager
    def waiting(self, text: Callable[[], str]) -> Iterator[None]:
        """Shows on a terminal what `text` says, several times a second."""
        with self._showing(Said(text)):
            yield

    @contextmanager
    def _showing(self, what: RenderableType) -> Iterator[None]:
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            yield
            return
        with self._lock:
            self._show([*self._shown, what])
        try:
            yield
        finally:
            with self._lock:
                self._show([each for each in self._shown if each is not what])

    def _show(self, shown: list[RenderableType]) -> None:
        self._shown = shown
        with suppress(OSError):
            if self._live is None:
                self._live = Live(self, console=self._console, transient=True)
                self._live.start()
            elif not shown:
                live, self._live = self._live, None
                live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is under way now."""
        yield from self._shown


class LoggedSteps(Steps):
    """Steps as events of the log."""

    def __init__(self, stop: StopSignal, clock: Clock = monotonic) -> None:
        super().__init__(stop, Console(file=io.StringIO(), force_terminal=False), clock)

    def step(self, text: str) -> None:
        """One event, with the seconds since the start."""
        log.info("step", text=text, seconds=round(self._clock() - self._began, 1))

    def found_at(self, addresses: Addresses, order: str, uid: str) -> None:
        """The addresses in one event."""
        del order, uid
        http, kafka, topic, postgres = addresses
        log.info("started", http=http, kafka=kafka, topic=topic, postgres=postgres)


class Said:
    """Text that is asked for whenever it is shown."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The text of now; a line without any, so that the cursor keeps its place."""
        yield Text(self._text() or " ")


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")
