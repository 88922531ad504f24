"""The service as programs read it: OpenAPI 3.1 of its HTTP, AsyncAPI 3.0 of its topic, JSON Schema of an order.

The shapes are those of the structs that decode and encode, the errors those of `problems`. That paths and methods are
the application's, tests say.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, get_args

import msgspec

from orders import __version__
from orders.api.health import Purpose, Report
from orders.api.schemas import PLACE, Json, schemas_of
from orders.api.startup import Start
from orders.api.views import OriginalDocument, ServedDocument
from orders.http.problems import KINDS, MEDIA_TYPE, Problem, own_fields
from orders.order import MAX_DOCUMENT_BYTES, UID_PATTERN, Order
from orders.record import CONDITION_HEADER, REPLY_HEADER

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXAMPLE_UID = "b563feg7bdg3286ttjr67siej"


class Saved(msgspec.Struct, frozen=True):
    """What a POST answers when the order is saved or accepted."""

    message: str


class Alive(msgspec.Struct, frozen=True):
    """What /livez answers."""

    alive: bool


SHAPES = (Order, ServedDocument, OriginalDocument, Saved, Alive, Report, Start, Problem)


class Answered(NamedTuple):
    """One status of an operation: what it means, of which shape and media type its body is, and its own fields."""

    about: str
    shapes: Sequence[type] = ()
    media: str = JSON
    fields: Sequence[str] = ()
    links: Mapping[str, Json] = {}


class Operation(NamedTuple):
    """A method of a path; `problems` are its errors besides those that any request may meet."""

    about: str
    answers: Mapping[int, Answered]
    problems: Sequence[str] = ()
    parameters: Sequence[Json] = ()
    takes: type | None = None


def _parameter(name: str, place: str, about: str, **schema: Any) -> Json:
    return {"name": name, "in": place, "description": about, "required": place == "path", "schema": schema}


ORDER_UID = _parameter("order_uid", "path", "the order's name", type="string", pattern=UID_PATTERN)
VIEW = _parameter("view", "query", "`standard` or `original` shape", type="string", enum=["standard", "original"])
PURPOSE = _parameter("for", "query", "`reading` or `writing`", type="string", enum=list(get_args(Purpose)))
KNOWN = _parameter("If-None-Match", "header", "tags that the client has (RFC 9110, 13.1.2)", type="string")
PREFER = _parameter("Prefer", "header", "`respond-async`, `wait=N` (RFC 7240)", type="string")
NAME = _parameter("name", "path", "the kind of error", type="string", enum=list(KINDS))
FIELDS: Mapping[str, str] = {
    "ETag": "strong tag of the bytes",
    "Cache-Control": "`private, no-cache`",
    "Vary": "`accept-encoding`",
    "Location": "path of the order",
    "Preference-Applied": "what of Prefer was heard",
    "Retry-After": "seconds",
    "Accept-Encoding": "where `Content-Encoding` is what is not supported: the codings that are",
}
CACHED = ("ETag", "Cache-Control", "Vary")
PLACED = ("Location", "Preference-Applied")
BODY = "As it is, or compressed once with `Content-Encoding: gzip`; limits hold for what is decompressed too"
STORED: Mapping[str, Json] = {
    "order": {
        "operationId": "get_orders_order_uid",
        "parameters": {"order_uid": "$request.body#/order_uid"},
        "description": "the order that was posted",
    }
}
"""What a client may ask once an order is saved."""

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("/orders", "post"): Operation(
        "Take an order",
        {
            201: Answered("PostgreSQL holds it now, and did not before", [Saved], fields=PLACED, links=STORED),
            200: Answered("PostgreSQL holds it already, with the same content", [Saved], fields=PLACED, links=STORED),
            202: Answered("Kafka has it; no outcome within the time that is waited", [Saved], fields=PLACED),
        },
        (
            *("invalid-json", "invalid-gzip", "cross-site", "order-exists", "too-large", "not-json", "unknown-coding"),
            *("invalid-order", "unavailable"),
        ),
        [PREFER],
        Order,
    ),
    ("/orders/{order_uid}", "get"): Operation(
        "An order, from memory or else from PostgreSQL",
        {
            200: Answered("the order", [ServedDocument, OriginalDocument], fields=CACHED),
            304: Answered("the client has it", fields=CACHED),
        },
        ("unknown-view", "order-not-found", "unavailable"),
        [ORDER_UID, VIEW, KNOWN],
    ),
    ("/livez", "get"): Operation("The process answers", {200: Answered("it does", [Alive])}),
    ("/readyz", "get"): Operation(
        "Whether the service is ready for reading or writing, and why not",
        {200: Answered("it is", [Report]), 503: Answered("it is not", [Report], fields=["Retry-After"])},
        ("unknown-purpose",),
        [PURPOSE],
    ),
    ("/startupz", "get"): Operation(
        "Whether the start is through, and why not",
        {200: Answered("it is", [Start]), 503: Answered("it is not", [Start], fields=["Retry-After"])},
    ),
    ("/metrics", "get"): Operation("For Prometheus", {200: Answered("the metrics", media=TEXT)}),
    ("/problems/{name}", "get"): Operation(
        "What a kind of error means", {200: Answered("a page", media=HTML)}, ("not-found",), [NAME]
    ),
    ("/openapi.json", "get"): Operation("This document", {200: Answered("OpenAPI 3.1")}),
    ("/asyncapi.json", "get"): Operation("The topic", {200: Answered("AsyncAPI 3.0")}),
    ("/schemas/order.json", "get"): Operation("An order as it is taken", {200: Answered("JSON Schema")}),
    ("/docs", "get"): Operation("This document for people", {200: Answered("a page", media=HTML)}),
    ("/", "get"): Operation("What this is", {200: Answered("a page", media=HTML)}),
}
"""HEAD answers wherever GET does, and is added to each."""
ANYWHERE = (
    *("invalid-http", "invalid-host", "too-slow", "unknown-host", "https-target", "head-too-large", "internal", "busy"),
    "http-version",
)
"""Errors that any request may meet."""


@cache
def example() -> Json:
    """The original's sample order."""
    told: Json = msgspec.json.decode(files("orders").joinpath("original.json").read_bytes())
    return told


@cache
def openapi() -> bytes:
    """The OpenAPI document."""
    paths: dict[str, Json] = {}
    for (path, method), operation in OPERATIONS.items():
        told = paths.setdefault(path, {})
        told[method] = _operation(method, path, operation)
        if method == "get":
            told["head"] = _operation("head", path, operation)
    schemas = schemas_of(SHAPES)
    schemas["Order"]["examples"] = [example()]
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Orders",
                "version": __version__,
                "description": "Orders come in through Kafka or POST, PostgreSQL keeps them, memory serves them.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {"schemas": schemas},
        }
    )


def _operation(method: str, path: str, operation: Operation) -> Json:
    told: Json = {
        "operationId": "_".join([method, *"".join(c if c.isalnum() else " " for c in path).split()]),
        "summary": operation.about,
        "parameters": list(operation.parameters),
        "responses": _responses(operation, bodies=method != "head"),
    }
    if operation.takes:
        content = {JSON: {"schema": _reference(operation.takes), "example": example()}}
        told["requestBody"] = {"description": BODY, "required": True, "content": content}
    return told


def _responses(operation: Operation, *, bodies: bool) -> Json:
    told: Json = {}
    for status, answered in operation.answers.items():
        told[str(status)] = {"description": answered.about} | _fields(answered.fields)
        if bodies and status != 304:  # noqa: PLR2004 - RFC 9110, 15.4.5: never has a body
            told[str(status)]["content"] = {answered.media: _content(answered)}
        if answered.links:
            told[str(status)]["links"] = answered.links
    names = (*operation.problems, *ANYWHERE)
    for status in sorted({KINDS[name].status for name in names}):
        wrong = _problem([name for name in names if KINDS[name].status == status], bodies=bodies)
        known = told.setdefault(str(status), wrong)
        if known is not wrong and bodies:
            known["content"] = {**known["content"], **wrong["content"]}
    return told


def _fields(names: Sequence[str]) -> Json:
    fields = {name: {"description": FIELDS[name], "schema": {"type": "string"}} for name in names}
    return {"headers": fields} if fields else {}


def _problem(names: Sequence[str], *, bodies: bool) -> Json:
    """Errors of one status."""
    about = "; ".join(KINDS[name].title for name in names)
    own = {field.title(): None for name in names for field in own_fields(name)}
    content = {"content": {MEDIA_TYPE: {"schema": _reference(Problem)}}} if bodies else {}
    return {"description": about, **_fields(list(own)), **content}


def _content(answered: Answered) -> Json:
    references = [_reference(shape) for shape in answered.shapes]
    if not references:
        return {"schema": {"type": "object" if answered.media == JSON else "string"}}
    return {"schema": references[0] if len(references) == 1 else {"anyOf": references}}


def _reference(shape: type) -> Json:
    return {"$ref": f"{PLACE}{shape.__name__}"}


@cache
def order_schema() -> bytes:
    """The JSON Schema of an order as it is taken."""
    schema = {"$ref": "#/$defs/Order", "$defs": schemas_of([Order], "#/$defs/")}
    return msgspec.json.encode({"$schema": DIALECT, "$id": "/schemas/order.json", **schema, "examples": [example()]})


def asyncapi(topic: str) -> bytes:
    """The AsyncAPI document of the topic that orders come in through."""
    headers = {
        CONDITION_HEADER: {
            "type": "string",
            "description": "`absent` or `version=N`: what must hold of the stored order",
        },
        REPLY_HEADER: {"type": "string", "description": "any value: the producer waits for the outcome"},
    }
    message = {
        "contentType": JSON,
        "summary": f"An order of up to {MAX_DOCUMENT_BYTES} bytes; a null value deletes the order of its key",
        "headers": {"type": "object", "properties": headers},
        "payload": {"schemaFormat": f"application/schema+json;version={DIALECT}", "schema": _reference(Order)},
        "bindings": {"kafka": {"key": {"type": "string", "pattern": UID_PATTERN}, "bindingVersion": "0.5.0"}},
        "examples": [{"payload": example()}],
    }
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {"title": "Orders", "version": __version__},
            "channels": {"orders": {"address": topic, "messages": {"order": {"$ref": "#/components/messages/order"}}}},
            "operations": {"takeOrder": {"action": "receive", "channel": {"$ref": "#/channels/orders"}}},
            "components": {"messages": {"order": message}, "schemas": schemas_of([Order])},
        }
    )
