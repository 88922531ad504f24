"""RFC 9110 and 9112 on raw sockets, down both lanes: each request is answered as demanded, and what follows it too."""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders import sample
from orders.order import Content
from orders.web.waiting import Told
from support.rfc import PROBE, ROWS, Answer, Row, answers
from support.wire import (
    FAST,
    HIT,
    MEMORY,
    SLOW,
    UID,
    Address,
    chunked,
    converse,
    exchange,
    get,
    plain_app,
    post,
    serving,
)

APP = plain_app()
ORDER = next(iter(sample.samples(1, 0)))


@pytest.fixture(scope="module")
def lanes() -> Iterator[tuple[Address, Address]]:
    with serving(APP, MEMORY.get) as fast, serving(plain_app(), None) as slow:
        yield fast, slow


def check(row: Row, told: list[Answer], before: int = 0) -> None:
    """The answers are those of the row, then that of the probe if the connection goes on; nothing else is answered."""
    expected = [*([200] * before), *row.statuses, *([200] if row.goes_on else [])]
    assert [each.status for each in told] == expected, row.section
    names = [each.fields.get("x-request-id") for each in told]
    assert "smuggled" not in names
    assert names.count("probe") == row.goes_on
    assert all(each.status < 500 or each.status == 505 for each in told)
    assert all(each.fields["content-type"] == "application/problem+json" for each in told if each.status == 400)


@pytest.mark.parametrize("name", ROWS)
def test_each_request_is_answered_as_demanded(lanes: tuple[Address, Address], name: str) -> None:
    """By itself and after another, by both lanes; where one is refused nothing that follows is taken for a request."""
    row = ROWS[name]
    for address in lanes:
        check(row, answers(exchange(address, row.sent + PROBE), bodiless=int(row.bodiless)))
        if not row.bodiless:
            check(row, answers(exchange(address, HIT + row.sent + PROBE)), before=1)


@pytest.mark.parametrize("name", ROWS)
def test_a_request_that_comes_in_bytes_is_answered_alike(name: str) -> None:
    """Where bytes are cut changes no verdict."""
    row = ROWS[name]
    whole = row.sent + PROBE
    step = 1 if len(whole) < 2000 else 997
    pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
    for lane in (FAST, SLOW):
        written, _, _ = asyncio.run(converse(lane, APP, pieces))
        check(row, answers(written, bodiless=int(row.bodiless)))


CUTS = {
    "in the line": b"POST /ord",
    "in a field": b"POST /orders HTTP/1.1\r\nHost: h\r\nContent-",
    "before the body": post(ORDER)[: -len(ORDER)],
    "in the body": post(ORDER)[:-1],
    "in a chunk's size": chunked(ORDER)[:-50],
    "before the last chunk": chunked(ORDER).partition(b"0\r\nX-Trailer")[0],
    "in the trailers": chunked(ORDER)[:-2],
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", CUTS)
def test_a_post_that_breaks_off_is_not_done(name: str, reset: bool) -> None:
    """Wherever the client goes, by FIN or RST; the same POST whole is done, and the server lives."""
    done: list[str] = []

    async def submit(content: Content, _wait: float) -> Told | None:
        done.append(content.row.order_uid)
        return None

    with serving(plain_app(submit=submit), MEMORY.get) as address:
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(HIT + CUTS[name])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        (whole, probe) = answers(exchange(address, post(ORDER) + PROBE))
        assert (whole.status, probe.status) == (202, 200)
        assert len(done) == 1


def test_an_upgrade_is_not_made_and_its_bytes_are_no_requests(lanes: tuple[Address, Address]) -> None:
    """What a client sends in the other protocol's framing is not answered."""
    frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIT
    for address in lanes:
        sent = get(b"/orders/" + UID, b"Connection: Upgrade", b"Upgrade: h2c") + frames
        assert [each.status for each in answers(exchange(address, sent))] == [200]


def _requests() -> st.SearchStrategy[tuple[bytes, int]]:
    """A request and the status that it has by itself; every one keeps the connection."""
    return st.sampled_from(
        [
            (HIT, 200),
            (get(b"/orders/stored"), 200),
            (get(b"/orders/nobody"), 404),
            (get(b"/orders/" + UID, b"If-None-Match: *"), 304),
            (get(b"/readyz"), 200),
            (post(ORDER), 201),
            (post(b"{"), 400),
            (chunked(ORDER), 201),
            (post(b"{ }", b"Expect: tea"), 422),
            (get(b"/orders", method=b"DELETE"), 405),
        ]
    )


@settings(max_examples=60)
@given(mix=st.lists(_requests(), min_size=1, max_size=30), cut=st.integers(1, 5000))
def test_pipelined_requests_of_any_kind_are_answered_in_their_order(
    lanes: tuple[Address, Address], mix: list[tuple[bytes, int]], cut: int
) -> None:
    """As one by one, on one connection of a real server, however the bytes are cut."""
    sent = b"".join(request for request, _ in mix) + PROBE
    for address in lanes:
        with socket.create_connection(address, timeout=10) as connection:
            for at in range(0, len(sent), cut):
                connection.sendall(sent[at : at + cut])
            came = bytearray()
            while chunk := connection.recv(65536):
                came += chunk
        assert [each.status for each in answers(bytes(came))] == [*(status for _, status in mix), 200]
