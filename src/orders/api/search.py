"""Lists of orders, searches, and many uids at once."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import asdict

from orders.api import examples
from orders.api.answers import ProblemError, Response, answer
from orders.api.bodies import BODY_PROBLEMS, check_sender, read_body
from orders.api.dependencies import Dependencies, Shape
from orders.api.endpoint import Query, Request, Resource, Returns
from orders.api.views import OriginalOrder, ServedOrder, original
from orders.decoder import why
from orders.errors import NotIndexed, Rejected
from orders.metrics.table import SearchedBy
from orders.order import Integer, Moment, Text, Uid, is_uid
from orders.record import Invalid
from orders.search.criteria import LONGEST, PERSONAL, Criteria, Field, InvalidCriteriaError, criteria_of
from orders.search.cursor import Cursor, InvalidCursorError, decode
from orders.search.finder import MOST, Bodies, Found, OrderTotal, TooManyBytesError
from orders.search.statements import DOCUMENT, SUMMARY
from orders.violations import UNREADABLE

T = TypeVar("T", bound=Struct)

USUAL = 50
MOST_UIDS = 1_000
MOST_BYTES = 32_000_000
"""Bytes of orders that one lookup returns at most."""
WRAPPED = slice(len(b'{"order":'), -len(b"}"))
"""Where the order is in a served document."""
PUBLIC: tuple[Field, ...] = tuple(each for each in get_args(Field) if each not in PERSONAL)
EVERY: tuple[Field, ...] = get_args(Field)
NESTING = 8
"""Deepest nesting of a search's body."""
NO_STORE = {"cache-control": "private, no-store"}
"""A list is another one a moment later, and may hold personal data."""

Fields = Literal["all", "summary"]
Limit = Annotated[int, Meta(ge=1, le=MOST)]
Value = Annotated[str, Meta(max_length=LONGEST)]
Count = Annotated[int, Meta(ge=0)]

CHOICES = {"$.fields": "Expected `all` or `summary`", "$.view": "Expected `standard` or `original`"}
"""What a value must be, as msgspec would repeat another one."""
VALUES = f"a text of 1 to {LONGEST} characters"

resource = Resource()


class OrderSummary(Struct, frozen=True):
    """What a line of a list shows; nothing of it is personal."""

    order_uid: Uid
    id: Annotated[int, Meta(description="Number of the order: 1 is the first that was stored")]
    version: Annotated[int, Meta(description="Grows with every change of the order")]
    received: Annotated[Moment | None, Meta(description="Time of the record that the order came with, in UTC")]
    date_created: Annotated[Moment | None, Meta(description="When the order was created, in UTC")]
    track_number: Annotated[Text, Meta(description="Tracking number of the parcel")]
    customer_id: Annotated[Text, Meta(description="Id of the customer")]
    delivery_service: Annotated[Text, Meta(description="Carrier")]
    city: Annotated[Text, Meta(description="City or town that it goes to")]
    currency: Annotated[Text, Meta(description="Currency of the amount")]
    amount: Annotated[Integer, Meta(description="What was paid in all")]
    items: Annotated[Count, Meta(description="How many lines the order has")]
    first_item: Annotated[Text | None, Meta(description="Name of the first line")]
    status: Annotated[Integer | None, Meta(description="State of the first line")]


UNREADABLE_ORDERS = Meta(
    description="Uids of orders that SQL by hand changed so that they cannot be shown; only where there are some"
)


class _Listed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    next: Annotated[str | None, Meta(description="Cursor of the next page; null at the end of the list")]
    prev: Annotated[str | None, Meta(description="Cursor of the page before; null at the beginning of the list")]
    total: (
        Annotated[OrderTotal, Meta(description="How many orders there are in all; on a page without `cursor`")]
        | UnsetType
    ) = UNSET
    matched: (
        Annotated[
            Mapping[str, Sequence[str]], Meta(description="With `q`: by uid, the fields in which the text stands")
        ]
        | UnsetType
    ) = UNSET
    searched: (
        Annotated[
            Sequence[str],
            Meta(description="With `q`: in which fields it was looked for; e-mail and name need an index made by hand"),
        ]
        | UnsetType
    ) = UNSET
    unreadable: Annotated[Sequence[str], UNREADABLE_ORDERS] | UnsetType = UNSET


ABOUT = Meta(description="Up to `limit` orders; fewer, or none, is not the end of the list: `next` is null there")


class OrderList(_Listed, frozen=True, kw_only=True):
    """A page of a list."""

    orders: Annotated[Sequence[ServedOrder], ABOUT]


class OriginalOrderList(_Listed, frozen=True, kw_only=True):
    """The same with `view` original."""

    orders: Annotated[Sequence[OriginalOrder], ABOUT]


class OrderSummaryList(_Listed, frozen=True, kw_only=True):
    """The same with `fields` summary."""

    orders: Annotated[Sequence[OrderSummary], ABOUT]


FOUND = Meta(description="Those that are stored, in the order asked")


class _LookedUp(Struct, frozen=True, kw_only=True, omit_defaults=True):
    missing: Annotated[Sequence[str], Meta(description="The uids that no stored order has, in the order asked")]
    unreadable: Annotated[Sequence[str], UNREADABLE_ORDERS] | UnsetType = UNSET


class OrderLookup(_LookedUp, frozen=True, kw_only=True):
    """The orders that were asked for by their uids."""

    orders: Annotated[Sequence[ServedOrder], FOUND]


class OriginalOrderLookup(_LookedUp, frozen=True, kw_only=True):
    """The same with `view` original."""

    orders: Annotated[Sequence[OriginalOrder], FOUND]


LISTS = (OrderList, OriginalOrderList, OrderSummaryList)


class _Page(Struct, frozen=True, omit_defaults=True):
    """A page whose orders are JSON already."""

    orders: Sequence[Raw]
    next: str | None
    prev: str | None
    total: OrderTotal | UnsetType
    matched: Mapping[str, Sequence[str]] | UnsetType
    searched: Sequence[str] | UnsetType
    unreadable: Sequence[str] | UnsetType


class SearchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for: at most one field, and a range of one time with any field but `q` and `name_prefix`."""

    track_number: Annotated[Value | None, Meta(description="The order's own track number")] = None
    customer_id: Annotated[Value | None, Meta(description="Id of the customer")] = None
    transaction: Annotated[Value | None, Meta(description="Id of the payment")] = None
    phone: Annotated[
        Value | None, Meta(description="Phone of the recipient; its last ten digits count, or all if fewer")
    ] = None
    email: Annotated[Value | None, Meta(description="E-mail of the recipient, in any case")] = None
    name: Annotated[Value | None, Meta(description="Whole name of the recipient, in any case")] = None
    name_prefix: Annotated[
        Value | None, Meta(description="Beginning of that name, in any case; listed from A to Z")
    ] = None
    q: Annotated[Value | None, Meta(description="Anything: it is looked for in all of these and as an order_uid")] = (
        None
    )
    created_from: Annotated[
        str | None, Meta(description="date_created at or after this date or RFC 3339 date-time")
    ] = None
    created_to: Annotated[str | None, Meta(description="date_created before this")] = None
    received_from: Annotated[str | None, Meta(description="Time of the order's record at or after this")] = None
    received_to: Annotated[str | None, Meta(description="Time of the order's record before this")] = None
    limit: Annotated[Limit, Meta(description="Most orders of the page")] = USUAL
    cursor: Annotated[str | None, Meta(description="`next` or `prev` of a page of the same search")] = None
    fields: Annotated[Fields, Meta(description="`all`, or a `summary` without personal data")] = "all"
    view: Annotated[Shape | None, Meta(description="Shape of the orders, as for a GET of one")] = None


class LookupRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Which orders, and in which shape."""

    order_uids: Annotated[
        Sequence[Value],
        Meta(
            min_length=1, max_length=MOST_UIDS, description="One uid for each order; a uid that is repeated counts once"
        ),
    ]
    view: Annotated[Shape | None, Meta(description="Shape of the orders, as for a GET of one")] = None


@resource.get(
    "/orders",
    {200: Returns("A page of orders, newest first", LISTS, fields=["Link"], examples={"first page": examples.listed})},
    problems=("unknown-parameter", "invalid-parameter", "invalid-cursor", "index-building", "unavailable"),
    unknown="unknown-parameter",
)
async def list_orders(
    request: Request,
    *,
    limit: Annotated[
        Limit, Query("Most orders of the page", "invalid-parameter", allowed=f"a whole number from 1 to {MOST}")
    ] = USUAL,
    cursor: Annotated[
        str | None, Query("`next` or `prev` of another page; filters need not be repeated", "invalid-cursor")
    ] = None,
    track_number: Annotated[
        Value | None, Query("Orders with this track number", "invalid-parameter", allowed=VALUES)
    ] = None,
    customer_id: Annotated[Value | None, Query("Orders of this customer", "invalid-parameter", allowed=VALUES)] = None,
    transaction: Annotated[
        Value | None, Query("Orders with this id of a payment", "invalid-parameter", allowed=VALUES)
    ] = None,
    created_from: Annotated[
        str | None, Query("`date_created` at or after this date or RFC 3339 date-time", "invalid-parameter")
    ] = None,
    created_to: Annotated[str | None, Query("`date_created` before this", "invalid-parameter")] = None,
    received_from: Annotated[
        str | None, Query("Time of the order's record at or after this", "invalid-parameter")
    ] = None,
    received_to: Annotated[str | None, Query("Time of the order's record before this", "invalid-parameter")] = None,
    fields: Annotated[
        Fields, Query("`all`, or a `summary` without personal data", "invalid-parameter", allowed="all or summary")
    ] = "all",
    view: Annotated[Shape | None, Query("Shape of the orders, as for a GET of one", "unknown-view")] = None,
) -> Response:
    """List orders.

    Newest first; with a range of `created_…` or `received_…` and no field, by that time, the latest first. Give at
    most one of `track_number`, `customer_id` and `transaction`, and a range of at most one time. Personal data is
    searched for by POST /orders/search. An order that is stored during the whole walk through the pages comes exactly
    once; for what is new, ask for the first page again.
    """
    given = {
        "track_number": track_number,
        "customer_id": customer_id,
        "transaction": transaction,
        "created_from": created_from,
        "created_to": created_to,
        "received_from": received_from,
        "received_to": received_to,
    }
    try:
        criteria = criteria_of(given, PUBLIC)
    except InvalidCriteriaError as wrong:
        raise ProblemError("invalid-parameter", f"`{wrong.argument}` {wrong.reason}.") from None
    start = _read_cursor(cursor, criteria)
    shown = {"limit": limit, "fields": fields, **({"view": view} if view else {})}
    found = await _search(request.dependencies, criteria, limit, fields, start)
    links = _links(found, shown)
    return _page(request.dependencies, found, fields, view, {"link": links} if links else {})


@resource.post(
    "/orders/search",
    {200: Returns("A page of orders, newest first", LISTS, examples={"by phone": examples.listed})},
    takes=SearchRequest,
    example=examples.search,
    problems=(*BODY_PROBLEMS, "invalid-search", "invalid-cursor", "index-building", "unavailable"),
)
async def search_orders(request: Request) -> Response:
    """Search for orders.

    As GET /orders, with everything in the body, so that no personal data stands in a URL. `q` is looked for as a whole
    in `order_uid`, `track_number`, `customer_id`, `transaction`, `phone`, `email` and `name`; where none has it, as the
    beginning of a name. Nothing is stored.
    """
    asked = await _read(request, SearchRequest)
    try:
        criteria = criteria_of(asdict(asked), EVERY)
    except InvalidCriteriaError as wrong:
        raise ProblemError("invalid-search", wrong=[Invalid(wrong.reason, f"$.{wrong.argument}")]) from None
    start = _read_cursor(asked.cursor, criteria)
    found = await _search(request.dependencies, criteria, asked.limit, asked.fields, start)
    return _page(request.dependencies, found, asked.fields, asked.view, {})


@resource.post(
    "/orders/lookup",
    {
        200: Returns(
            "The orders that are stored, and which are not",
            [OrderLookup, OriginalOrderLookup],
            examples={"two uids": examples.looked_up},
        )
    },
    takes=LookupRequest,
    example=examples.lookup,
    problems=(*BODY_PROBLEMS, "invalid-search", "unavailable"),
)
async def look_up_orders(request: Request) -> Response:
    """Get many orders by their uids.

    They come from memory, and those that it does not have from PostgreSQL in one query, in the order asked. Nothing is
    stored.
    """
    on = request.dependencies
    asked = await _read(request, LookupRequest)
    uids = list(dict.fromkeys(asked.order_uids))
    found = await _documents(on, [uid for uid in uids if is_uid(uid)])
    orders, unreadable = _shown(on, {uid: found[uid] for uid in uids if uid in found}, asked.view)
    return answer(200, _Lookup(orders, [uid for uid in uids if uid not in found], unreadable or UNSET), NO_STORE)


async def _documents(on: Dependencies, uids: Sequence[str]) -> Bodies:
    """Those that memory has, and those of the others that PostgreSQL has. Raises `ProblemError`."""
    found: dict[str, bytes | None] = {uid: each for uid in uids if (each := on.find(uid.encode())) is not None}
    left = MOST_BYTES - sum(len(each or b"") for each in found.values())
    if left < 0:
        raise _too_many_bytes()
    if wanted := [uid for uid in uids if uid not in found]:
        try:
            with on.search("lookup"):
                return {**found, **await on.finder.documents(wanted, left)}
        except TooManyBytesError:
            raise _too_many_bytes() from None
    return found


def _too_many_bytes() -> ProblemError:
    reason = f"These orders have more than {MOST_BYTES} bytes: ask for fewer at once"
    return ProblemError("invalid-search", wrong=[Invalid(reason, "$.order_uids")])


class _Lookup(Struct, frozen=True):
    """Orders that are JSON already."""

    orders: Sequence[Raw]
    missing: Sequence[str]
    unreadable: Sequence[str] | UnsetType


async def _read(request: Request, kind: type[T]) -> T:
    """The body. Raises `ProblemError`."""
    check_sender(request)
    body = await read_body(request)
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        wrong = why(body, error, NESTING)
        if wrong.is_json:
            chosen = Invalid(CHOICES.get(wrong.path, wrong.reason), wrong.path)
            raise ProblemError("invalid-search", wrong=[chosen]) from None
        raise ProblemError("invalid-json", wrong.reason) from None


def _read_cursor(text: str | None, criteria: Criteria) -> Cursor | None:
    if text is None:
        return None
    try:
        return decode(text, criteria)
    except InvalidCursorError as wrong:
        raise ProblemError("invalid-cursor", str(wrong)) from None


async def _search(on: Dependencies, criteria: Criteria, limit: int, fields: Fields, start: Cursor | None) -> Found:
    try:
        with on.search(_searched_by(start.criteria if start else criteria)):
            return await on.finder.page(criteria, limit, SUMMARY if fields == "summary" else DOCUMENT, start)
    except NotIndexed as error:
        raise ProblemError("invalid-search", wrong=[Invalid(str(error), f"$.{error.field}")]) from None


def _searched_by(criteria: Criteria) -> SearchedBy:
    return criteria.searched or "id"


def _page(on: Dependencies, found: Found, fields: Fields, view: Shape | None, links: Mapping[str, str]) -> Response:
    orders, unreadable = _summaries(found.orders) if fields == "summary" else _shown(on, found.orders, view)
    page = _Page(
        orders,
        found.next,
        found.prev,
        found.total or UNSET,
        found.matched or UNSET,
        found.searched or UNSET,
        unreadable or UNSET,
    )
    return answer(200, page, {**NO_STORE, **links})


Shown = tuple[list[Raw], list[str]]
"""Orders that are JSON already, and the uids of those that cannot be shown."""


def _summaries(bodies: Bodies) -> Shown:
    return [Raw(each) for each in bodies.values() if each], [uid for uid, each in bodies.items() if not each]


def _shown(on: Dependencies, documents: Bodies, view: Shape | None) -> Shown:
    """The orders of served documents in a shape."""
    orders, unreadable = [], []
    for uid, document in documents.items():
        try:
            orders.append(Raw(_in_shape(document, view or on.default_view)[WRAPPED]))
        except Rejected:
            unreadable.append(uid)
    return orders, unreadable


def _in_shape(document: bytes | None, shape: Shape) -> bytes:
    """Raises `Rejected` where SQL by hand has made of it what has none."""
    if document is None:
        raise Rejected("a row changed by hand cannot be read")
    return original(document) if shape == "original" else document


def _links(found: Found, shown: Mapping[str, Any]) -> str:
    """The field Link (RFC 8288)."""
    cursors = {"next": found.next, "prev": found.prev}
    return ", ".join(
        f'</orders?{urlencode({"cursor": cursor, **shown})}>; rel="{relation}"'
        for relation, cursor in cursors.items()
        if cursor
    )
