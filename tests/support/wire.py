"""HTTP in tests: raw requests, a transport that is none, and servers of both lanes on free ports."""

import asyncio
import gzip
import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from orders.api.app import create_app
from orders.api.dependencies import Dependencies
from orders.api.health import Purpose, report_of
from orders.api.reader import FoundOrder
from orders.api.waiting import RecordOutcome
from orders.http.fastlane import LEAVE, DocumentLookup, FastLane, fast_lane
from orders.http.representation import tag_of
from orders.http.server import server
from orders.order import Content
from orders.readiness import Lag, ReadinessPart, ReadinessReport, RestorePart
from orders.readiness import ReadinessParts as HealthParts
from orders.record import Outcome
from support.waiting import wait_for

UID = b"b563feg7bdg3286ttjr67siej"
DOCUMENT = b'{"order":{"id":1,"order_uid":"b563feg7bdg3286ttjr67siej","note":"%b"}}' % (b"x" * 1000)
STORED = b'{"order":{"id":2,"order_uid":"stored"}}'
LARGE = b'{"order":{"id":4,"order_uid":"large","note":"%b"}}' % (b"x" * 2000)
MEMORY = {UID: DOCUMENT, b"a~b._-": b'{"order":{"id":3}}', b"large": LARGE, b"search": b'{"order":{"id":5}}'}

Address = tuple[str, int]


async def _order(order_uid: str) -> FoundOrder | None:
    return FoundOrder(STORED, 1, 0.0) if order_uid == "stored" else None


async def well(purpose: Purpose) -> ReadinessReport:
    """What /readyz returns where every part is well."""
    fine = ReadinessPart(ok=True)
    return report_of(HealthParts(fine, fine, fine, Lag(ok=True), fine, RestorePart(ok=True)), purpose)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def told(outcome: Outcome) -> Callable[[Content, float], Awaitable[RecordOutcome | None]]:
    """What a POST is told."""

    async def submit(content: Content, _wait: float) -> RecordOutcome | None:
        return RecordOutcome(outcome, content.row.order_uid, "", "")

    return submit


def plain_app(**parts: Any) -> ASGIApp:
    """The application on dictionaries in place of services."""
    return create_app(plain_dependencies(**parts))


def plain_dependencies(**parts: Any) -> Dependencies:
    """What it stands on."""
    given: dict[str, Any] = {
        "find": MEMORY.get,
        "order": _order,
        "submit": told("created"),
        "health": well,
        "lifespan": _nothing,
    }
    return Dependencies(**(given | parts))


def get(target: bytes = b"/orders/" + UID, *fields: bytes, method: bytes = b"GET", host: bytes = b"h") -> bytes:
    """One request without a body."""
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: " + host, *fields, b"", b""])


def post(body: bytes, *fields: bytes) -> bytes:
    """One POST of an order."""
    return get(b"/orders", b"Content-Length: %d" % len(body), *fields, method=b"POST") + body


def chunked(body: bytes, size: int = 7) -> bytes:
    """One POST in chunks, with a trailer."""
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = get(b"/orders", b"Transfer-Encoding: chunked", method=b"POST")
    return head + framed + b"0\r\nX-Trailer: 1\r\n\r\n"


def known(*tags: bytes, uid: bytes = UID) -> bytes:
    """A GET of who has representations with these tags, each in a field of its own."""
    return get(b"/orders/" + uid, *[b"If-None-Match: " + tag for tag in tags])


HIT = get()
TAG = tag_of(DOCUMENT)
CLOSE = get(b"/livez", b"Connection: close")

REQUESTS: dict[str, bytes] = {
    "hit": HIT,
    "hit with fields": get(b"/orders/" + UID, b"User-Agent: t", b"Accept: */*", b"ACCEPT-ENCODING: gzip", b"X: "),
    "hit, request id": get(b"/orders/" + UID, b"X-Request-ID: 0af7651916cd43dd-8448/eb211c80319c=="),
    "hit, request id, close": get(b"/orders/" + UID, b"x-request-id: a", b"Connection: close"),
    "hit, longest request id": get(b"/orders/" + UID, b"X-Request-ID: " + b"a" * 128),
    "hit, request id too long": get(b"/orders/" + UID, b"X-Request-ID: " + b"a" * 129),
    "hit, empty request id": get(b"/orders/" + UID, b"X-Request-ID: "),
    "hit, request id of other characters": get(b"/orders/" + UID, b"X-Request-ID: test@example.com"),
    "hit, two request ids": get(b"/orders/" + UID, b"X-Request-ID: a", b"X-Request-ID: b"),
    "hit, request id, then hit without": get(b"/orders/" + UID, b"X-Request-ID: a") + HIT,
    "hit, traceparent": get(b"/orders/" + UID, b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
    "miss, request id": get(b"/orders/nobody", b"X-Request-ID: a"),
    "HEAD, request id": get(b"/orders/" + UID, b"X-Request-ID: a", method=b"HEAD"),
    "post, request id": post(b"{", b"X-Request-ID: a"),
    "request id, then no Host": get(b"/orders/" + UID, b"X-Request-ID: a")
    + b"GET / HTTP/1.1\r\nX-Request-ID: b\r\n\r\n",
    "request id, then garbage": get(b"/orders/" + UID, b"X-Request-ID: a") + b"nonsense\r\n\r\n",
    "hit, gzip": get(b"/orders/large", b"Accept-Encoding: gzip, deflate, br"),
    "hit, gzip in a second field": get(b"/orders/large", b"Accept-Encoding: br", b"Accept-Encoding: gzip;q=0.5"),
    "hit, no gzip": get(b"/orders/large", b"Accept-Encoding: gzip;q=0, br"),
    "hit, gzip, HEAD": get(b"/orders/large", b"Accept-Encoding: gzip", method=b"HEAD"),
    "known": known(TAG),
    "known, then hit": known(TAG) + HIT,
    "known, close": get(b"/orders/" + UID, b"If-None-Match: " + TAG, b"Connection: close"),
    "known, request id": get(b"/orders/" + UID, b"If-None-Match: " + TAG, b"X-Request-ID: a"),
    "known, HEAD": get(b"/orders/" + UID, b"If-None-Match: " + TAG, method=b"HEAD"),
    "known by another tag": known(b'"0123456789abcdef"'),
    "known by a foreign tag": known(b'"v1"'),
    "known by a weak tag": known(b"W/" + TAG),
    "known by any": known(b"*"),
    "known by one of several": known(b'"a", ' + TAG + b', W/"b"'),
    "known by two fields": known(b'"0123456789abcdef"', TAG),
    "known by none": known(b""),
    "known, not well formed": known(TAG + b" x"),
    "known, gzip": get(b"/orders/large", b"If-None-Match: " + tag_of(LARGE), b"Accept-Encoding: gzip"),
    "known, compressed": get(
        b"/orders/large", b"If-None-Match: " + tag_of(LARGE)[:-1] + b'-gzip"', b"Accept-Encoding: gzip"
    ),
    "known, stored": known(tag_of(STORED), uid=b"stored"),
    "known, unknown": known(b"*", uid=b"nobody"),
    "hit, other uid": get(b"/orders/a~b._-"),
    "hit, close": get(b"/orders/" + UID, b"Connection: close"),
    "hit, Close in capitals": get(b"/orders/" + UID, b"CONNECTION: CLOSE"),
    "hit, keep-alive": get(b"/orders/" + UID, b"Connection: keep-alive"),
    "hit, close then more": get(b"/orders/" + UID, b"Connection: close") + HIT + HIT,
    "hit in HTTP/1.0": b"GET /orders/%b HTTP/1.0\r\n\r\n" % UID,
    "hit in HTTP/1.0, keep-alive": b"GET /orders/%b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % UID,
    "hit, HEAD": get(method=b"HEAD"),
    "hit, DELETE": get(method=b"DELETE"),
    "hit, OPTIONS": get(method=b"OPTIONS"),
    "hit, empty body announced": get(b"/orders/" + UID, b"Content-Length: 0"),
    "hit, body": get(b"/orders/" + UID, b"Content-Length: 3") + b"abc",
    "hit, body in chunks": get(b"/orders/" + UID, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    "hit, expect": get(b"/orders/" + UID, b"Expect: 100-continue"),
    "hit, upgrade": get(b"/orders/" + UID, b"Connection: Upgrade", b"Upgrade: websocket"),
    "hit, upgrade, then more": get(b"/orders/" + UID, b"Connection: Upgrade", b"Upgrade: h2c") + HIT,
    "hit, upgrade not meant": get(b"/orders/" + UID, b"Upgrade: h2c"),
    "hit, query": get(b"/orders/" + UID + b"?view=standard"),
    "hit, empty query": get(b"/orders/" + UID + b"?"),
    "hit, unknown view": get(b"/orders/" + UID + b"?view=other"),
    "hit, uid of a path": get(b"/orders/search") + get(b"/orders/search", method=b"HEAD"),
    "miss, uid of a path": get(b"/orders/lookup") + get(b"/orders/lookup/", method=b"OPTIONS"),
    "hit, fragment": get(b"/orders/" + UID + b"#x"),
    "hit, percent-encoded": get(b"/orders/%62563feg7bdg3286ttjr67siej"),
    "hit, absolute form": get(b"http://h/orders/" + UID),
    "hit, slash after": get(b"/orders/" + UID + b"/"),
    "hit, two slashes": get(b"//orders/" + UID),
    "no uid": get(b"/orders/"),
    "stored": get(b"/orders/stored"),
    "unknown": get(b"/orders/nobody"),
    "impossible uid": get(b"/orders/%D0%B6"),
    "longest uid and one more": get(b"/orders/" + b"a" * 128) + get(b"/orders/" + b"a" * 129),
    "other path": get(b"/elsewhere"),
    "page": get(b"/"),
    "ready": get(b"/readyz"),
    "start, HEAD": get(b"/startupz", method=b"HEAD"),
    "post of no JSON": post(b"{"),
    "post, compressed": post(gzip.compress(b"{}", mtime=0), b"Content-Encoding: gzip"),
    "post, compressed and cut": post(gzip.compress(b"{}", mtime=0)[:-1], b"Content-Encoding: gzip"),
    "post in another coding": post(b"{}", b"Content-Encoding: br") + HIT,
    "post of a bomb": post(gzip.compress(b" " * 2_000_000, mtime=0), b"Content-Encoding: gzip") + HIT,
    "post of another type": post(b"{", b"Content-Type: text/plain"),
    "post of another origin": post(b"{", b"Content-Type: application/json", b"Origin: http://evil.example"),
    "post of its own origin": post(b"{", b"Content-Type: application/json", b"Origin: http://h"),
    "post, respond-async": post(b"{", b"Prefer: respond-async, wait=1"),
    "post in chunks": chunked(b'{"a":1}'),
    "post, expect": post(b"{", b"Expect: 100-continue"),
    "two hits": HIT * 2,
    "hundred hits": HIT * 100,
    "hit, miss, hit": HIT + get(b"/orders/nobody") + HIT,
    "miss, hit, post, hit, hit": get(b"/orders/stored") + HIT + post(b"[]") + HIT + HIT,
    "post, hit, post, HEAD, hit": post(b"{}") + HIT + chunked(b"{}") + get(method=b"HEAD") + HIT,
    "empty lines before": b"\r\n\r\n" + HIT,
    "no Host": b"GET /orders/%b HTTP/1.1\r\n\r\n" % UID,
    "no Host in HTTP/1.0": b"GET /orders/%b HTTP/1.0\r\n\r\n" % UID,
    "two Hosts": get(b"/orders/" + UID, b"Host: h"),
    "Host with userinfo": get(host=b"u@h"),
    "Host with a path": get(host=b"h/p"),
    "Host with a port": get(host=b"127.0.0.1:8080"),
    "Host in brackets": get(host=b"[::1]:8080"),
    "empty Host": get(host=b""),
    "hits, then no Host": HIT + get(b"/orders/stored") + b"GET / HTTP/1.1\r\n\r\n" + HIT,
    "no version": b"GET /orders/%b\r\n\r\n" % UID,
    "HTTP/2.0": b"GET /orders/%b HTTP/2.0\r\nHost: h\r\n\r\n" % UID,
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00",
    "hit, then garbage": HIT + b"nonsense\r\n\r\n",
    "miss, then garbage": get(b"/orders/stored") + b"nonsense\r\n\r\n",
    "broken chunk": get(b"/orders", b"Transfer-Encoding: chunked", method=b"POST") + b"zz\r\n",
    "miss, then broken chunk": get(b"/orders/stored")
    + get(b"/orders", b"Transfer-Encoding: chunked", method=b"POST")
    + b"1\r\na\r\nzz\r\n",
    "length and chunks": get(b"/orders", b"Content-Length: 2", b"Transfer-Encoding: chunked", method=b"POST") + b"{}",
    "control character in the target": get(b"/orders/\x01"),
    "byte above ASCII in the target": get(b"/orders/\xff"),
    "CONNECT": get(b"h:80", method=b"CONNECT"),
    "too many fields": get(b"/orders/" + UID, *[b"X%d: 1" % i for i in range(101)]),
    "head too large": get(b"/orders/" + UID, b"X: " + b"x" * 33_000),
    "target too large": get(b"/orders/" + b"x" * 33_000),
    "body too large": post(b" " * 1_000_001),
}


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it. Where the client is not `taking` it closes when it is aborted."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = bytearray()
        self.late = 0
        """How many writes came after the end."""
        self.taking = True
        self.staying = False
        """Whether the client continues sending when the server has ended."""
        self.aborted = False
        self.lost = asyncio.Event()
        self._reading = True
        self._closing = False
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self.written += data
        else:
            self.late += 1

    def close(self) -> None:
        self._closing = True
        if self.taking:
            self._lose()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """A client that has read the end sends no more either."""
        if not self.staying:
            self.close()

    def abort(self) -> None:
        self._closing = self.aborted = True
        self._lose()

    def _lose(self) -> None:
        if not self.lost.is_set():
            self.lost.set()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def is_reading(self) -> bool:
        return self._reading

    def resume_reading(self) -> None:
        self._reading = True

    def end(self) -> None:
        """The client sends no more."""
        if not self._closing and not self._protocol.eof_received():
            self.close()


class Line:
    """One connection to an application, without a network."""

    def __init__(
        self, lane: type[FastLane], app: ASGIApp, *, leaving: bool = False, state: ServerState | None = None
    ) -> None:
        config = uvicorn.Config(
            cast("Any", app),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
        config.load()
        self.state = state or ServerState()
        self.state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
        if leaving:
            self.state.default_headers.append(LEAVE)
        self.protocol = lane(config, self.state, {})
        self.wire = Wire(self.protocol)
        self.protocol.connection_made(self.wire)

    async def feed(self, data: bytes) -> None:
        """As the event loop does: nothing is read from a connection that closes."""
        while not self.wire.is_reading() and not self.wire.is_closing():
            await self._turn()
        if not self.wire.is_closing():
            self.protocol.data_received(data)

    async def settle(self) -> bytes:
        """All that was answered, once nothing is at work any more."""
        while self.state.tasks or (self.protocol.flow.held and not self.wire.is_closing()):
            await self._turn()
        return bytes(self.wire.written)

    async def _turn(self) -> None:
        """One turn of the loop: to wait for a task's end would be for ever where it waits for what is fed next."""
        await asyncio.sleep(0)


async def converse(
    lane: type[FastLane], app: ASGIApp, chunks: Sequence[bytes], *, leaving: bool = False
) -> tuple[bytes, bool, int]:
    """Bytes answered, whether the connection was closed, and how many requests were counted."""
    line = Line(lane, app, leaving=leaving)
    for chunk in chunks:
        await line.feed(chunk)
    written = await line.settle()
    closed = line.wire.is_closing()
    line.wire.close()
    await asyncio.sleep(0)
    return written, closed, line.state.total_requests


FAST = fast_lane(MEMORY.get)
SLOW = fast_lane(None)


@contextmanager
def serving(app: ASGIApp, lookup: DocumentLookup | None) -> Iterator[Address]:
    """A server in a thread, on a free port of loopback."""
    with served(server(app, lookup)) as (address, _):
        yield address


@contextmanager
def served(running: uvicorn.Server) -> Iterator[tuple[Address, threading.Thread]]:
    """The same of a server that is made already, with the thread that it runs in."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        try:
            wait_for(lambda: running.started or not thread.is_alive())
            yield listener.getsockname(), thread
        finally:
            running.should_exit = True
            thread.join()


def exchange(address: Address, data: bytes) -> bytes:
    """Sends bytes and reads until the server closes; dates are made equal."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(data)
        answer = bytearray()
        while chunk := connection.recv(65536):
            answer += chunk
    return re.sub(rb"(?m)^date: .*?\r\n", b"date: -\r\n", bytes(answer))


def in_pieces(address: Address, data: bytes, size: int) -> bytes:
    """The same, sent by so many bytes, each as a segment of its own; what the server no longer takes stays unsent."""
    answer = bytearray()
    with socket.create_connection(address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            for at in range(0, len(data), size):
                connection.sendall(data[at : at + size])
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    return bytes(answer)
