"""The bench's dripping sockets, on a small server that the test controls."""

import asyncio
from contextlib import suppress

import pytest

from bench import drips
from bench.drips import Drips, request
from support.waiting import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drips, "EVERY", 0.01)


def test_each_byte_is_of_a_request_that_never_ends() -> None:
    assert b"".join(byte for byte, _ in zip(request(), range(16), strict=False)) == b"GET /orders/xxxx"


def test_sockets_drip_and_come_back_when_they_are_cut() -> None:
    """They are counted while they are open and when they are cut, and each byte comes by itself."""

    async def scenario() -> None:
        came = asyncio.Event()
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readexactly(1) == b"G"
            assert await reader.readexactly(3) == b"ET "
            came.set()
            await go.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        dripping = Drips(server.sockets[0].getsockname()[1], 3)
        running = asyncio.create_task(dripping.run())
        async with asyncio.timeout(10):
            await came.wait()
            assert (dripping.open, dripping.cut) == (3, 0)
            go.set()
            await asyncio.to_thread(wait_for, lambda: dripping.cut >= 6)
        assert dripping.longest > 0
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert dripping.open == 0
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())
