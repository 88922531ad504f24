"""The one place in the tests that waits: for a condition, with a deadline."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

BETWEEN_LOOKS = 0.02


def wait_for(condition: Callable[[], T], deadline: float = 10.0, what: str = "the condition") -> T:
    """The first true value of `condition`, looked at until `deadline` seconds have passed; then AssertionError."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"{what} did not come true within {deadline:g} s; last value: {value!r}")
        pause.wait(BETWEEN_LOOKS)
