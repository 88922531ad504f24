"""The fast lane: a GET of an order in memory is answered from the HTTP parser's callbacks, without a framework.

It subclasses uvicorn's httptools protocol and hands everything else, unchanged, to the application: nothing but the
time tells the lanes apart. For both it adds what uvicorn lacks: the rules of RFC 9112 about Host, a bound on the
header section, deadlines for a request to arrive, and reading that stops while pipelined requests wait. Each answer
of either lane is counted when it is written (`counted`).
"""

import asyncio
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from xxhash import xxh3_64_intdigest as digest

from orders.http.durations import Durations, unread
from orders.http.flow_control import PIECE, Flow, LastAnswer
from orders.http.hosts import ANY, Unknown, knows
from orders.http.instrumented import InstrumentedRequest
from orders.http.limits import USUAL, Limits
from orders.http.refusals import failure, misdirected, refusal
from orders.http.representation import CACHE, WORTH_BYTES, tag_of, takes_gzip
from orders.http.request_ids import FIELD, REQUEST_ID
from orders.http.request_line import HOST, TARGET_URI, WIDE, Pieces, is_help, wrong_with_target
from orders.metrics.table import BUSY, LAYOUT, LOOKUPS, QUICK
from orders.order import LONGEST_UID
from orders.timing import monotonic

PREFIX = b"/orders/"
ROUTE = "/orders/{order_uid}"
LONGEST_URL = len(PREFIX) + LONGEST_UID
MAX_FIELDS = 100
BLANK = b" \t"
SPARE = 100
"""Most connections above the bound that get a 503; any more are closed without one."""
ALWAYS = frozenset({b"/livez", b"/readyz", b"/startupz", b"/metrics"})
"""What is answered on a connection too many as well: anyone who looks after the service must see it."""
CROWDED_SECONDS = 1.0
"""How long a connection too many may take to begin its one request, and then to send its head."""

VERSIONS = ("1.1", "1.0")
MATCH, ENCODING = b"if-none-match", b"accept-encoding"
BODY = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
NOTED = frozenset({b"host", MATCH, ENCODING, FIELD, *BODY})
ONE_TAG = re.compile(rb'"[0-9a-f]{1,16}"')
"""What If-None-Match has in most cases: one tag as we make them."""
DocumentLookup = Callable[[bytes], bytes | None]

CACHE_FIELDS = b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in CACHE.items())
HIT = b'%b%x"\r\ncontent-type: application/json\r\ncontent-length: %d%b%b'
"""An answer: status line and common fields up to the tag's first quote, hash, length, end of the head, body."""
NOT_MODIFIED = b"%betag: %b%b"
END = b"\r\n\r\n"
CLOSE_END = b"\r\nconnection: close\r\n\r\n"
LEAVE = (b"connection", b"close")
"""Among the server's own fields once it is to stop: each answer then ends its connection."""
LINGER_SECONDS = 0.1
"""How long an idle connection is kept when the server stops: a request may be on its way."""

# What a hit counts is counted in its cells at once: by `Values` it took twice the time.
TO_SUM = len(QUICK) + 1
HITS = LAYOUT.place(LOOKUPS, "hit")
SHORTEST = QUICK[0]


class ParsingStopped(Exception):
    """Ends the parsing of a connection; the parser reports it as its own error."""


class FastLane(HttpToolsProtocol):
    """One connection. `fast_lane` makes the class that a server is given."""

    __slots__ = (
        *("_began", "_cells", "_crowded", "_deadline", "_deaf", "_fields", "_gzip", "_head", "_head_304"),
        *("_head_refusal", "_hit", "_host", "_hosts", "_in_head", "_in_request", "_keep", "_last", "_last_answer"),
        *("_leaving", "_match", "_noted", "_pieces", "_plain", "_refusal", "_request_id"),
        *("_running", "_stranger"),
    )
    """Beside the attributes that uvicorn has: with more than thirty in a dictionary each access takes longer."""

    lookup: DocumentLookup | None = None
    durations: Durations
    row: int
    row_304: int
    knows: Callable[[bytes], bool]
    unknown: Unknown
    limits: Limits
    piece: int
    flow: Flow

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._hit: bytes | None = None
        self._keep = True
        self._host = self._stranger = self._request_id = self._match = b""
        self._hosts = 0
        self._noted = True
        self._crowded = False
        self._in_head = False
        self._in_request = False
        self._pieces: Pieces | None = None
        self._last = self._leaving = False
        self._deaf = False
        self._refusal = "invalid-http"
        self._deadline: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._cells = self.durations.values.cells
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._head = self._head_304 = b""
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self.loop, self.pipeline, self._resume, self.limits.answer_deadline)
        self._last_answer = LastAnswer(transport, self._finish)
        self._crowded = len(self.connections) > self.limits.connections
        if self._crowded:
            self.durations.values.add(BUSY, "connections")
        if len(self.connections) > self.limits.connections + SPARE:
            self.transport.close()
            return
        self._deadline = self.loop.call_later(self._head_seconds(), self._too_late)

    def _head_seconds(self) -> float:
        return min(CROWDED_SECONDS, self.limits.head_deadline) if self._crowded else self.limits.head_deadline

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self.flow.end()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # uvicorn notifies only the last of those that wait
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if len(data) > self.piece:
            self._take_pieces(data)
            return
        begun = self._pieces
        if begun is not None and (refusal := begun.wrong_with(data)):
            self._refuse(refusal)
            return
        try:
            if data.find(b"  ") >= 0:  # half the price of `in`
                self._feed_apart(data)
            else:
                self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(self._refusal, mistake_in(error))
        if self._in_request or begun is not None or self.timeout_keep_alive_task is None:
            self._expect_more(data, had_begun=begun is not None)

    def _expect_more(self, data: bytes, *, had_begun: bool) -> None:
        """After a piece that was not just whole requests; `had_begun`: a head that an earlier one began."""
        if self._in_head:
            self._pieces = self._pieces or Pieces(self.limits.head_bytes)
            self._pieces.take(data)
        elif had_begun:
            self._clear_deadline()  # the body has another
        self._arm()

    def _take_pieces(self, data: bytes) -> None:
        """Takes data until requests wait: what is behind those is held back, for each of them takes room."""
        at = 0
        while at < len(data) and not self.pipeline and not self._deaf:
            self.data_received(data[at : at + self.piece])
            at += self.piece
        self.flow.held = b"" if self._deaf else data[at:]

    def _resume(self) -> None:
        """Takes what was held back, once nothing waits before it. Its time to arrive begins now."""
        if self.transport.is_closing():
            return
        held, self.flow.held = self.flow.held, b""
        self._clear_deadline()
        self._take_pieces(held)
        self._arm()
        self.flow.resume_reading()

    def _feed_apart(self, data: bytes) -> None:
        """Feeds up to what looks like a request's line that is too wide: it is one where a request may begin."""
        at = 0
        for found in WIDE.finditer(data):
            self.parser.feed_data(data[at : found.start()])
            at = found.start()
            if not self._in_request and not self._last:
                self._refuse("invalid-http")
                return
        self.parser.feed_data(data[at:])

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio reads what uvicorn leaves None
        """Anyone who sends no more may still read: what it asked for completely is answered before the end."""
        self.flow.client_finished = True
        if self._in_request or not self._busy():
            self.flow.close()
            return False
        self._deaf = self._last = True
        self.cycle.keep_alive = False
        return True

    def _arm(self) -> None:
        if self._in_request:
            if self._deadline is None:
                seconds = self._head_seconds() if self._in_head else self.limits.body_deadline
                self._deadline = self.loop.call_later(seconds, self._too_late)
        elif self.timeout_keep_alive_task is None and self._deadline is None and not self._busy() and not self._last:
            self._wait_idle(self.timeout_keep_alive)

    def _wait_idle(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Ends an idle connection. To move the timer with every request would cost a tenth of a hit: it looks here."""
        self.timeout_keep_alive_task = None
        if self._in_request or self._busy():
            return  # set again when the answer is out
        left = self._began + self.timeout_keep_alive - monotonic()
        if left > 0:
            self._wait_idle(left)
        else:
            self.flow.close()

    def _busy(self) -> bool:
        # None until the first request, which uvicorn's annotation leaves out
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.flow.read_paused:
            self._arm()  # it is we who are slow
        elif self._in_request and not self._deaf:
            self._refuse("too-slow")
        elif not self._busy():
            self.flow.close()

    # What the parser calls, in this order.

    def on_message_begin(self) -> None:
        if self._last:
            self._deaf = True
            raise ParsingStopped
        if self._deadline is not None:
            self._clear_deadline()
        self._began = monotonic()
        self.url = b""
        self.headers = []
        self._hosts = 0
        self._in_head = self._in_request = True
        if self._noted:
            self._forget()

    def _forget(self) -> None:
        """What the fields of the request before said."""
        self._request_id = self._match = b""
        self.expect_100_continue = self._gzip = self._noted = False
        self._plain = True
        self._head_refusal = ""

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: nobody reads them, so nobody keeps them
        name = name.lower()
        self.headers.append((name, value))
        if name == b"host" and value == self._host:
            self._hosts += 1
        elif name in NOTED:
            self._note(name, value)

    def _note(self, name: bytes, value: bytes) -> None:
        self._noted = True
        value = value.rstrip(BLANK)  # the parser leaves it, though it is not part of the value (RFC 9112, 5.1)
        if name == b"host":
            self._note_host(value)
        elif name == FIELD:
            if REQUEST_ID.fullmatch(value):
                self._request_id = value
        elif name == ENCODING:
            self._gzip = self._gzip or takes_gzip(value.decode("latin-1"))
        elif name == MATCH and not self._match and ONE_TAG.fullmatch(value):
            self._match = value
        else:
            self._plain = False
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                self._head_refusal = "invalid-http"

    def _note_host(self, value: bytes) -> None:
        self._hosts += 1
        if not HOST.fullmatch(value):
            self._head_refusal = "invalid-host"
        elif not self.knows(value):
            self._head_refusal, self._stranger = self._head_refusal or "unknown-host", value
        else:
            self._host = value

    def on_headers_complete(self) -> None:
        if self._pieces is not None or len(self.headers) > MAX_FIELDS:  # no piece is larger than a head may be
            self._check_size()
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            self._end("http-version")
        if self._hosts != 1 or self._head_refusal:
            self._check_host(version)
        if self._crowded:
            self._check_crowd()
        if not (self._plain and version == "1.1" and self.url.startswith(PREFIX) and self._find()):
            self._check_target()
            self._hand_over(version)
        self._in_head = False
        self._pieces = None

    def _check_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes or len(self.headers) > MAX_FIELDS:
            self._end("head-too-large")

    def _check_host(self, version: str) -> None:
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            self._head_refusal = "invalid-host"
        if self._head_refusal == "unknown-host" and (TARGET_URI.match(self.url) or is_help(self.url)):
            return  # the host that counts is the target's (RFC 9112, 3.2.2)
        if self._head_refusal:
            self._end(self._head_refusal)

    def _check_target(self) -> None:
        if refusal := wrong_with_target(self.url, self.parser.get_method(), self.knows):
            if uri := TARGET_URI.match(self.url):
                self._stranger = uri[2]
            self._end(refusal)

    def _check_crowd(self) -> None:
        """On a connection too many one request is answered, if it is of those that always are."""
        if self.url.partition(b"?")[0] not in ALWAYS:
            self._end("busy")

    def _end(self, refusal: str) -> NoReturn:
        """Ends the parsing of the connection with this error of `problems`."""
        self._refusal = refusal
        raise ParsingStopped

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self.flow.finished:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()

    def _finish(self) -> None:
        """Ends the connection after its last answer."""
        self._deaf = self._last = True
        self._clear_deadline()
        self.flow.finish()

    def _find(self) -> bool:
        if self.lookup is None or not len(PREFIX) < len(self.url) <= LONGEST_URL or self.parser.get_method() != b"GET":
            return False
        if self._busy() or self.flow.write_paused:
            return False
        # A uid has no "?", "%" or "/": what is not a plain path is not found.
        hit = self.lookup(self.url[len(PREFIX) :])
        if hit is None or (self._gzip and len(hit) >= WORTH_BYTES):
            return False
        self._hit = hit
        self._keep = self.parser.should_keep_alive()
        return True

    def _hand_over(self, version: str) -> None:
        url, headers = self.url, self.headers
        expect = self.expect_100_continue and version == "1.1"  # RFC 9110, 10.1.1
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend([(name, value.rstrip(BLANK)) for name, value in headers])
        self._start(InstrumentedRequest(self.app, self.durations, self._began, request_id=self._request_id))
        if self._crowded:
            self.cycle.keep_alive = False
        self._last = not self.cycle.keep_alive

    def _start(self, request: InstrumentedRequest) -> None:
        """Gives a request to its application, now or when its turn comes."""
        app, self.app = self.app, request
        super().on_headers_complete()
        self.app = app
        self.cycle.transport = self._last_answer  # type: ignore[assignment] # what it takes of a transport
        answered = self.cycle.on_response

        def count() -> None:
            request.count()
            answered()

        self.cycle.on_response = count

    def on_message_complete(self) -> None:
        self._in_request = False
        if self._hit is None:
            super().on_message_complete()
        else:
            body, self._hit = self._hit, None
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        state = self.server_state
        if state.default_headers is not self._fields:  # recreated every second, with the date
            self._set_fields(state.default_headers)
        state.total_requests += 1
        end = END if self._keep or self._leaving else CLOSE_END
        if self._request_id:
            end = b"\r\n%b: %b%b" % (FIELD, self._request_id, end)
        if self._match and self._match == tag_of(body):
            row = self.row_304
            self.transport.write(NOT_MODIFIED % (self._head_304, self._match, end))
        else:
            row = self.row
            self.transport.write(HIT % (self._head, digest(body), len(body), end, body))
        cells, seconds = self._cells, monotonic() - self._began
        cells[row if seconds <= SHORTEST else row + bisect_left(QUICK, seconds)] += 1.0
        cells[row + TO_SUM] += seconds
        cells[HITS] += 1.0
        if not self._keep:
            self._finish()

    def _set_fields(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        fields_of_hit = b"".join(b"%b: %b\r\n" % field for field in fields) + CACHE_FIELDS
        self._head, self._head_304 = STATUS_LINE[200] + fields_of_hit + b'etag: "', STATUS_LINE[304] + fields_of_hit
        self._leaving = LEAVE in fields
        self._keep = self._keep and not self._leaving

    # Connections that end.

    def shutdown(self) -> None:
        """The server takes no more connections: what has begun is answered, and a request may be on its way."""
        if self._busy():
            self.cycle.keep_alive = False
        elif not self._in_request:
            self.loop.call_later(LINGER_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        if not self._in_request and not self._busy():
            self.flow.close()

    def _ignore_upgrade(self) -> None:
        # What follows the head may be a body or another request; the parser cannot tell, so the connection ends here.
        self._deaf = self._last = True
        self.cycle.keep_alive = False

    def _refuse(self, name: str, mistake: BaseException | None = None) -> None:
        """Answers this error, or that of a mistake of ours, after the requests that wait, and reads no more."""
        self._deaf = self._last = True
        if self._in_request and not self._in_head and not self._abandon():
            return
        request_id = self._request_id if self._in_request else b""
        has_method = self._in_request and self.url
        self._in_request = False
        super().on_message_begin()
        self.url = b"/"
        app = failure(mistake) if mistake else self._refusal_of(name)
        self._start(InstrumentedRequest(app, self.durations, self._began, readable=False, request_id=request_id))
        if not has_method:
            self.scope["method"] = "GET"  # the parser has that of the request before: an answer to HEAD has no body

    def _refusal_of(self, name: str) -> ASGI3Application:
        return misdirected(self._stranger, self.unknown) if name == "unknown-host" else refusal(name)

    def _abandon(self) -> bool:
        """Takes back a request whose body broke off; False if it had its answer, and the connection is closed."""
        cycle = self.cycle
        if self.pipeline:
            self.pipeline.popleft()
        elif cycle.response_started:
            self.flow.close()
            return False
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self.cycle = None  # type: ignore[assignment]
        return True


def mistake_in(error: httptools.HttpParserError) -> BaseException | None:
    """What went wrong in a callback of ours; None where the client's bytes are at fault."""
    if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(error.__context__, ParsingStopped):
        return error.__context__
    return None


def fast_lane(
    lookup: DocumentLookup | None,
    durations: Durations | None = None,
    hosts: Iterable[str] = (ANY,),
    limits: Limits = USUAL,
    unknown: Unknown | None = None,
) -> type[FastLane]:
    """The protocol class of a server that answers to `hosts`; `lookup` finds orders in memory, None: no fast lane.

    `unknown` logs the names of others.
    """
    counted = durations or unread()
    given: dict[str, Any] = {
        "lookup": None if lookup is None else staticmethod(lookup),
        "durations": counted,
        "row": counted.place("GET", ROUTE, 200),
        "row_304": counted.place("GET", ROUTE, 304),
        "knows": staticmethod(knows(hosts)),
        "unknown": unknown or Unknown(),
        "limits": limits,
        "piece": min(PIECE, limits.head_bytes),
    }
    return type("FastLane", (FastLane,), given)
