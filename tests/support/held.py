"""Requests that wait until a test lets them go."""

import asyncio

from orders.api.reader import FoundOrder
from orders.api.waiting import RecordOutcome
from orders.order import Content


class Held:
    """Anyone who waits for PostgreSQL or for an outcome does so until it is let go."""

    def __init__(self, expected: int) -> None:
        self.go = asyncio.Event()
        self.come = asyncio.Event()
        self._left = expected

    async def submit(self, _content: Content, _wait: float) -> RecordOutcome | None:
        await self._wait()
        return None

    async def order(self, _order_uid: str) -> FoundOrder | None:
        await self._wait()
        return None

    async def _wait(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.come.set()
        await self.go.wait()
