"""An event loop whose time is turned by hand."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Clocked(asyncio.SelectorEventLoop):
    """Its timers fire when `now` is turned past them."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def play(self, scenario: Coroutine[Any, Any, T]) -> T:
        """Runs a scenario to its end, and closes."""
        try:
            return self.run_until_complete(scenario)
        finally:
            self.close()


async def turn(loop: Clocked, seconds: float) -> None:
    """Lets time pass, and what was due happen."""
    loop.now += seconds
    for _ in range(5):
        await asyncio.sleep(0)
