"""A contest: what is measured of whom, how the figures compare, and the rounds in which all take their turns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct

from bench.measure import Machine, rotated
from bench.services import Ground
from bench.sizes import Sizes

Values = Mapping[str, float]
"""What one run of one contestant came to, by the figure's name."""


class Absent(Exception):
    """A contestant needs what this machine does not have; the text says what."""


class Figure(Struct, frozen=True):
    """Something measured. `digits` is how many are shown after the point."""

    name: str
    unit: str
    digits: int
    more_is_better: bool = False


class Comparison(Struct, frozen=True):
    """Ours by another's of one figure, or ours less another's; a gate is the least or the most that it may be."""

    figure: str
    ours: str
    other: str
    at_least: float | None = None
    at_most: float | None = None
    is_difference: bool = False


class Contestant(NamedTuple):
    """Somebody who takes part: `run` does the work once, checks that it was done, and measures it."""

    name: str
    run: Callable[[], Values]


class Sample(Struct, frozen=True):
    """One run of one contestant, and what the rest of the machine did meanwhile."""

    contestant: str
    round: int
    values: dict[str, float]
    others: float
    steal: float


@dataclass
class Field:
    """Who takes part in a contest on this machine, who does not and why, and what else must be known."""

    contestants: list[Contestant]
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Contest:
    """What is measured, for whom it is opened, and how it is told.

    `seconds` is about how long one round of it takes at full size: remaining time is reckoned with it.
    """

    name: str
    title: str
    figures: Sequence[Figure]
    open: Callable[[Ground, Sizes], AbstractContextManager[Field]]
    seconds: float
    comparisons: Sequence[Comparison] = ()


class Outcome(Struct, frozen=True):
    """All that came of a contest."""

    name: str
    title: str
    figures: list[Figure]
    comparisons: list[Comparison]
    samples: list[Sample]
    absent: dict[str, str]
    notes: list[str]

    def values(self, contestant: str, figure: str) -> dict[int, float]:
        """A figure of a contestant by round."""
        return {s.round: s.values[figure] for s in self.samples if s.contestant == contestant and figure in s.values}

    @property
    def rounds(self) -> str:
        """How many rounds there were, in words."""
        count = len({sample.round for sample in self.samples})
        return f"{count} round{'s' if count != 1 else ''}"

    @property
    def contestants(self) -> list[str]:
        """Who took part, in the order of the first round."""
        return list(dict.fromkeys(sample.contestant for sample in self.samples))


class Told(NamedTuple):
    """A step that is done: which contest, and the part of the contest that it was."""

    sample: Sample
    share: float


def hold(contest: Contest, ground: Ground, sizes: Sizes, tell: Callable[[Told], None]) -> Outcome:
    """Runs all rounds of a contest; `tell` hears of each run."""
    rounds = sizes.rounds[contest.name]
    with contest.open(ground, sizes) as entered:
        samples = []
        for sample in runs(entered.contestants, rounds):
            samples.append(sample)
            tell(Told(sample, 1 / (rounds * len(entered.contestants))))
    figures, comparisons = list(contest.figures), list(contest.comparisons)
    return Outcome(contest.name, contest.title, figures, comparisons, samples, entered.absent, entered.notes)


def runs(contestants: Sequence[Contestant], rounds: int) -> Iterator[Sample]:
    """Every contestant once a round, another one first in each."""
    for number in range(rounds):
        for contestant in rotated(contestants, number):
            before = Machine.look()
            values = dict(contestant.run())
            noise = Machine.look().noise_since(before)
            yield Sample(contestant.name, number, values, noise.others, noise.steal)
