"""The one source of all that happens in a simulated schedule."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Draws from one seed, and notes what happened, for who reads a failure."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.story: list[str] = []

    def below(self, most: int) -> int:
        return int(self._random.random() * most)

    def one_in(self, many: float) -> bool:
        return self._random.random() * many < 1

    def seconds(self, least: float, most: float) -> float:
        return least + self._random.random() * (most - least)

    def pick(self, some: Sequence[T]) -> T:
        return some[self.below(len(some))]

    def weighed(self, some: Mapping[T, float]) -> T:
        return self._random.choices(list(some), list(some.values()))[0]

    def tell(self, text: str) -> None:
        self.story.append(text)
