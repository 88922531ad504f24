"""The bench's dripping sockets, on a small server that the test controls."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count

import pytest

from bench import drips
from bench.drips import Drips, request
from support.waiting import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drips, "EVERY", 0.01)


def test_each_byte_is_of_a_request_that_never_ends() -> None:
    assert b"".join(byte for byte, _ in zip(request(), range(16), strict=False)) == b"GET /orders/xxxx"


def dripped(cuts: Callable[[int], bool], until: Callable[[Drips], bool], sockets: int = 3) -> Drips:
    """What was counted on a server that cuts the connections of these numbers after their fourth byte."""

    async def scenario() -> Drips:
        numbers = count()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
                for byte in b"GET ":
                    assert await reader.readexactly(1) == bytes([byte])
                if not cuts(next(numbers)):
                    await reader.read()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        dripping = Drips(server.sockets[0].getsockname()[1], sockets)
        running = asyncio.create_task(dripping.run())
        await asyncio.to_thread(wait_for, lambda: until(dripping))
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        server.close()
        await server.wait_closed()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task
        return dripping

    return asyncio.run(scenario())


def test_sockets_that_are_cut_come_back_and_count_once() -> None:
    """They are open until they are cut, and the longest life is told."""
    lives: list[int] = []

    def cuts(number: int) -> bool:
        lives.append(number)
        return True

    told = dripped(cuts, lambda _: len(lives) >= 9)
    assert (told.open, told.cut) == (0, 3)
    assert told.longest > 0


def test_a_socket_that_is_never_cut_is_missing_in_the_count() -> None:
    lives: list[int] = []

    def cuts(number: int) -> bool:
        lives.append(number)
        return number > 0

    assert dripped(cuts, lambda _: len(lives) >= 9).cut == 2


def test_a_server_that_refuses_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def refuse(*_: object) -> None:
        asked.append(0.0)
        raise ConnectionRefusedError

    async def scenario() -> None:
        running = asyncio.create_task(Drips(1, 1).run())
        await asyncio.to_thread(wait_for, lambda: len(asked) >= 2)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    monkeypatch.setattr(drips, "EVERY", 0.2)
    monkeypatch.setattr(asyncio, "open_connection", refuse)
    asyncio.run(scenario())
    assert len(asked) < 10
