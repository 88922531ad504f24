"""An event loop whose time is turned by hand."""

import asyncio


class Clocked(asyncio.SelectorEventLoop):
    """Its timers fire when `now` is turned past them."""

    now = 0.0

    def time(self) -> float:
        return self.now


async def turn(loop: Clocked, seconds: float) -> None:
    """Lets time pass, and what was due happen."""
    loop.now += seconds
    for _ in range(5):
        await asyncio.sleep(0)
