"""Sockets that send a byte of a request each second, and come back when the server cuts them.

Run as `python -m bench.drips '{"port": 8080, "sockets": 1000}'`; says each second how they are, and continues until it
is ended.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, repeat

import msgspec

from bench.children import say

LOOPBACK = "127.0.0.1"
EVERY = 1.0


class Drips:
    """How many sockets are open now, how many of them were cut once, and how many seconds the longest lived."""

    def __init__(self, port: int, sockets: int) -> None:
        self._port = port
        self._sockets = sockets
        self.open = self.cut = 0
        """A socket that comes back counts once."""
        self.longest = 0.0

    async def run(self) -> None:
        """Drips until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._sockets):
                group.create_task(self._come_back())
            group.create_task(self._tell())

    async def _tell(self) -> None:
        while True:
            say("dripping", open=self.open, cut=self.cut, longest=self.longest)
            await asyncio.sleep(EVERY)

    async def _come_back(self) -> None:
        await self._live()
        self.cut += 1
        while True:
            await self._live()

    async def _live(self) -> None:
        """Until the server has cut it. Raises `OSError` where it cannot be opened at all."""
        try:
            await self._drip()
        except ConnectionError:  # refused for now, or cut while a byte was on its way
            await asyncio.sleep(EVERY)

    async def _drip(self) -> None:
        now = asyncio.get_running_loop().time
        reader, writer = await asyncio.open_connection(LOOPBACK, self._port)
        began = now()
        self.open += 1
        try:
            for byte in request():
                writer.write(byte)
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):  # `wait_for` of Python 3.11 may swallow a cancellation
                        await reader.read()
                        return
        finally:
            self.open -= 1
            self.longest = max(self.longest, now() - began)
            writer.close()


def request() -> Iterator[bytes]:
    """A GET that never ends, byte by byte."""
    return (bytes([byte]) for byte in chain(b"GET /orders/", repeat(ord("x"))))


if __name__ == "__main__":
    told = msgspec.json.decode(sys.argv[1])
    asyncio.run(Drips(told["port"], told["sockets"]).run())
