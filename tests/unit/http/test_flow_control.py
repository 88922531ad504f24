"""What a connection may hold: requests that wait, what is behind them, and answers that nobody takes."""

import asyncio
import logging

import pytest

from orders.http.fastlane import FastLane
from orders.http.flow_control import FINISH_SECONDS, PIECE
from orders.http.limits import USUAL
from support.clocked import Clocked, turn
from support.held import Held
from support.rfc import answers
from support.wire import FAST, HIT, SLOW, UID, Line, chunked, get, plain_app, post

APP = plain_app()
MISS = get(b"/orders/stored")
SHORTEST = len(b"GET / HTTP/1.1\r\nHost:\r\n\r\n")
LARGE = post(b"[" + b" " * 3 * PIECE + b"]")
LANES = pytest.mark.parametrize("lane", [FAST, SLOW], ids=["fast", "slow"])


@LANES
def test_of_what_was_read_at_once_no_more_waits_than_a_piece_holds(lane: type[FastLane]) -> None:
    """However many requests came together, all are answered in their order; the connection continues."""
    sent = MISS * 2000 + LARGE + chunked(b" " * 2 * PIECE) + HIT * 100

    async def scenario() -> bytes:
        line = Line(lane, APP)
        line.protocol.data_received(sent)
        most = 0
        while line.state.tasks or line.protocol.flow.held:
            most = max(most, len(line.protocol.pipeline))
            assert not (line.protocol.flow.held and line.wire.is_reading())
            await asyncio.sleep(0)
        assert 1 < most <= PIECE // SHORTEST
        assert line.wire.is_reading()
        await line.feed(HIT)
        written = await line.settle()
        line.wire.close()
        return written

    statuses = [each.status for each in answers(asyncio.run(scenario()))]
    assert statuses == [200] * 2000 + [422, 400] + [200] * 101


@LANES
def test_a_body_that_is_held_back_is_had_by_its_request(lane: type[FastLane]) -> None:
    """A POST whose turn comes gets the rest of its body, which came with it and was not yet parsed."""

    async def scenario() -> bytes:
        line = Line(lane, APP)
        line.protocol.data_received(MISS + MISS + LARGE + HIT)
        assert line.protocol.flow.held
        written = await line.settle()
        line.wire.close()
        return written

    assert [each.status for each in answers(asyncio.run(scenario()))] == [200, 200, 422, 200]


@LANES
def test_what_is_held_back_is_not_late(lane: type[FastLane]) -> None:
    """A request that came in time is not told 408 because those before it took long."""
    loop = Clocked()
    before = Held(1)

    async def scenario() -> bytes:
        line = Line(lane, plain_app(order=before.order))
        line.protocol.data_received(MISS + MISS + LARGE)
        for _ in range(3):
            await turn(loop, USUAL.body_deadline)
        before.go.set()
        written = await line.settle()
        line.wire.close()
        return written

    assert [each.status for each in answers(loop.play(scenario()))] == [404, 404, 422]


@LANES
def test_what_is_held_back_has_its_time_when_it_is_taken(lane: type[FastLane]) -> None:
    """A body that then does not end is told 408, in time and not before."""
    loop = Clocked()
    before = Held(1)

    async def scenario() -> bytes:
        line = Line(lane, plain_app(order=before.order))
        line.protocol.data_received((MISS + MISS + LARGE)[:-1])
        await turn(loop, USUAL.body_deadline * 0.9)
        before.go.set()
        while line.protocol.flow.held:
            await turn(loop, 0)
        await turn(loop, USUAL.body_deadline * 0.9)
        assert not line.wire.is_closing()
        await turn(loop, USUAL.body_deadline * 0.2)
        assert line.wire.is_closing()
        return await line.settle()

    assert [each.status for each in answers(loop.play(scenario()))] == [404, 404, 408]


@LANES
@pytest.mark.parametrize("taken", [False, True])
def test_a_client_that_takes_nothing_is_cut_in_time(lane: type[FastLane], taken: bool) -> None:
    """Counted from the moment when more waits than may; who takes it in time continues."""
    loop = Clocked()

    async def scenario() -> None:
        line = Line(lane, APP)
        line.protocol.pause_writing()
        line.protocol.data_received(HIT)
        await turn(loop, USUAL.answer_deadline - 0.1)
        assert not line.wire.is_closing()
        if taken:
            line.protocol.resume_writing()
        await turn(loop, 0.2)
        assert line.wire.aborted is not taken
        if taken:
            assert (await line.settle()).startswith(b"HTTP/1.1 200 OK")
            line.wire.close()

    loop.play(scenario())


@LANES
@pytest.mark.parametrize("last", [get(b"/orders/" + UID, b"Connection: close"), get(b"/orders/" + UID, b"Host: h")])
def test_a_client_that_continues_after_the_last_answer_is_read_for_a_while_and_not_heard(
    lane: type[FastLane], last: bytes
) -> None:
    """Else its connection would be reset, and answers on their way be lost."""
    loop = Clocked()

    async def scenario() -> None:
        line = Line(lane, APP)
        line.wire.staying = True
        line.protocol.data_received(last)
        written = await line.settle()
        await turn(loop, FINISH_SECONDS - 0.1)
        assert not line.wire.is_closing()
        assert line.wire.is_reading()
        await line.feed(HIT)
        assert await line.settle() == written
        await turn(loop, 0.2)
        assert line.wire.is_closing()

    loop.play(scenario())


@LANES
@pytest.mark.parametrize(
    "last",
    [
        get(b"/orders/" + UID, b"Connection: close"),
        get(b"/orders/stored", b"Connection: close"),
        get(b"/orders/" + UID, b"Host: h"),
        HIT,
    ],
    ids=["hit", "miss", "refused", "idle"],
)
def test_a_connection_that_is_to_end_does_so_though_its_answer_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, lane: type[FastLane], last: bytes
) -> None:
    """The client has the answer's time to take it."""
    loop = Clocked()
    monkeypatch.setattr("orders.http.fastlane.monotonic", loop.time)

    async def scenario() -> None:
        line = Line(lane, APP)
        line.wire.taking = False
        line.protocol.data_received(last)
        await line.settle()
        await turn(loop, line.protocol.timeout_keep_alive + 0.1 if last == HIT else 0)
        assert line.wire.is_closing()
        await turn(loop, USUAL.answer_deadline - 0.1)
        assert not line.wire.aborted
        await turn(loop, 0.2)
        assert line.wire.aborted

    loop.play(scenario())


def test_requests_that_wait_when_the_client_goes_are_dropped_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """The one that is being answered is told so, though others came after it; nothing is written any more."""

    async def scenario() -> None:
        line = Line(SLOW, APP)
        line.protocol.pause_writing()
        line.protocol.data_received(MISS * 3)
        await asyncio.sleep(0)
        line.wire.close()
        await line.settle()
        assert not line.wire.written
        assert line.wire.late == 0

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert not caplog.records
