"""What a serve process takes at most: connections, sizes, times, and those who wait; without a network."""

import asyncio
import gzip
from typing import Any

import pytest
from starlette.testclient import TestClient

from orders import sample
from orders.decoder import decode
from orders.http.fastlane import ALWAYS, SPARE, FastLane, fast_lane
from orders.http.limits import USUAL, Limits, limits_of
from orders.metrics.table import private
from orders.settings import Settings
from support.held import Held
from support.metrics import counted, durations
from support.problem import is_problem
from support.wire import HIT, MEMORY, Line, chunked, converse, get, plain_app, post

ORDER = next(iter(sample.samples(1, 0)))
BUSY = b"HTTP/1.1 503 Service Unavailable"
APP = plain_app()


def lane(limits: Limits) -> type[FastLane]:
    return fast_lane(MEMORY.get, limits=limits)


def test_every_limit_is_a_setting() -> None:
    given = Settings(
        http_head_bytes=2000,
        http_head_deadline=1,
        http_body_deadline=2,
        http_answer_deadline=9,
        http_keep_alive=3,
        http_connections=4,
        http_body_bytes=5,
        order_nesting=6,
        http_waiting_posts=7,
        http_waiting_misses=8,
        http_waiting_searches=10,
    )
    assert limits_of(given) == Limits(2000, 1, 2, 9, 3, 4, 5, 6, 7, 8, 10)


@pytest.mark.parametrize(("length", "status"), [(1500, b"200 OK"), (1501, b"431 ")])
def test_a_head_is_taken_up_to_its_bound(length: int, status: bytes) -> None:
    """The size is that of the target and of the fields with their separators."""
    sent = get(b"/livez", b"X: ")
    sent = get(b"/livez", b"X: " + b"x" * (length - len(sent) + len("GET  HTTP/1.1\r\n\r\n")))
    written, closed, _ = asyncio.run(converse(lane(USUAL._replace(head_bytes=1500)), APP, [sent]))
    assert written.startswith(b"HTTP/1.1 " + status)
    assert closed is (status == b"431 ")


def test_a_head_that_arrives_in_pieces_is_refused_before_its_end() -> None:
    pieces = [get(b"/livez", b"X: " + b"x" * 3000)[:2000][at : at + 10] for at in range(0, 2000, 10)]
    written, closed, _ = asyncio.run(converse(lane(USUAL._replace(head_bytes=1500)), APP, pieces))
    assert (written.startswith(b"HTTP/1.1 431 "), closed) == (True, True)


class Crowd:
    """Connections that stay open, on one server."""

    def __init__(self, most: int) -> None:
        counting = durations()
        self.values = counting.values
        self._lane = fast_lane(MEMORY.get, counting, limits=USUAL._replace(connections=most))
        self._lines: list[Line] = []

    def join(self) -> Line:
        line = Line(self._lane, APP, state=self._lines[0].state if self._lines else None)
        self._lines.append(line)
        return line

    def leave(self) -> None:
        for line in self._lines:
            line.wire.close()


async def _ask(line: Line, sent: bytes) -> bytes:
    await line.feed(sent)
    return await line.settle()


def test_a_connection_too_many_is_reported_so_and_those_before_it_continue() -> None:
    """503 with Retry-After, whatever it asked for and whichever lane that was; a place that is left is free again."""

    async def scenario() -> None:
        crowd = Crowd(2)
        first, second = crowd.join(), crowd.join()
        for sent in (HIT, get(b"/docs"), post(ORDER)):
            third = crowd.join()
            told = await _ask(third, sent)
            assert told.startswith(BUSY)
            assert b"\r\nretry-after: 1\r\n" in told
            assert b'"type":"/problems/busy"' in told
            assert third.wire.is_closing()
        for line in (first, second):
            assert (await _ask(line, HIT)).startswith(b"HTTP/1.1 200 OK")
        first.wire.close()
        await asyncio.sleep(0)
        assert (await _ask(crowd.join(), HIT)).startswith(b"HTTP/1.1 200 OK")
        crowd.leave()
        await asyncio.sleep(0)
        assert counted(crowd.values)['orders_http_busy_total{limit="connections"}'] == 3

    asyncio.run(scenario())


@pytest.mark.parametrize("path", sorted(ALWAYS))
def test_who_looks_after_the_service_is_answered_on_a_connection_too_many(path: bytes) -> None:
    """Once: the connection is closed after it."""

    async def scenario() -> None:
        crowd = Crowd(1)
        crowd.join()
        line = crowd.join()
        told = await _ask(line, get(path) + HIT)
        assert not told.startswith(BUSY)
        assert told.count(b"HTTP/1.1 ") == 1
        assert line.wire.is_closing()
        crowd.leave()
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_far_too_many_connections_are_closed_unheard() -> None:
    async def scenario() -> None:
        crowd = Crowd(1)
        kept = [crowd.join() for _ in range(1 + SPARE)]
        assert not any(line.wire.is_closing() for line in kept)
        assert crowd.join().wire.is_closing()
        crowd.leave()
        await asyncio.sleep(0)

    asyncio.run(scenario())


def packed(body: bytes) -> bytes:
    return post(gzip.compress(body), b"Content-Encoding: gzip")


@pytest.mark.parametrize("frame", [post, chunked, packed])
def test_a_body_is_taken_up_to_its_bound(frame: Any) -> None:
    """By its length, while its chunks arrive, and while it is decompressed."""
    app = plain_app(limits=USUAL._replace(body_bytes=len(ORDER)))

    async def scenario(body: bytes) -> bytes:
        line = Line(lane(USUAL), app)
        await line.feed(frame(body))
        written = await line.settle()
        line.wire.close()
        return written

    assert asyncio.run(scenario(ORDER)).startswith(b"HTTP/1.1 201 ")
    assert asyncio.run(scenario(ORDER + b" ")).startswith(b"HTTP/1.1 413 ")


def test_a_posts_nesting_is_bounded_by_the_setting() -> None:
    """The same verdict as the decoder's, which says how deep it may be."""
    nested = ORDER[:-1] + b',"x":[[[]]]}'
    with TestClient(plain_app(limits=USUAL._replace(nesting=4))) as http:
        assert http.post("/orders", content=nested).status_code == 201
    with TestClient(plain_app(limits=USUAL._replace(nesting=3))) as http:
        got = http.post("/orders", content=nested)
    assert got.status_code == 422
    assert got.json()["errors"] == [{"detail": "Nested deeper than 3 levels", "pointer": "#"}]
    assert decode(nested, 3) != decode(nested, 4)


@pytest.mark.parametrize(
    ("sent", "limit", "after"),
    [(post(ORDER), "posts", b"HTTP/1.1 202 "), (get(b"/orders/nobody"), "misses", b"HTTP/1.1 404 ")],
)
def test_more_than_may_wait_are_reported_503_and_those_who_wait_get_their_answer(
    sent: bytes, limit: str, after: bytes
) -> None:
    async def scenario() -> None:
        held, counting = Held(2), durations()
        app = plain_app(
            submit=held.submit,
            order=held.order,
            values=counting.values,
            limits=USUAL._replace(waiting_posts=2, waiting_misses=2),
        )
        made = fast_lane(MEMORY.get, counting)
        lines = [Line(made, app) for _ in range(2)]
        for line in lines:
            await line.feed(sent)
        async with asyncio.timeout(10):
            await held.come.wait()
            turned_away = await _ask(late := Line(made, app), sent)
            assert turned_away.startswith(BUSY)
            assert b"\r\nretry-after: 1\r\n" in turned_away
            assert b"/problems/busy" in turned_away
            assert (await _ask(late, HIT)).count(b"HTTP/1.1 200 OK") == 1
            held.go.set()
            for line in lines:
                assert (await line.settle()).startswith(after)
            assert (await _ask(late, sent)).count(after) == 1
        for line in (*lines, late):
            line.wire.close()
        await asyncio.sleep(0)
        assert counted(counting.values)[f'orders_http_busy_total{{limit="{limit}"}}'] == 1

    asyncio.run(scenario())


def test_a_post_that_is_turned_away_is_counted_as_unavailable() -> None:
    values = private()
    with TestClient(plain_app(values=values, limits=USUAL._replace(waiting_posts=0))) as http:
        assert is_problem(http.post("/orders", content=ORDER), "busy")
    assert counted(values) == {
        'orders_posts_total{outcome="unavailable"}': 1,
        'orders_http_busy_total{limit="posts"}': 1,
    }
