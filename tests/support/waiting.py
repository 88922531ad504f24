"""The only place where tests wait: for a condition, with a deadline."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")
EVERY = 0.02


def wait_for(condition: Callable[[], T], description: str = "", deadline: float = 10.0) -> T:
    """The first truthy value of `condition`.

    Raises AssertionError with the description and the last value after `deadline` seconds.
    """
    nothing = Event()
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {description or condition!r} (last: {value!r})")
        nothing.wait(EVERY)
    return value
