"""Time as a parameter: clocks, and how long to wait before the next try."""

import random
import time
from collections.abc import Callable, Iterator

Clock = Callable[[], float]
"""Seconds on a clock that never steps and is the same in all processes of a machine."""

monotonic: Clock = time.monotonic


def backoff(first: float = 0.1, most: float = 5.0) -> Iterator[float]:
    """Seconds to wait before each next try: doubling from `first` to `most`, each cut by up to a half at random."""
    wait = first
    while True:
        yield wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        wait = min(wait * 2, most)
