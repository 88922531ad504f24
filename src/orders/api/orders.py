"""Posting an order and getting one."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from orders.api import examples
from orders.api.answers import Response, answer, failure
from orders.api.bodies import BODY_PROBLEMS, check_sender, read_body
from orders.api.dependencies import Dependencies, Shape
from orders.api.endpoint import Header, Path, Query, Request, Resource, Returns
from orders.api.views import OriginalDocument, ServedDocument, original
from orders.api.waiting import RecordOutcome
from orders.decoder import decode
from orders.differences import FieldDifference, differences
from orders.errors import OrdersError
from orders.http.representation import matches, represented
from orders.http.request_fields import patience
from orders.metrics.table import LOOKUPS, POSTS, Posted
from orders.order import Content, Order, Uid
from orders.record import Invalid
from orders.timing import in_time
from orders.violations import MOST, UNREADABLE, faults

NOT_MODIFIED = frozenset({"cache-control", "vary", "etag"})
"""Fields of a 304 (RFC 9110, 15.4.5)."""
SAVED = "Order processed and saved successfully"
ACCEPTED = "Order accepted, not yet saved"
COMPARISON_SECONDS = 1.0
"""How long a 409 waits for the stored order; without it, it does not say where the two differ."""
CACHED = ("ETag", "Cache-Control", "Vary")
PLACED = ("Location", "Preference-Applied")
LINKS = {
    "order": {
        "operationId": "get_orders_order_uid",
        "parameters": {"order_uid": "$request.body#/order_uid"},
        "description": "The order that was posted",
    }
}

resource = Resource()


class Saved(Struct, frozen=True):
    """What a POST returns for an order that is stored or accepted."""

    message: Annotated[str, Meta(description="The same sentence as the original Go service returned", examples=[SAVED])]


# ---- GET ----


@resource.get(
    "/orders/{order_uid}",
    {
        200: Returns(
            "The order as PostgreSQL has it",
            [ServedDocument, OriginalDocument],
            fields=CACHED,
            examples={"standard": examples.served, "original": examples.original_view},
        ),
        304: Returns("The order has not changed since the client got it with one of these tags", fields=CACHED),
    },
    problems=("unknown-view", "order-not-found", "unavailable"),
)
async def get_order(
    request: Request,
    order_uid: Annotated[Uid, Path("The `order_uid` with which the order was sent", invalid="order-not-found")],
    view: Annotated[
        Shape | None,
        Query(
            "Shape of the order: `standard`, or `original` for that of the original Go service. "
            "ORDERS_DEFAULT_VIEW says which of them is returned without it",
            invalid="unknown-view",
        ),
    ] = None,
    if_none_match: Annotated[
        str,
        Header("`ETag` of the order that you have, several of them, or `*` (RFC 9110, 13.1.2)", "If-None-Match"),
    ] = "",
) -> Response:
    """Get an order.

    It is read from memory or, where memory does not have it, from PostgreSQL. 404 means that PostgreSQL has no such
    order; while PostgreSQL is unavailable, an order that is not in memory is 503.
    """
    document = await _find(request.dependencies, order_uid)
    if document is None:
        return failure("order-not-found")
    shape = view or request.dependencies.default_view
    body = original(document) if shape == "original" else document
    content, fields = represented(body, request.field("accept-encoding"))
    if if_none_match and matches(if_none_match, fields["etag"]):
        return Response(status=304, fields={name: fields[name] for name in fields if name in NOT_MODIFIED})
    return answer(200, content, fields)


async def _find(on: Dependencies, order_uid: str) -> bytes | None:
    document = on.find(order_uid.encode())
    on.values.add(LOOKUPS, "miss" if document is None else "hit")
    if document is not None:
        return document
    with on.gate("misses"):
        found = await on.order(order_uid)
    return found.document if found else None


# ---- POST ----


@resource.post(
    "/orders",
    {
        201: Returns(
            "PostgreSQL has stored the order, which is new",
            [Saved],
            fields=PLACED,
            links=LINKS,
        ),
        200: Returns(
            "PostgreSQL had the same order already, so the same POST can be sent again safely",
            [Saved],
            fields=PLACED,
            links=LINKS,
        ),
        202: Returns(
            "Kafka has the order, but within the time to wait PostgreSQL has not stored it. It will be stored unless "
            "it conflicts with another: ask for it with GET",
            [Saved],
            fields=PLACED,
        ),
    },
    takes=Order,
    example=examples.sample_order,
    problems=(*BODY_PROBLEMS, "order-exists", "invalid-order", "unavailable"),
)
async def post_order(
    request: Request,
    prefer: Annotated[
        str,
        Header(
            "`respond-async` returns 202 as soon as Kafka has the order, `wait=N` waits N seconds at most (RFC 7240)",
            "Prefer",
        ),
    ] = "",
) -> Response:
    """Store an order.

    The response tells you whether PostgreSQL stored it. A POST never replaces an order: one with other content under
    the same order_uid is 409. After a 503, or without any response, sending the same order again is safe.
    """
    on = request.dependencies
    check_sender(request)
    wait, applied = patience(prefer, on.deadline)
    body = await read_body(request)
    content = decode(body, on.limits.nesting)
    if isinstance(content, Invalid):
        on.values.add(POSTS, "refused")
        return refusal(body, content)
    try:
        with on.gate("posts"):
            result = await on.submit(content, wait)
            differing = await _differing(on, content) if result and result.outcome == "conflict" else []
    except OrdersError:
        on.values.add(POSTS, "unavailable")
        raise
    on.values.add(POSTS, posted(result))
    honoured = {"preference-applied": applied} if applied else {}
    where = {"location": f"/orders/{content.row.order_uid}", **honoured}
    return outcome(result, where, on.default_view, differing)


def refusal(body: bytes, wrong: Invalid) -> Response:
    """The answer to a body that is not a valid order, of which the decoder said what is `wrong`."""
    if wrong.is_json:
        return failure("invalid-order", faults(body, wrong))
    return failure("invalid-json", detail=wrong.reason)


async def _differing(on: Dependencies, content: Content) -> list[FieldDifference]:
    """In which fields an order is not as PostgreSQL has it now; none where that cannot be read, or is not there."""
    try:
        stored = await in_time(on.order(content.row.order_uid), COMPARISON_SECONDS)
        return differences(stored.document, content.text) if stored else []
    except (OrdersError, *UNREADABLE):
        return []


def posted(result: RecordOutcome | None) -> Posted:
    """How a POST is counted; none of them deletes."""
    return "accepted" if result is None or result.outcome == "deleted" else result.outcome


def outcome(
    result: RecordOutcome | None,
    where: Mapping[str, str],
    default_view: Shape,
    differing: Sequence[FieldDifference] = (),
) -> Response:
    """The answer to a POST, by what became of its record.

    `where` are fields of those that have a place, `differing` is in what a conflict differs from the stored order.
    """
    if result is None:
        return answer(202, Saved(ACCEPTED), where)
    if result.outcome == "refused":
        return failure("invalid-order", [Invalid(result.reason, result.path)])
    if result.outcome == "conflict":
        return conflict(differing)
    if result.outcome == "created":
        return answer(201 if default_view == "standard" else 200, Saved(SAVED), where)
    return answer(200, Saved(SAVED), where)


def conflict(differing: Sequence[FieldDifference]) -> Response:
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
