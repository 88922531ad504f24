"""Clients that send and never read, at a real server: each is cut, has taken little, and disturbs nobody."""

import logging
import socket
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from orders.api.reader import FoundOrder
from orders.http.limits import USUAL
from orders.http.server import server
from support.rfc import PROBE, answers
from support.waiting import wait_for
from support.wire import HIT, MEMORY, Address, exchange, get, plain_app, post, served

MB = 2**20
MOST = 16 * MB
"""Most that a client may send before it is read no further: the buffers of both kernels, and ours."""
ROOM = 2 * MB
"""Most that one such client may cost the server of its own memory."""
BUFFER = 65536
MISS = get(b"/orders/stored")
KINDS = {"hit": HIT, "miss": MISS, "post": post(b"{}")}
ORDERS = {**MEMORY, b"huge": b"{}" + b" " * 16 * MB}


async def stored(_order_uid: str) -> FoundOrder:
    return FoundOrder(b"{}" + b" " * BUFFER, 1, 0.0)


@contextmanager
def quick(lane: str) -> Iterator[tuple[Address, uvicorn.Server]]:
    """A server that waits little for its answers to be taken."""
    app = plain_app(find=ORDERS.get, order=stored)
    running = server(app, ORDERS.get if lane == "fast" else None, limits=USUAL._replace(answer_deadline=0.3))
    with served(running) as (address, _):
        yield address, running


@contextmanager
def never_reading(address: Address) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        connection.settimeout(10)
        connection.connect(address)
        yield connection


def pour(connection: socket.socket, sent: bytes) -> int:
    """Sends this request again and again until the connection is cut; how many bytes were taken."""
    block, taken = sent * (MB // len(sent)), 0
    try:
        while taken < 10 * MOST:
            taken += connection.send(block)
    except ConnectionError:
        return taken
    raise AssertionError("it takes whatever is sent")


@pytest.mark.parametrize("lane", ["fast", pytest.param("slow", marks=pytest.mark.system)])
@pytest.mark.parametrize("kind", ["hit", "miss", pytest.param("post", marks=pytest.mark.system)])  # it takes long
def test_a_client_that_sends_and_never_reads_is_read_no_further_and_cut(
    caplog: pytest.LogCaptureFixture, lane: str, kind: str
) -> None:
    """In time; what it costs meanwhile is bounded, and nothing is logged of it."""
    with caplog.at_level(logging.WARNING), quick(lane) as (address, _):
        assert [each.status for each in answers(exchange(address, KINDS[kind] + PROBE))][-1] == 200
        tracemalloc.start()
        try:
            with never_reading(address) as connection:
                assert pour(connection, KINDS[kind]) < MOST
            assert tracemalloc.get_traced_memory()[1] < ROOM + 2 * MB  # the client's block is in it
        finally:
            tracemalloc.stop()
        assert [each.status for each in answers(exchange(address, PROBE))] == [200]
    assert not caplog.records


@pytest.mark.parametrize("lane", ["fast", "slow"])
def test_an_answer_that_is_not_taken_does_not_keep_a_connection_that_is_to_end(lane: str) -> None:
    """The client asked for the end itself, and then does not read what it asked for."""
    with quick(lane) as (address, running), never_reading(address) as connection:
        connection.sendall(get(b"/orders/huge", b"Connection: close"))
        wait_for(lambda: running.server_state.total_requests == 1)
        assert running.server_state.connections
        wait_for(lambda: not running.server_state.connections)


@pytest.mark.parametrize("lane", ["fast", "slow"])
def test_a_client_that_resets_while_its_requests_wait_leaves_no_word_in_the_log(
    caplog: pytest.LogCaptureFixture, lane: str
) -> None:
    with caplog.at_level(logging.WARNING), quick(lane) as (address, _):
        for _ in range(5):
            with never_reading(address) as connection:
                connection.setblocking(False)
                connection.send(MISS * 20_000)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert [each.status for each in answers(exchange(address, PROBE))] == [200]
    assert not caplog.records
