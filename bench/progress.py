"""How far a run is: on a terminal a bar with the remaining time, elsewhere a line for each step; on standard error."""

from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from bench.contest import Contest, Told
from bench.sizes import Sizes

REFRESHES_A_SECOND = 2
"""Seldom: the bar shares the machine with what is measured."""


class Left(ProgressColumn):
    """Minutes that are left: as the steps take usually, then as they took up to now."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        rest = (task.total or 0) - task.completed
        pace = (task.elapsed or 0) / task.completed if task.completed else 1
        minutes, seconds = divmod(round(rest * pace), 60)
        return Text(f"about {minutes}:{seconds:02} left")


class Steps:
    """Tells of the steps of a run; the parts of the bar are as long as the contests take about."""

    def __init__(self, contests: Sequence[Contest], sizes: Sizes, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._seconds = {each.name: each.seconds * sizes.rounds[each.name] * sizes.pace for each in contests}
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), Left())
        silent = not self._console.is_terminal
        self._progress = Progress(
            *columns, console=self._console, disable=silent, refresh_per_second=REFRESHES_A_SECOND
        )
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
