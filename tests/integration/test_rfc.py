"""RFC 9110 and 9112 on raw sockets, down both lanes: each request is answered as demanded, and what follows it too."""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders import sample
from orders.api.waiting import RecordOutcome
from orders.http.fastlane import DocumentLookup, FastLane, fast_lane
from orders.http.limits import USUAL
from orders.order import Content
from support.rfc import PROBE, ROWS, SMUGGLED, UNFINISHED, answers, bodiless, check
from support.waiting import wait_for
from support.wire import (
    FAST,
    HIT,
    MEMORY,
    SLOW,
    TAG,
    UID,
    Address,
    Line,
    chunked,
    converse,
    exchange,
    get,
    in_pieces,
    known,
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


@pytest.mark.parametrize("name", ROWS)
def test_each_request_is_answered_as_demanded(lanes: tuple[Address, Address], name: str) -> None:
    """By itself and after another, by both lanes; where one is refused nothing that follows is taken for a request."""
    row = ROWS[name]
    for address in lanes:
        check(row, answers(exchange(address, row.sent + PROBE), bodiless(row)))
        check(row, answers(exchange(address, HIT + row.sent + PROBE), bodiless(row, 1)), before=1)


@pytest.mark.parametrize("name", ROWS)
def test_a_request_that_comes_in_bytes_is_answered_alike(name: str) -> None:
    """Where bytes are cut changes no verdict."""
    row = ROWS[name]
    whole = row.sent + PROBE
    step = 1 if len(whole) < 2000 else 997
    pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
    for lane in (FAST, SLOW):
        written, _, _ = asyncio.run(converse(lane, APP, pieces))
        check(row, answers(written, bodiless(row)))


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_request_without_its_end_is_not_answered_but_as_too_slow(name: str) -> None:
    """By neither lane, once its time is over; what came before it is answered as always."""
    limits = USUAL._replace(head_deadline=0.05, body_deadline=0.05)
    for lookup in (MEMORY.get, None):
        lane = fast_lane(lookup, limits=limits)
        told = answers(asyncio.run(_until_closed(lane, HIT + UNFINISHED[name])))
        assert [each.status for each in told] == [200, 408]
        assert told[1].fields["connection"] == "close"


async def _until_closed(lane: type[FastLane], sent: bytes) -> bytes:
    line = Line(lane, APP)
    await line.feed(sent)
    async with asyncio.timeout(10):
        await line.wire.lost.wait()
    return await line.settle()


@pytest.mark.parametrize("hosts", [(b"h", b"x"), (b"x", b"h"), (b"h", b"h"), (b"x", b"x"), (b"x", b"y")])
def test_two_hosts_are_refused_whichever_are_named(hosts: tuple[bytes, bytes]) -> None:
    """As malformed, 400, even where both are ours or neither is; one of another name is 421."""
    first, second = hosts
    sent = HIT + get(b"/orders/" + UID, b"Host: " + second, host=first) + PROBE
    for lookup in (MEMORY.get, None):
        lane = fast_lane(lookup, hosts=("h",))
        written, closed, _ = asyncio.run(converse(lane, APP, [sent]))
        assert [each.status for each in answers(written)] == [200, 400]
        assert closed
        written, _, _ = asyncio.run(converse(lane, APP, [get(host=b"x")]))
        assert [each.status for each in answers(written)] == [421]


STEP = 7
"""Every how manyth row is sent byte by byte on sockets too, where the system splits and joins what is sent."""


@pytest.mark.parametrize("name", list(ROWS)[::STEP])
def test_a_request_that_comes_in_bytes_on_a_socket_is_answered_alike(lanes: tuple[Address, Address], name: str) -> None:
    """As test_a_request_that_comes_in_bytes_is_answered_alike has it for every row."""
    row = ROWS[name]
    whole = row.sent + PROBE
    for address in lanes:
        check(row, answers(in_pieces(address, whole, 1 if len(whole) < 2000 else 997), bodiless(row)))


CUTS = {
    "in the line": b"POST /ord",
    "in a field": b"POST /orders HTTP/1.1\r\nHost: h\r\nContent-",
    "before the body": post(ORDER)[: -len(ORDER)],
    "in the body": post(ORDER)[:-1],
    "in a chunk's size": chunked(ORDER)[:-50],
    "before the last chunk": chunked(ORDER).partition(b"0\r\nX-Trailer")[0],
    "in the trailers": chunked(ORDER)[:-2],
}


@pytest.mark.parametrize("lookup", [MEMORY.get, None], ids=["fast", "slow"])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", CUTS)
def test_a_post_that_breaks_off_is_not_done(name: str, reset: bool, lookup: DocumentLookup | None) -> None:
    """On either lane, wherever the client goes, by FIN or RST; the same POST whole is done, and the server lives."""
    done: list[str] = []

    async def submit(content: Content, _wait: float) -> RecordOutcome | None:
        done.append(content.row.order_uid)
        return None

    with serving(plain_app(submit=submit), lookup) as address:
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(HIT + CUTS[name])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        (whole, probe) = answers(exchange(address, post(ORDER) + PROBE))
        assert (whole.status, probe.status) == (202, 200)
        assert len(done) == 1


@pytest.mark.parametrize("name", ["line: TLS", "line: two spaces before the target", "line: unknown method"])
def test_a_refusal_after_a_head_has_its_body(name: str) -> None:
    """What cannot be read is no HEAD because the request before it was one; and a HEAD that is refused has none."""
    head = get(method=b"HEAD")
    for lane in (FAST, SLOW):
        for pieces in ([head + ROWS[name].sent], [head, ROWS[name].sent]):
            written, _, _ = asyncio.run(converse(lane, APP, pieces))
            assert [each.status for each in answers(written, {0})] == [200, 400]
        written, _, _ = asyncio.run(converse(lane, APP, [head + ROWS["head: two Hosts"].sent]))
        assert [each.status for each in answers(written, {0, 1})] == [200, 400]


def test_an_upgrade_is_not_made_and_its_bytes_are_no_requests(lanes: tuple[Address, Address]) -> None:
    """What a client sends in the other protocol's framing is not answered."""
    frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIT
    for address in lanes:
        sent = get(b"/orders/" + UID, b"Connection: Upgrade", b"Upgrade: h2c") + frames
        assert [each.status for each in answers(exchange(address, sent))] == [200]


def test_answers_arrive_though_the_client_continues_after_one_that_is_the_last(lanes: tuple[Address, Address]) -> None:
    """A server that closes over unread bytes resets the connection, and what is on its way is lost (RFC 9112, 9.6)."""
    last = get(b"/orders/" + UID, b"Connection: close")
    for address in lanes:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the answers wait at the server
            client.settimeout(10)
            client.connect(address)
            client.sendall(HIT * 50 + last)
            wait_for(lambda: len(client.recv(100_000, socket.MSG_PEEK)) > 2000, "answers")
            client.sendall(HIT * 50)
            assert len(answers(b"".join(iter(lambda: client.recv(100), b"")))) == 51


@pytest.mark.parametrize(
    "before", [post(ORDER), chunked(ORDER), HIT, post(b"A-Z")], ids=["post", "chunks", "get", "letters"]
)
@pytest.mark.parametrize("wide", ["line: two spaces before the target", "line: two spaces before the version"])
def test_a_line_that_is_too_wide_is_refused_wherever_it_is_cut_and_whatever_came_before(
    before: bytes, wide: str
) -> None:
    """A body has no end of line."""
    sent = before + ROWS[wide].sent + HIT
    for lane in (FAST, SLOW):
        for cut in range(len(before) - 1, len(before) + 60):
            written, _, _ = asyncio.run(converse(lane, APP, [sent[:cut], sent[cut:]]))
            assert [each.status for each in answers(written)][1:] == [400]


@pytest.mark.parametrize("text", [b'"GET  /a HTTP/1.1 "', b'"GET /a  HTTP/1.1 GET  "', b'"GET  /a HTTP/1.1\\n" '])
def test_a_body_or_a_field_that_looks_like_such_a_line_is_none(text: bytes) -> None:
    """Wherever it is cut."""
    for whole in (post(b'{"a": ' + text + b"}"), get(b"/orders/" + UID, b"X: " + text)):
        for lane in (FAST, SLOW):
            for cut in range(1, len(whole)):
                written, _, _ = asyncio.run(converse(lane, APP, [whole[:cut], whole[cut:] + HIT]))
                assert [each.status for each in answers(written)] in ([422, 200], [200, 200])


KINDS: list[tuple[bytes, int]] = [
    (HIT, 200),
    (get(method=b"HEAD"), 200),
    (get(b"/orders/nobody", method=b"HEAD"), 404),
    (get(b"/orders/stored"), 200),
    (get(b"/orders/nobody"), 404),
    (get(b"/orders/" + UID, b"If-None-Match: *"), 304),
    (known(TAG), 304),
    (get(b"/orders/" + UID, b"If-None-Match: *", method=b"HEAD"), 304),
    (get(b"/readyz"), 200),
    (post(ORDER), 201),
    (post(b"{"), 400),
    (chunked(ORDER), 201),
    (post(b"{ }", b"Expect: tea"), 422),
    (get(b"/orders", method=b"DELETE"), 405),
]
"""Requests and the status that each has by itself; every one keeps the connection."""
ENDS: list[tuple[bytes, int]] = [
    (PROBE, 200),
    *((row.sent, row.statuses[0]) for row in ROWS.values() if not row.goes_on and row.statuses in {(400,), (505,)}),
]
"""The last on its connection: one that asks for that, or one that is refused."""


@settings(max_examples=60)
@given(
    mix=st.lists(st.sampled_from(KINDS), min_size=1, max_size=30),
    end=st.one_of(st.just(ENDS[0]), st.sampled_from(ENDS)),
    cut=st.integers(1, 5000),
)
def test_pipelined_requests_of_any_kind_are_answered_in_their_order(
    lanes: tuple[Address, Address], mix: list[tuple[bytes, int]], end: tuple[bytes, int], cut: int
) -> None:
    """As one by one, on one connection of a real server, however the bytes are cut.

    One that is refused ends the connection: what came before it is answered, nothing after it.
    """
    whole = [*mix, end]
    sent = b"".join(request for request, _ in whole) + SMUGGLED
    heads = {at for at, (request, _) in enumerate(whole) if request.startswith(b"HEAD ")}
    for address in lanes:
        told = answers(in_pieces(address, sent, cut), heads)
        assert [each.status for each in told] == [status for _, status in whole]
        assert "smuggled" not in [each.fields.get("x-request-id") for each in told]
