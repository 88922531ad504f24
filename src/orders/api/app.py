"""HTTP but for the fast lane: orders, health, the page, and what an error answers."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Literal, NamedTuple, cast

import msgspec
import structlog
from litestar import Litestar, Request, post, route
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Response
from litestar.response.base import ASGIResponse

from orders.api.health import Purpose, Report, purpose_of
from orders.api.openapi import asyncapi, openapi, order_schema
from orders.api.reader import Found
from orders.api.reference import docs_page
from orders.api.startup import THROUGH, Start
from orders.api.views import original
from orders.api.waiting import Gate, Told, in_time
from orders.decoder import decode
from orders.differences import Difference, differences
from orders.errors import Busy, OrdersError
from orders.http import content_coding
from orders.http.content_coding import Body, body_of
from orders.http.fastlane import Lookup
from orders.http.limits import USUAL, Limits
from orders.http.problems import KINDS, MEDIA_TYPE, PATH, RETRY, extra_fields, problem
from orders.http.representation import matches, represented
from orders.http.request_fields import is_foreign, is_json, patience
from orders.metrics.exposition import Page
from orders.metrics.kinds import Values
from orders.metrics.table import BUSY, LOOKUPS, POSTS, Full, Posted, private
from orders.order import Content
from orders.pages.start import PAGE_FIELDS, page_at, problem_page
from orders.record import Invalid
from orders.violations import MOST, UNREADABLE, faults

log = structlog.get_logger()

View = Literal["standard", "original"]

UID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
JSON = "application/json"
NOT_MODIFIED = frozenset({"cache-control", "vary", "etag"})
"""Fields of a 304 (RFC 9110, 15.4.5)."""
SAVED = "Order processed and saved successfully"
ACCEPTED = "Order accepted, not yet saved"
COMPARISON_SECONDS = 1.0
"""How long a 409 waits for the stored order; without it, it does not say where the two differ."""

_encode = msgspec.json.Encoder().encode
AnyRequest = Request[Any, Any, State]


async def no_metrics(_accept: str) -> Page:
    """Where nobody counts."""
    return Page(b"", "text/plain")


def unsuspected() -> None:
    """Where nobody looks after outages."""


async def begun() -> Start:
    """Where nobody waits for a start."""
    return THROUGH


class Parts(NamedTuple):
    """What the application stands on. `find` looks into memory and `order` into PostgreSQL.

    `submit` takes an order and how many seconds to wait for its outcome; `deadline` is the most. `suspect` is called
    where a request met an outage.
    """

    find: Lookup
    order: Callable[[str], Awaitable[Found | None]]
    submit: Callable[[Content, float], Awaitable[Told | None]]
    health: Callable[[Purpose], Awaitable[Report]]
    lifespan: Callable[[], AbstractAsyncContextManager[None]]
    default_view: View = "standard"
    metrics: Callable[[str], Awaitable[Page]] = no_metrics
    values: Values | None = None
    startup: Callable[[], Awaitable[Start]] = begun
    deadline: float = 10.0
    topic: str = "orders"
    limits: Limits = USUAL
    suspect: Callable[[], None] = unsuspected


class Answer(Response[bytes]):
    """Bytes as they are, with nothing but their type and length; a HEAD has the fields of its GET."""

    def to_asgi_response(self, **_: object) -> ASGIResponse:  # type: ignore[override]
        """What Litestar sends."""
        fields = list(self.headers.items())
        return ASGIResponse(body=self.content, headers=fields, media_type=self.media_type, status_code=self.status_code)


def answer(status: int, content: object, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of JSON; bytes count as JSON already."""
    body = content if isinstance(content, bytes) else _encode(content)
    return Answer(body, status_code=status, headers=headers, media_type=JSON)


def failure(
    name: str, wrong: Sequence[Invalid] = (), headers: Mapping[str, str] | None = None, detail: str = ""
) -> Answer:
    """An error of `problems`; `wrong` is what is wrong with the body."""
    fields = {**extra_fields(name), **(headers or {})}
    return Answer(problem(name, wrong, detail), status_code=KINDS[name].status, headers=fields, media_type=MEDIA_TYPE)


class Refused(HTTPException):
    """The request is answered with this error of `problems`."""

    def __init__(self, name: str) -> None:
        super().__init__(status_code=KINDS[name].status)
        self.name = name


class Gone(Exception):
    """The client went away before its request was complete."""


# ---- orders ----


@route("/orders/{order_uid:str}", http_method=["GET", "HEAD"])
async def get_order(request: AnyRequest, order_uid: FromPath[str]) -> Answer:
    """An order, from memory or else from PostgreSQL."""
    parts = _parts(request)
    view = request.query_params.get("view", parts.default_view)
    if view not in {"standard", "original"}:
        return failure("unknown-view")
    document = await _document(request, order_uid) if UID.fullmatch(order_uid) else None
    if document is None:
        return failure("order-not-found")
    return order_answer(request, original(document) if view == "original" else document)


def order_answer(request: AnyRequest, body: bytes) -> Answer:
    """200 with the bytes that the client can read, or 304 where it has them already."""
    content, fields = represented(body, _field(request, "accept-encoding"))
    known = _field(request, "if-none-match")
    if known and matches(known, fields["etag"]):
        return Answer(b"", status_code=304, headers={name: fields[name] for name in fields if name in NOT_MODIFIED})
    return answer(200, content, fields)


def _field(request: AnyRequest, name: str) -> str:
    """A field of the request; of several lines one list, as RFC 9110, 5.3 reads them."""
    return ", ".join(request.headers.getall(name, []))


async def _document(request: AnyRequest, order_uid: str) -> bytes | None:
    parts = _parts(request)
    document = parts.find(order_uid.encode())
    _values(request).add(LOOKUPS, "miss" if document is None else "hit")
    if document is not None:
        return document
    with _gate(request, "misses"):
        found = await parts.order(order_uid)
    return found.document if found else None


@contextmanager
def _gate(request: AnyRequest, limit: Full) -> Iterator[None]:
    """Counts who was turned away. Raises `Busy`."""
    try:
        with cast("Gate", request.app.state[limit]).enter():
            yield
    except Busy:
        _values(request).add(BUSY, limit)
        raise


@post("/orders")
async def post_order(request: AnyRequest) -> Answer:
    """Accepts an order and answers with what became of it."""
    parts = _parts(request)
    _check_sender(request)
    wait, applied = patience(_field(request, "prefer"), parts.deadline)
    body = await _body(request, _coding(request), parts.limits.body_bytes)
    content = decode(body, parts.limits.nesting)
    if isinstance(content, Invalid):
        _values(request).add(POSTS, "refused")
        return refusal(body, content)
    try:
        with _gate(request, "posts"):
            told = await parts.submit(content, wait)
            differing = await _differing(parts, content) if told and told.outcome == "conflict" else []
    except OrdersError:
        _values(request).add(POSTS, "unavailable")
        raise
    _values(request).add(POSTS, posted(told))
    honoured = {"preference-applied": applied} if applied else {}
    where = {"location": f"/orders/{content.row.order_uid}", **honoured}
    return outcome(told, where, parts.default_view, differing)


def _check_sender(request: AnyRequest) -> None:
    """Raises `Refused` for what a page of another site may send without being asked, and for what is no JSON."""
    if is_foreign(request.headers.get("origin"), request.headers.get("host", "")):
        raise Refused("cross-site")
    if not is_json(request.headers.get("content-type")):
        raise Refused("not-json")


def refusal(body: bytes, wrong: Invalid) -> Answer:
    """The answer to a body that is no order, of which the decoder said what is `wrong`."""
    if wrong.is_json:
        return failure("invalid-order", faults(body, wrong))
    return failure("invalid-json", detail=wrong.reason)


async def _differing(parts: Parts, content: Content) -> list[Difference]:
    """In which fields an order is not as PostgreSQL has it now; none where that cannot be read, or is not there."""
    try:
        stored = await in_time(parts.order(content.row.order_uid), COMPARISON_SECONDS)
        return differences(stored.document, content.text) if stored else []
    except (OrdersError, *UNREADABLE):
        return []


def conflict(differing: Sequence[Difference]) -> Answer:
    """409, with the fields that differ from the stored order where they are known."""
    if not differing:
        return failure("order-exists")
    count, more = len(differing), len(differing) - MOST
    listed = f"`errors` lists the first {MOST}, {more} more are not listed" if more > 0 else "`errors` lists them"
    detail = (
        f"The stored order with this order_uid differs in {count} {'field' if count == 1 else 'fields'}: {listed}. "
        "A POST never replaces an order: send a record to the topic to do so."
    )
    return failure("order-exists", [Invalid(each.how, each.path) for each in differing[:MOST]], detail=detail)


def posted(told: Told | None) -> Posted:
    """How a POST is counted; none of them deletes."""
    return "accepted" if told is None or told.outcome == "deleted" else told.outcome


def outcome(
    told: Told | None, where: Mapping[str, str], default_view: View, differing: Sequence[Difference] = ()
) -> Answer:
    """The answer to a POST, by what became of its record.

    `where` are fields of those that have a place, `differing` is in what a conflict differs from the stored order.
    """
    if told is None:
        return answer(202, {"message": ACCEPTED}, where)
    if told.outcome == "refused":
        return failure("invalid-order", [Invalid(told.reason, told.path)])
    if told.outcome == "conflict":
        return conflict(differing)
    if told.outcome == "created":
        return answer(201 if default_view == "standard" else 200, {"message": SAVED}, where)
    return answer(200, {"message": SAVED}, where)


def _coding(request: AnyRequest) -> Callable[[int], Body]:
    """What takes the body, by its Content-Encoding. Raises `Refused` (RFC 9110, 15.5.16)."""
    taking = body_of(_field(request, "content-encoding"))
    if taking is None:
        raise Refused("unknown-coding")
    return taking


async def _body(request: AnyRequest, taking: Callable[[int], Body], most: int) -> bytes:
    """The whole body, decoded. Raises `Refused`, before reading where the request announces its length, and `Gone`."""
    if (request.content_length or 0) > most:
        raise Refused("too-large")
    body = taking(most)
    more = True
    try:
        while more:
            message = await request.receive()
            if message["type"] != "http.request":
                raise Gone
            body.take(message["body"])
            more = message["more_body"]
        return body.whole()
    except content_coding.Refused as refused:
        raise Refused(refused.name) from None


# ---- health, metrics and the page ----


@route("/livez", http_method=["GET", "HEAD"])
async def get_livez() -> Answer:
    """The process answers."""
    return answer(200, {"alive": True})


@route("/readyz", http_method=["GET", "HEAD"])
async def get_readyz(request: AnyRequest) -> Answer:
    """Whether the service is ready for reading or writing, and why not."""
    purpose = purpose_of(request.scope["query_string"])
    if purpose is None:
        return failure("unknown-purpose")
    report = await _parts(request).health(purpose)
    return answer(200 if report.ready else 503, report, None if report.ready else RETRY)


@route("/startupz", http_method=["GET", "HEAD"])
async def get_startupz(request: AnyRequest) -> Answer:
    """Whether the start is through, and why not."""
    start = await _parts(request).startup()
    return answer(200 if start.started else 503, start, None if start.started else RETRY)


@route("/metrics", http_method=["GET", "HEAD"])
async def get_metrics(request: AnyRequest) -> Answer:
    """What the processes of this machine counted, and how things are."""
    body, content_type = await _parts(request).metrics(request.headers.get("accept", ""))
    return Answer(body, status_code=200, headers={"content-type": content_type})


@route(PATH + "{name:str}", http_method=["GET", "HEAD"])
async def get_problem(name: FromPath[str]) -> Answer:
    """What an error's `type` leads to: what it means and what to do."""
    if name not in KINDS:
        return failure("not-found")
    return Answer(problem_page(name), status_code=200, headers=PAGE_FIELDS, media_type="text/html")


@route("/openapi.json", http_method=["GET", "HEAD"])
async def get_openapi() -> Answer:
    """This interface for programs."""
    return answer(200, openapi())


@route("/asyncapi.json", http_method=["GET", "HEAD"])
async def get_asyncapi(request: AnyRequest) -> Answer:
    """The topic for programs."""
    return answer(200, asyncapi(_parts(request).topic))


@route("/schemas/order.json", http_method=["GET", "HEAD"])
async def get_schema() -> Answer:
    """An order for programs."""
    return answer(200, order_schema())


@route("/docs", http_method=["GET", "HEAD"])
async def get_docs() -> Answer:
    """This interface for people."""
    return Answer(docs_page(), status_code=200, headers=PAGE_FIELDS, media_type="text/html")


@route("/", http_method=["GET", "HEAD"])
async def get_page(request: AnyRequest) -> Answer:
    """What this is, with commands for the address that it was asked at."""
    html = page_at(request.headers.get("host", ""))
    return Answer(html, status_code=200, headers=PAGE_FIELDS, media_type="text/html")


# ---- errors ----


def on_http(_: AnyRequest, error: HTTPException) -> Answer:
    """No such path, no such method, or what `Refused` says."""
    names = {404: "not-found", 405: "method-not-allowed"}
    name = error.name if isinstance(error, Refused) else names.get(error.status_code, "invalid-request")
    return failure(name, headers=error.headers)


def on_ours(request: AnyRequest, error: OrdersError) -> Answer:
    """Something is unavailable, or wrong with the set-up: the client may come again."""
    log.warning("unavailable", kind=type(error).__name__, reason=str(error))
    if isinstance(error, Busy):
        return failure("busy")
    _parts(request).suspect()
    return failure("unavailable")


def on_gone(_: AnyRequest, _error: Gone) -> Answer:
    """Nobody is there to read it."""
    return failure("incomplete")


def on_any(_: AnyRequest, error: Exception) -> Answer:
    """A mistake of ours."""
    log.error("internal_error", kind=type(error).__name__, exc_info=error)
    return failure("internal")


def _parts(request: AnyRequest) -> Parts:
    return cast("Parts", request.app.state.parts)


def _values(request: AnyRequest) -> Values:
    return cast("Values", request.app.state.counts)


HANDLERS = [
    *(get_order, post_order, get_livez, get_readyz, get_startupz, get_metrics),
    *(get_problem, get_openapi, get_asyncapi, get_schema, get_docs, get_page),
]


def create_app(parts: Parts) -> Litestar:
    """The application; its lifespan is that of `parts`."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with parts.lifespan():
            yield

    return Litestar(
        HANDLERS,
        state=State(
            {
                "parts": parts,
                "counts": parts.values or private(),
                "posts": Gate(parts.limits.waiting_posts),
                "misses": Gate(parts.limits.waiting_misses),
            }
        ),
        lifespan=[lifespan],
        exception_handlers={HTTPException: on_http, OrdersError: on_ours, Gone: on_gone, Exception: on_any},
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
