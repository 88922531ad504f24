"""Both lanes without a network: the same bytes in any pieces, and what the protocol class adds to uvicorn's."""

import asyncio
import inspect
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl

from orders.api.request_metrics import HTTP_SECONDS, SERVE_LAYOUT
from orders.errors import Unavailable
from orders.http import fastlane
from orders.http.fastlane import ROUTE, fast_lane
from orders.http.limits import USUAL
from orders.http.problems import problem
from orders.metrics.kinds import Values
from support.clocked import Clocked, turn
from support.metrics import counted, durations, times
from support.wire import CLOSE, FAST, HIT, MEMORY, REQUESTS, SLOW, UID, Line, chunked, converse, get, plain_app, post

APP: ASGIApp = plain_app()
DURATIONS = durations()
COUNTED = DURATIONS.values
COUNTING: ASGIApp = plain_app(values=COUNTED)
COUNTING_FAST, COUNTING_SLOW = fast_lane(MEMORY.get, DURATIONS), fast_lane(None, DURATIONS)
HTTP = "http_server_request_duration_seconds_count"


@pytest.fixture(autouse=True)
def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request id that the service makes is another each time; here it is the same."""
    monkeypatch.setattr("orders.http.instrumented.new_id", lambda: b"made")


def talk(lane: type[fastlane.FastLane], *chunks: bytes, leaving: bool = False) -> tuple[bytes, bool, int]:
    return asyncio.run(converse(lane, APP, chunks, leaving=leaving))


@pytest.mark.parametrize("name", REQUESTS)
def test_lanes_answer_alike(name: str) -> None:
    """Whatever is asked, the fast lane answers byte for byte what the application answers."""
    assert talk(FAST, REQUESTS[name]) == talk(SLOW, REQUESTS[name])


@pytest.mark.parametrize("name", REQUESTS)
def test_lanes_leave_alike(name: str) -> None:
    """A server that is to stop answers alike too, and its first answer ends the connection and says so."""
    told = talk(FAST, REQUESTS[name], leaving=True)
    assert told == talk(SLOW, REQUESTS[name], leaving=True)
    written, closed, _ = told
    assert closed or not written
    assert len(re.findall(rb"HTTP/1.1 (?!100)", written)) <= 1
    assert (b"\r\nconnection: close\r\n" in written) == bool(written)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], None),
        ([b"X-Request-ID: 6ba7b810-9dad-11d1-80b4-00c04fd430c8"], b"6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ([b"x-request-id: Root=1/a:b_c~d.e"], b"Root=1/a:b_c~d.e"),
        ([b"X-Request-ID: a b"], None),
        ([b"X-Request-ID: a\xff"], None),
        ([b'X-Request-ID: a"b'], None),
        ([b"X-Request-ID: " + b"a" * 129], None),
        ([b"X-Request-ID: a", b"X-Request-ID: +972"], b"a"),
    ],
)
def test_a_request_id_comes_back(fields: Sequence[bytes], told: bytes | None) -> None:
    """If it is well formed; a plain hit without one has none."""
    for lane in (FAST, SLOW):
        written, _, _ = talk(lane, get(b"/orders/" + UID, *fields))
        assert re.findall(rb"\r\nx-request-id: (.*)\r\n", written) == ([told] if told else [])


def test_posts_and_failures_of_ours_are_reported_a_request_id() -> None:
    """It is made for them where they bring none; what failed by the client's fault has none."""
    sent = post(b"{"), REQUESTS["HTTP/2.0"], get(b"/orders/nobody"), REQUESTS["garbage"]
    assert [talk(FAST, each)[0].count(b"\r\nx-request-id: made\r\n") for each in sent] == [1, 1, 0, 0]


@pytest.mark.parametrize("host", [b"localhost:8080", b"LOCALHOST", b"127.0.0.1:1", b"[::1]:1", b"orders.example.", b""])
def test_hosts_that_are_known(host: bytes) -> None:
    """Addresses, localhost, and what the settings name."""
    lane = fast_lane(MEMORY.get, hosts=["127.0.0.1", "orders.example"])
    assert talk(lane, get(host=host))[0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example", b"1"])
def test_hosts_that_are_not_known(host: bytes) -> None:
    """A name that leads here by DNS rebinding is answered nothing, by neither lane, and the connection ends."""
    for lookup in (MEMORY.get, None):
        lane = fast_lane(lookup, hosts=["127.0.0.1", "orders.example"])
        written, closed, _ = talk(lane, get(host=host) + HIT)
        assert re.match(rb"HTTP/1.1 (421|400) ", written)
        assert closed
        assert written.count(b"HTTP/1.1") == 1


TRACED = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ([], {"request_id": "made"}),
        ([b"X-Request-ID: a"], {"request_id": "a"}),
        ([b"X-Request-ID: a@b"], {"request_id": "made"}),
        ([b"X-Request-ID: a", TRACED], {"request_id": "a", "trace_id": TRACE}),
        ([TRACED + b"-more"], {"request_id": "made", "trace_id": TRACE}),
        ([TRACED, TRACED], {"request_id": "made"}),
        ([b"traceparent: 00-" + b"0" * 32 + b"-b7ad6b7169203331-01"], {"request_id": "made"}),
        ([b"traceparent: ff" + TRACED[15:]], {"request_id": "made"}),
        ([b"traceparent: mail@example.com"], {"request_id": "made"}),
    ],
)
def test_a_line_about_a_request_has_its_names(fields: Sequence[bytes], names: dict[str, str]) -> None:
    """Its request id always, its trace id where it is well formed."""
    assert lines(get(b"/orders/nobody", *fields)) == [names]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://evil.example", b"127.0.0.1", b"421"),
        (b"http://orders.example", b"evil.example", b"200"),
        (b"http://orders.example:8080", b"evil.example", b"200"),
        (b"http://evil.example", b"evil.example", b"421"),
    ],
)
def test_the_host_of_an_absolute_target_is_the_one_that_counts(target: bytes, host: bytes, status: bytes) -> None:
    """RFC 9112, 3.2.2: Host is then ignored."""
    lane = fast_lane(MEMORY.get, hosts=["127.0.0.1", "orders.example"])
    written, _, _ = talk(lane, get(target + b"/orders/" + UID, host=host))
    assert written.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("target", [b"", b"http://orders.example"])
def test_two_hosts_are_refused_whatever_they_name(target: bytes) -> None:
    """RFC 9112, 3.2: though neither be known, and though the target names another."""
    lane = fast_lane(MEMORY.get, hosts=["127.0.0.1", "orders.example"])
    written, closed, _ = talk(lane, get(target + b"/orders/" + UID, b"Host: other.example", host=b"evil.example"))
    assert (written.startswith(b"HTTP/1.1 400 "), closed) == (True, True)


def test_a_line_has_no_names_of_the_request_before() -> None:
    """A pipelined request is begun where the one before it ends."""
    sent = get(b"/orders/nobody", b"X-Request-ID: a", TRACED) + get(b"/orders/nobody")
    assert lines(sent) == [{"request_id": "a", "trace_id": TRACE}, {"request_id": "made"}]


def lines(*chunks: bytes) -> list[dict[str, str]]:
    """The names in each line that is logged while PostgreSQL is unavailable."""

    async def away(_: str) -> None:
        raise Unavailable("PostgreSQL cannot be reached")

    with capture_logs([merge_contextvars]) as logged:
        written, _, _ = asyncio.run(converse(FAST, plain_app(order=away), chunks))
    told = [line.get("request_id") for line in logged]
    assert re.findall(rb"x-request-id: (.*)\r\n", written) == [str(each).encode() for each in told]
    return [{name: line[name] for name in ("request_id", "trace_id") if name in line} for line in logged]


def counts(lane: type[fastlane.FastLane], *chunks: bytes) -> tuple[bytes, dict[str, float]]:
    """What is answered, and what a conversation adds to the counts."""
    COUNTED.cells[:] = Values(SERVE_LAYOUT).cells
    written, _, _ = asyncio.run(converse(lane, COUNTING, chunks))
    return written, times(counted(COUNTED))


@pytest.mark.parametrize("name", REQUESTS)
def test_lanes_count_alike(name: str) -> None:
    """Each answer that is written is counted once, and both lanes count the same under the same names."""
    written, fast = counts(COUNTING_FAST, REQUESTS[name])
    assert counts(COUNTING_SLOW, REQUESTS[name])[1] == fast
    statuses = [int(code) for code in re.findall(rb"HTTP/1.1 (\d+) ", written) if code != b"100"]
    told = {name: value for name, value in fast.items() if name.startswith(HTTP)}
    assert sum(told.values()) == len(statuses)
    assert {int(re.sub(r'.*status_code="(\d+)".*', r"\1", name)) for name in told} == set(statuses)


def request(method: str, route: str, status: int) -> str:
    labels = f'http_request_method="{method}",http_response_status_code="{status}",http_route="{route}"'
    return f'{HTTP}{{{labels},url_scheme="http"}}'


ORDER = "/orders/{order_uid}"
LOOKUPS = "orders_memory_lookups_total"
HITS, MISSES = f'{LOOKUPS}{{result="hit"}}', f'{LOOKUPS}{{result="miss"}}'


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (HIT * 3, {request("GET", ORDER, 200): 3, HITS: 3}),
        (get(b"/orders/nobody"), {request("GET", ORDER, 404): 1, MISSES: 1}),
        (get(b"/orders/stored") + HIT, {request("GET", ORDER, 200): 2, MISSES: 1, HITS: 1}),
        (get(method=b"HEAD"), {request("HEAD", ORDER, 200): 1, HITS: 1}),
        (get(b"/orders/" + UID + b"?view=standard"), {request("GET", ORDER, 200): 1, HITS: 1}),
        (get(b"/orders/%D0%B6"), {request("GET", ORDER, 404): 1}),
        (get(method=b"DELETE"), {request("_OTHER", "unmatched", 405): 1}),
        (get(b"/elsewhere"), {request("GET", "unmatched", 404): 1}),
        (get(b"/"), {request("GET", "/", 200): 1}),
        (get(b"/metrics"), {request("GET", "/metrics", 200): 1}),
        (
            chunked(b"{}"),
            {request("POST", "/orders", 422): 1, 'orders_posts_total{outcome="refused"}': 1},
        ),
        (REQUESTS["two Hosts"], {request("_OTHER", "unmatched", 400): 1}),
        (REQUESTS["HTTP/2.0"], {request("_OTHER", "unmatched", 505): 1}),
        (REQUESTS["head too large"], {request("_OTHER", "unmatched", 431): 1}),
        (REQUESTS["body too large"], {request("POST", "/orders", 413): 1}),
        (
            REQUESTS["miss, then broken chunk"],
            {request("GET", ORDER, 200): 1, MISSES: 1, request("_OTHER", "unmatched", 400): 1},
        ),
    ],
)
def test_what_is_counted(sent: bytes, expected: dict[str, float]) -> None:
    """A request is counted by its method, the route that it found and its status; a look into memory once."""
    assert counts(COUNTING_FAST, sent)[1] == expected


@pytest.mark.parametrize("lane", [COUNTING_FAST, COUNTING_SLOW])
def test_a_request_takes_as_long_as_its_bytes_took_to_come(lane: type[fastlane.FastLane]) -> None:
    """It begins with its first byte and ends with its answer, on either lane."""
    now = 0.0

    async def scenario() -> None:
        nonlocal now
        line = Line(lane, COUNTING)
        for piece in (HIT[:10], HIT[10:-1], HIT[-1:] + HIT):
            now += 0.75
            await line.feed(piece)
        await line.settle()
        line.wire.close()

    COUNTED.cells[:] = Values(SERVE_LAYOUT).cells
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orders.http.fastlane.monotonic", lambda: now)
        patch.setattr("orders.http.instrumented.monotonic", lambda: now)
        asyncio.run(scenario())
    place = DURATIONS.place("GET", ROUTE, 200)
    row = COUNTED.cells[place : place + HTTP_SECONDS.width].tolist()
    one_and_a_half = HTTP_SECONDS.buckets.index(2.5)
    assert (row[0], row[one_and_a_half], sum(row[:-1]), row[-1]) == (1, 1, 2, 1.5)


def test_a_hit_does_not_reach_the_application() -> None:
    """The fast lane answers from memory alone, and counts."""

    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError(scope, receive, send)

    written, closed, count = asyncio.run(converse(FAST, app, [HIT * 3]))
    assert written.count(b"HTTP/1.1 200 OK\r\n") == count == 3
    assert not closed


@pytest.mark.parametrize("name", ["hit with fields", "hit, close", "miss, hit, post, hit, hit", "post in chunks"])
def test_split_anywhere(name: str) -> None:
    """A request may come in two pieces, cut at any byte."""
    data = REQUESTS[name]
    whole = talk(FAST, data)
    for cut in range(1, len(data)):
        assert talk(FAST, data[:cut], data[cut:]) == whole


def test_byte_by_byte() -> None:
    """A request may come in bytes."""
    for name in ("hit", "miss, hit, post, hit, hit", "post, hit, post, HEAD, hit", "no Host"):
        data = REQUESTS[name]
        assert talk(FAST, *(data[i : i + 1] for i in range(len(data)))) == talk(SLOW, data)


SMALL = [data for data in REQUESTS.values() if len(data) < 2_000]


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Requests one after the other, cut anywhere."""
    data = b"".join(draw(st.lists(st.sampled_from(SMALL), max_size=6)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


@given(conversations(), st.booleans())
def test_any_conversation(chunks: Sequence[bytes], leaving: bool) -> None:
    """Any sequence of requests in any pieces is answered and counted alike by both lanes."""
    assert talk(FAST, *chunks, leaving=leaving) == talk(SLOW, *chunks, leaving=leaving)
    assert counts(COUNTING_FAST, *chunks) == counts(COUNTING_SLOW, *chunks)


@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([*SMALL, b"\r\n", b"GET ", b" HTTP/1.1\r\n"]))))
def test_any_bytes(chunks: Sequence[bytes]) -> None:
    """Whatever bytes come, nothing fails inside, and what goes out are answers."""
    for lane in (FAST, SLOW):
        written, _, _ = talk(lane, *(chunk for chunk in chunks if chunk))
        assert not written or written.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in written


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (HIT, [200]),
        (get(b"/orders/stored") + HIT + post(b"{"), [200, 200, 400]),
        (HIT[:-1], []),
        (post(b"{}")[:-1], []),
    ],
)
def test_a_client_that_sends_no_more(sent: bytes, statuses: list[int]) -> None:
    """A client may close its sending side and read on: all complete requests are answered, then it is closed."""

    async def scenario() -> bytes:
        line = Line(FAST, APP)
        await line.feed(sent)
        line.wire.end()
        written = await line.settle()
        assert line.wire.is_closing()
        return written

    written = asyncio.run(scenario())
    assert [int(code) for code in re.findall(rb"HTTP/1.1 (\d+) ", written)] == statuses


def test_a_client_that_does_not_read() -> None:
    """Once writing is paused no more is answered, and reading stops."""

    async def scenario() -> None:
        line = Line(FAST, APP)
        line.protocol.data_received(HIT)
        one = len(line.wire.written)
        line.protocol.pause_writing()
        line.protocol.data_received(HIT * 50)
        await asyncio.sleep(0)
        assert len(line.wire.written) == one
        assert not line.wire.is_reading()
        line.protocol.resume_writing()
        assert len(await line.settle()) == 51 * one
        assert line.wire.is_reading()
        line.wire.close()

    asyncio.run(scenario())


def test_reading_stops_while_posts_wait() -> None:
    """A client that pipelines POSTs is read no further until the last of them is being answered."""

    async def scenario() -> None:
        line = Line(FAST, APP)
        line.protocol.data_received(post(b"{}") * 5)
        while line.state.tasks:
            assert not (line.protocol.pipeline and line.wire.is_reading())
            await asyncio.sleep(0)
        assert line.wire.is_reading()
        line.wire.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "seconds", "status"),
    [
        (b"", USUAL.head_deadline, b""),
        (b"\r\n", USUAL.head_deadline, b""),
        (HIT[:-2], USUAL.head_deadline, b"HTTP/1.1 408 Request Timeout"),
        (post(b"{}")[:-1], USUAL.body_deadline, b"HTTP/1.1 408 Request Timeout"),
        (HIT, 5.0, b"HTTP/1.1 200 OK"),
    ],
)
def test_deadlines(monkeypatch: pytest.MonkeyPatch, sent: bytes, seconds: float, status: bytes) -> None:
    """A connection that is slow to ask, or idle after an answer, is closed in time and not before."""
    loop = Clocked()
    monkeypatch.setattr("orders.http.fastlane.monotonic", loop.time)

    async def scenario() -> None:
        line = Line(FAST, APP)
        if sent:
            line.protocol.data_received(sent)
        await turn(loop, seconds - 0.1)
        assert not line.wire.is_closing()
        await turn(loop, 0.2)
        assert bytes(line.wire.written).partition(b"\r\n")[0] == status
        assert line.wire.is_closing()

    loop.play(scenario())


def test_a_body_has_its_own_time_where_its_head_came_in_pieces() -> None:
    loop = Clocked()

    async def scenario() -> None:
        line = Line(FAST, APP)
        sent = post(b"{}")
        line.protocol.data_received(sent[:10])
        line.protocol.data_received(sent[10:-1])
        await turn(loop, USUAL.body_deadline - 0.1)
        assert not line.wire.is_closing()
        await turn(loop, 0.2)
        assert bytes(line.wire.written).startswith(b"HTTP/1.1 408 ")

    loop.play(scenario())


@pytest.mark.parametrize("sent", [b"", b"G"])
def test_a_connection_too_many_has_little_time(sent: bytes) -> None:
    """To begin, and once it has begun: anyone who drips there would keep others from being heard."""
    loop = Clocked()
    lane = fast_lane(MEMORY.get, limits=USUAL._replace(connections=1))

    async def scenario() -> None:
        first = Line(lane, APP)
        line = Line(lane, APP, state=first.state)
        if sent:
            line.protocol.data_received(sent)
        await turn(loop, fastlane.CROWDED_SECONDS + 0.1)
        assert line.wire.is_closing()
        assert not first.wire.is_closing()
        first.wire.close()
        await asyncio.sleep(0)

    loop.play(scenario())


def test_deadline_is_each_requests_own() -> None:
    """A connection that is always in the middle of a request lives as long as each of them comes in time."""
    loop = Clocked()

    async def scenario() -> None:
        line = Line(FAST, APP)
        line.protocol.data_received(HIT[:10])
        for _ in range(20):
            await turn(loop, USUAL.head_deadline * 0.8)
            line.protocol.data_received(HIT[10:] + HIT[:10])
        assert bytes(line.wire.written).count(b"HTTP/1.1 200 OK") == 20
        assert not line.wire.is_closing()
        line.wire.close()
        await asyncio.sleep(0)

    loop.play(scenario())


@pytest.mark.parametrize("last", [HIT, post(b"{}")])
def test_each_request_makes_a_connection_live_longer(monkeypatch: pytest.MonkeyPatch, last: bytes) -> None:
    """It is idle from its last request on, on whichever lane that was."""
    loop = Clocked()
    monkeypatch.setattr("orders.http.fastlane.monotonic", loop.time)

    async def scenario() -> None:
        line = Line(FAST, APP)
        for sent in (HIT, HIT, last):
            await turn(loop, 4.0)
            await line.feed(sent)
            await line.settle()
        await turn(loop, 4.9)
        assert not line.wire.is_closing()
        await turn(loop, 0.2)
        assert line.wire.is_closing()

    loop.play(scenario())


@pytest.mark.parametrize("cut", [1, 10, len(HIT) - 3, len(HIT) - 1])
def test_what_follows_a_head_that_came_in_pieces_is_no_part_of_it(cut: int) -> None:
    """However many requests the piece brings that has its end."""
    for lane in (FAST, SLOW):
        written, closed, _ = talk(lane, HIT[:cut], HIT[cut:] + HIT * 1000)
        assert (written.count(b"HTTP/1.1 200 OK"), closed) == (1001, False)


def test_endless_head() -> None:
    """A head that never ends is refused once it is too large, in whatever pieces it comes."""
    pieces = [b"GET / HTTP/1.1\r\nX: ", *[b"x" * 1000] * 40]
    written, closed, _ = talk(FAST, *pieces)
    assert written.startswith(b"HTTP/1.1 431 ")
    assert closed


@pytest.mark.parametrize("sent", [b"", HIT])
def test_a_server_that_stops_closes_idle_connections_a_moment_later(sent: bytes) -> None:
    """A request may be on its way on them: it is still answered."""
    loop = Clocked()

    async def scenario() -> None:
        line = Line(FAST, APP)
        late = Line(FAST, APP)
        for each in (line, late):
            if sent:
                each.protocol.data_received(sent)
            each.protocol.shutdown()
        late.protocol.data_received(HIT)
        assert late.wire.written.count(b"HTTP/1.1 200 OK") == 1 + bool(sent)
        assert not line.wire.is_closing()
        await turn(loop, fastlane.LINGER_SECONDS + 0.01)
        assert line.wire.is_closing()
        assert late.wire.is_closing()

    loop.play(scenario())


@pytest.mark.parametrize(("whole", "cut"), [(HIT, 20), (post(b"{}"), 20), (post(b"{}"), -1)])
def test_a_server_that_stops_reads_a_request_that_has_begun_to_its_end(whole: bytes, cut: int) -> None:
    """It is answered, and then the connection ends."""
    loop = Clocked()

    async def scenario() -> None:
        line = Line(FAST, APP)
        line.protocol.data_received(HIT)
        line.protocol.data_received(whole[:cut])
        line.state.default_headers = [*line.state.default_headers, fastlane.LEAVE]
        line.protocol.shutdown()
        await turn(loop, fastlane.LINGER_SECONDS + 0.01)
        assert not line.wire.is_closing()
        line.protocol.data_received(whole[cut:])
        written = await line.settle()
        assert written.count(b"HTTP/1.1 ") == 2
        assert line.wire.is_closing()

    loop.play(scenario())


def test_a_request_that_takes_too_long_at_the_stop_is_reported_so() -> None:
    """What the server cancels is 503 with the field that says when to come again, not a broken connection."""

    async def waits(_: str) -> None:
        await asyncio.Event().wait()

    async def scenario() -> bytes:
        line = Line(FAST, plain_app(order=waits))
        line.protocol.data_received(get(b"/orders/nobody"))
        await asyncio.sleep(0.01)
        for task in line.state.tasks:
            task.cancel()
        written = await line.settle()
        line.wire.close()
        return written

    written = asyncio.run(scenario())
    assert written.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in written
    assert written.endswith(problem("unavailable"))


PARAMETERS: dict[Any, list[str]] = {
    httptools_impl.HttpToolsProtocol.__init__: ["self", "config", "server_state", "app_state", "_loop"],
    httptools_impl.HttpToolsProtocol.connection_made: ["self", "transport"],
    httptools_impl.HttpToolsProtocol.connection_lost: ["self", "exc"],
    httptools_impl.HttpToolsProtocol.data_received: ["self", "data"],
    httptools_impl.HttpToolsProtocol.eof_received: ["self"],
    httptools_impl.HttpToolsProtocol.on_message_begin: ["self"],
    httptools_impl.HttpToolsProtocol.on_url: ["self", "url"],
    httptools_impl.HttpToolsProtocol.on_header: ["self", "name", "value"],
    httptools_impl.HttpToolsProtocol.on_headers_complete: ["self"],
    httptools_impl.HttpToolsProtocol.on_body: ["self", "body"],
    httptools_impl.HttpToolsProtocol.on_message_complete: ["self"],
    httptools_impl.HttpToolsProtocol.timeout_keep_alive_handler: ["self"],
    httptools_impl.HttpToolsProtocol._unset_keepalive_if_required: ["self"],
    FlowControl.__init__: ["self", "transport"],
    FlowControl.resume_reading: ["self"],
}


@pytest.mark.parametrize("method", PARAMETERS, ids=lambda m: m.__qualname__)
def test_uvicorns_methods(method: Any) -> None:
    """The fast lane overrides or calls these; when uvicorn changes them, read `httptools_impl` again."""
    assert list(inspect.signature(method).parameters) == PARAMETERS[method]


def test_uvicorns_attributes() -> None:
    """The fast lane reads or sets these of a connection and of a request at work."""

    async def scenario() -> tuple[set[str], set[str]]:
        line = Line(FAST, APP)
        plain = httptools_impl.HttpToolsProtocol(line.protocol.config, line.state, {})
        line.wire.close()
        return set(vars(plain)), set(vars(line.state))

    of_connection, of_server = asyncio.run(scenario())
    used = {"app", "cycle", "expect_100_continue", "flow", "headers", "loop", "parser", "pipeline", "server_state"}
    used |= {"timeout_keep_alive", "timeout_keep_alive_task", "transport"}
    assert used <= of_connection
    assert {"default_headers", "total_requests"} <= of_server
    cycle = inspect.getsource(httptools_impl.RequestResponseCycle)
    for name in ("disconnected", "keep_alive", "message_event", "response_complete", "response_started"):
        assert f"self.{name} = " in cycle
    assert httptools_impl.STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"


def test_lookup_sees_no_more_than_a_uid() -> None:
    """Memory's keys have a bound: what cannot be a uid is not looked up."""
    asked: list[bytes] = []

    def lookup(uid: bytes) -> bytes | None:
        asked.append(uid)
        return MEMORY.get(uid)

    for target in (b"/", b"/orders/", b"/orders/" + b"a" * 129, b"/orders/" + b"a" * 128):
        talk(fast_lane(lookup), get(target) + CLOSE)
    assert asked == [b"a" * 128]


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_mistake_in_what_the_parser_calls_is_ours_and_logged_with_the_requests_id(size: int) -> None:
    """It is not told as the client's, however its request comes; those before it are answered, those after it not."""

    def lookup(order_uid: bytes) -> bytes | None:
        if order_uid != UID:
            raise ValueError("of ours")
        return MEMORY[UID]

    sent = get() + get(b"/orders/some", b"X-Request-ID: a") + get()
    with capture_logs([merge_contextvars]) as logged:
        written, closed, _ = talk(fast_lane(lookup), *(sent[at : at + size] for at in range(0, len(sent), size)))
    assert re.findall(rb"HTTP/1.1 (\d+) ", written) == [b"200", b"500"]
    assert closed
    assert [(each["event"], each["kind"], each["request_id"]) for each in logged] == [
        ("internal_error", "ValueError", "a")
    ]
