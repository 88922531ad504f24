"""Every error that HTTP answers: RFC 9457, with the members `message` or `error` of the original Go service beside it.

A problem's `type` is the path of its page on this server; docs/problems.md is made from the same table.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from orders.record import Invalid

MEDIA_TYPE = "application/problem+json"
UNKEPT = {"cache-control": "no-store"}
"""What is wrong now may be right a moment later; without it a cache may keep a 404 (RFC 9111, 4.2.2)."""
SERVICE_UNAVAILABLE = 503
RETRY = {"retry-after": "1"}
"""Of what passes by itself, in seconds."""
CODINGS = {"accept-encoding": "gzip"}
"""Which codings of a request's body are taken (RFC 9110, 12.5.3); a 415 for another reason does not have it."""
PATH = "/problems/"


class ProblemType(NamedTuple):
    """One kind of error: its status, its title, and what it means and what to do for a person.

    `detail` is in each answer of this kind that has no other: one sentence or two, with the next step.
    """

    status: int
    title: str
    about: str
    member: str = "error"
    """Which member the original Go service had for the title."""
    detail: str = ""


KINDS: Mapping[str, ProblemType] = {
    "order-not-found": ProblemType(
        404,
        "Order not found",
        "PostgreSQL has no order of this order_uid, or it can be none.",
        "message",
        "PostgreSQL holds no order with this order_uid. Check the order_uid, or ask again once the order is stored.",
    ),
    "not-found": ProblemType(
        404,
        "Not found",
        "There is no such path. The document at `/openapi.json` lists them.",
        detail="There is no such path. GET /openapi.json lists all paths.",
    ),
    "method-not-allowed": ProblemType(405, "Method not allowed", "`Allow` lists the methods that this path takes."),
    "unknown-view": ProblemType(400, "view is standard or original", "`?view=` names another shape of the order."),
    "unknown-purpose": ProblemType(
        400,
        "for is reading or writing",
        "`/readyz` takes one parameter: `?for=reading`, which is the default, or `?for=writing`.",
    ),
    "unknown-parameter": ProblemType(
        400,
        "Unknown parameter",
        "The query has a parameter that this path does not take, or one twice. `detail` names it, and the nearest one.",
    ),
    "invalid-parameter": ProblemType(
        400,
        "Invalid parameter",
        "A parameter of the query has a value that it cannot have. `detail` says what it must be.",
    ),
    "invalid-cursor": ProblemType(
        400,
        "Invalid cursor",
        "`cursor` is not `next` or `prev` of a page as the service made it, or belongs to a list with other filters.",
    ),
    "invalid-search": ProblemType(
        422,
        "Invalid search",
        "The body is JSON and asks for nothing that can be looked for. `errors` has what is wrong with it: `detail`, "
        "and as `pointer` the JSON Pointer (RFC 6901) of the field.",
    ),
    "index-building": ProblemType(
        503,
        "Index is being built, try again later",
        "PostgreSQL still builds the index that this list or search needs, as after an upgrade. `orders status` shows "
        "how far it is. All else works meanwhile.",
        detail="PostgreSQL still builds the index that this needs; `orders status` shows how far it is.",
    ),
    "invalid-json": ProblemType(
        400,
        "Invalid JSON",
        "The body is not JSON of RFC 8259 in UTF-8. `detail` says what is wrong and where: at which byte, counted from "
        "0, and in which line and column, counted from 1.",
    ),
    "invalid-order": ProblemType(
        422,
        "Invalid order",
        "The body is JSON and no order that can be stored. `errors` has what is wrong with it: `detail`, and as "
        "`pointer` the JSON Pointer (RFC 6901) of the value, or of the field that is missing.",
    ),
    "order-exists": ProblemType(
        409,
        "Order exists with other content",
        "A POST never replaces an order. Send a record to the topic to do so. `errors` has the fields that differ from "
        "the stored order, as `pointer`, up to 100; `detail` says how many there are. Unknown fields are not named: "
        "the object that has them stands for them. Where the stored order cannot be read then, or has been deleted or "
        "replaced since, there may be no `errors`.",
        detail="When this order was to be stored, PostgreSQL held another one with this order_uid. A POST never "
        "replaces an order: send a record to the topic to do so.",
    ),
    "too-large": ProblemType(
        413, "Request body too large", "The body has more bytes than an order may have, as it is or decompressed."
    ),
    "invalid-gzip": ProblemType(
        400,
        "Body is not valid gzip",
        "`Content-Encoding` says gzip, and the body is not, or is cut, damaged, or followed by something else.",
    ),
    "not-json": ProblemType(415, "Content-Type is not JSON", "Send the order with `Content-Type: application/json`."),
    "unknown-coding": ProblemType(
        415,
        "Content-Encoding is not supported",
        "Send the order without `Content-Encoding`, or compressed once with `Content-Encoding: gzip`.",
    ),
    "cross-site": ProblemType(
        403, "Not from another site", "A page of another site sent this request. Programs send no `Origin`."
    ),
    "unknown-host": ProblemType(
        421,
        "Unknown host name: add it to ORDERS_HTTP_HOSTS",
        "`detail` has the name that was sent. The service answers to IP addresses, to `localhost`, and to the names "
        "that the setting `ORDERS_HTTP_HOSTS` lists, with commas between; restart it after a change.",
    ),
    "https-target": ProblemType(
        421, "The target is an https URL", "This service has no TLS. Send a path, or a URL with `http://`."
    ),
    "unavailable": ProblemType(
        503,
        "Temporarily unavailable, try again",
        "Kafka or PostgreSQL is unavailable, or something is misconfigured: `/readyz` says which. Sending the same "
        "again is safe.",
    ),
    "busy": ProblemType(
        503,
        "Too many at once, try again",
        "As many connections are open, or as many requests wait for Kafka or PostgreSQL, as the settings allow; or a "
        "search took longer than it may.",
    ),
    "internal": ProblemType(
        500, "Internal error", "A mistake of the service. Its log has a line with this request's id."
    ),
    "incomplete": ProblemType(400, "Incomplete request", "The connection ended before the request did."),
    "invalid-request": ProblemType(400, "Invalid request", "The request cannot be understood."),
    "invalid-http": ProblemType(400, "Invalid HTTP request", "What was sent is not HTTP as RFC 9112 has it."),
    "invalid-host": ProblemType(
        400, "Invalid Host", "HTTP/1.1 needs one Host, with a name or an address and a port, and nothing else."
    ),
    "too-slow": ProblemType(
        408, "The request took too long to arrive", "The head, or the whole request, did not arrive within its time."
    ),
    "head-too-large": ProblemType(
        431, "Header section too large", "The head of the request has too many bytes or fields."
    ),
    "http-version": ProblemType(505, "HTTP version not supported", "Requests in HTTP/1.1 and HTTP/1.0 are answered."),
}


class Fault(Struct, frozen=True):
    """One thing that is wrong with a body, or in which it differs from the stored order; never a value."""

    detail: Annotated[str, Meta(description="What is wrong with the field, or how it differs; never its value")]
    pointer: Annotated[str, Meta(description="JSON Pointer (RFC 6901) of the field in the body, as a URI fragment")]


class Problem(Struct, frozen=True, omit_defaults=True):
    """The body of an error."""

    type: Annotated[str, Meta(description="Path of the page of this kind of error")]
    title: Annotated[str, Meta(description="The kind of error in a few words")]
    status: Annotated[int, Meta(description="The status of the response")]
    detail: Annotated[str, Meta(description="What is wrong, and the next step")] | UnsetType = UNSET
    errors: (
        Annotated[Sequence[Fault], Meta(description="422: all faults; 409: the fields that differ; up to 100")]
        | UnsetType
    ) = UNSET
    message: (
        Annotated[str, Meta(description="The title, where the original Go service had it under this name")] | UnsetType
    ) = UNSET
    error: Annotated[str, Meta(description="As `message`, for the errors that had `error`")] | UnsetType = UNSET


def problem(name: str, faults: Sequence[Invalid] = (), detail: str = "") -> bytes:
    """The body of an error, with what is wrong with the request's body; `detail` replaces that of the kind."""
    return msgspec.json.encode(_problem(name, faults, detail)) if faults or detail else _plain(name)


def extra_fields(name: str) -> dict[str, str]:
    """Fields of an error beside those of its body."""
    return {**UNKEPT, **own_fields(name)}


def own_fields(name: str) -> Mapping[str, str]:
    """Those that say what the client can do."""
    return CODINGS if name == "unknown-coding" else RETRY if KINDS[name].status == SERVICE_UNAVAILABLE else {}


def fields_of(name: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of an error with this body that is answered without the application, as ASGI has them."""
    fields = {**extra_fields(name), "content-type": MEDIA_TYPE, "content-length": str(len(body))}
    return [(name.encode(), value.encode()) for name, value in fields.items()]


@cache
def _plain(name: str) -> bytes:
    return msgspec.json.encode(_problem(name, (), ""))


def _problem(name: str, faults: Sequence[Invalid], detail: str) -> Problem:
    kind = KINDS[name]
    errors = [Fault(fault.reason, pointer(fault.path)) for fault in faults] or UNSET
    message, error = (kind.title, UNSET) if kind.member == "message" else (UNSET, kind.title)
    return Problem(f"{PATH}{name}", kind.title, kind.status, detail or kind.detail or UNSET, errors, message, error)


def pointer(path: str) -> str:
    """The JSON Pointer, as a fragment (RFC 6901, 6), of a decoder's path: `$.items[0].price` → `#/items/0/price`."""
    return "#" + "/".join(map(_escaped, path.removeprefix("$").replace("[", ".").replace("]", "").split(".")))


def _escaped(name: str) -> str:
    """A name in a JSON Pointer (RFC 6901, 3) that stands in a URI fragment (6)."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="")
