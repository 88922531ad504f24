"""How far a run is: on a terminal a bar with the remaining time, elsewhere a line for each step; on standard error."""

from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.contest import Contest, Told
from bench.sizes import Sizes


class Steps:
    """Tells of the steps of a run; the parts of the bar are as long as the contests take about."""

    def __init__(self, contests: Sequence[Contest], sizes: Sizes, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._seconds = {contest.name: contest.seconds * sizes.rounds[contest.name] for contest in contests}
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._progress = Progress(*columns, *times, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("", total=sum(self._seconds.values()))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """What is being done now."""
        self._progress.update(self._task, description=text)
        if not self._console.is_terminal:
            self._console.print(text, markup=False)

    def teller(self, contest: Contest) -> Callable[[Told], None]:
        """Who hears of the runs of a contest."""
        self.say(f"{contest.name}: preparing")

        def tell(told: Told) -> None:
            sample, first = told.sample, contest.figures[0]
            value = f"{sample.values[first.name]:,.{first.digits}f} {first.unit}"
            self.say(f"{contest.name}, round {sample.round + 1}: {sample.contestant}: {value}")
            self._progress.advance(self._task, told.share * self._seconds[contest.name])

        return tell
