"""The service as programs read it: OpenAPI 3.1 of its HTTP, AsyncAPI 3.0 of its topic, JSON Schema of an order.

The operations are those of the endpoints, the shapes those of the structs that decode and encode, the errors those of
`problems`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from orders import __version__
from orders.api.answers import JSON
from orders.api.endpoint import Endpoint, Parameter, Returns
from orders.api.examples import sample_order
from orders.api.schemas import PLACE, Json, schemas_of
from orders.api.views import SAME_FIELDS
from orders.http.problems import KINDS, MEDIA_TYPE, Problem, own_fields, problem
from orders.order import MAX_DOCUMENT_BYTES, UID_PATTERN, Order
from orders.record import CONDITION_HEADER, REPLY_HEADER

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PROBLEM_EXAMPLES = "#/components/examples/"
FIELDS: Mapping[str, str] = {
    "ETag": "Strong tag of the bytes of the response; send it back with `If-None-Match`",
    "Cache-Control": "`private, no-cache`: keep the order if you ask again before each use",
    "Vary": "`accept-encoding`",
    "Link": 'Where the list continues: `rel="next"` and `rel="prev"` (RFC 8288)',
    "Location": "Path of the order",
    "Preference-Applied": "Which preferences of `Prefer` were followed",
    "Retry-After": "After how many seconds to try again",
    "Accept-Encoding": "The supported codings, where `Content-Encoding` names another one",
}
BODY = "As it is, or compressed once with `Content-Encoding: gzip`; the limits hold for the decompressed bytes too"
ANYWHERE = (
    *("invalid-http", "invalid-host", "too-slow", "unknown-host", "https-target", "head-too-large", "internal", "busy"),
    "http-version",
)
"""Errors that any request may meet."""


@cache
def openapi(endpoints: Sequence[Endpoint]) -> bytes:
    """The OpenAPI document of these endpoints. HEAD is there wherever GET is."""
    paths: dict[str, Json] = {}
    for each in endpoints:
        operations = paths.setdefault(each.path, {})
        operations |= {method.lower(): _operation(each, method) for method in each.methods}
    schemas = schemas_of([*shapes_of(endpoints), Problem])
    for shape, same in SAME_FIELDS.items():
        _describe_alike(schemas, shape, same)
    schemas["Order"]["examples"] = [sample_order()]
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
            "components": {"schemas": schemas, "examples": {name: _problem_example(name) for name in KINDS}},
        }
    )


def _describe_alike(schemas: Json, shape: type[Struct], same: type[Struct]) -> None:
    """Gives the fields of a shape the descriptions of those of the same name."""
    described = schemas[same.__name__]["properties"]
    for field in fields(shape):
        about = described.get(field.name, {}).get("description")
        schemas[shape.__name__]["properties"][field.encode_name].setdefault("description", about)


def shapes_of(endpoints: Iterable[Endpoint]) -> list[type]:
    """The structs of all bodies, each once."""
    found: dict[type, None] = {}
    for each in endpoints:
        taken = [each.takes] if each.takes else []
        found |= dict.fromkeys([*taken, *(shape for returned in each.returns.values() for shape in returned.shapes)])
    return list(found)


def _operation(endpoint: Endpoint, method: str) -> Json:
    words = "".join(character if character.isalnum() else " " for character in endpoint.path).split()
    operation: Json = {
        "operationId": "_".join([method.lower(), *words]),
        "summary": endpoint.summary,
        "description": endpoint.about,
        "parameters": [_parameter(each) for each in endpoint.parameters],
        "responses": _responses(endpoint, bodies=method != "HEAD"),
    }
    if endpoint.takes and endpoint.example:
        content = {JSON: {"schema": _reference(endpoint.takes), "example": endpoint.example()}}
        operation["requestBody"] = {"description": BODY, "required": True, "content": content}
    return operation


def _parameter(parameter: Parameter) -> Json:
    (schema,), _ = msgspec.json.schema_components([parameter.kind])
    kind = {} if "type" in schema else {"type": "string"}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "required": parameter.place == "path",
        "schema": kind | schema,
    }


def _responses(endpoint: Endpoint, *, bodies: bool) -> Json:
    responses: Json = {}
    for status, returned in endpoint.returns.items():
        responses[str(status)] = {"description": returned.about} | _fields(returned.fields)
        if bodies and status != 304:  # noqa: PLR2004 - RFC 9110, 15.4.5: never has a body
            responses[str(status)]["content"] = {returned.media: _content(returned)}
        if returned.links:
            responses[str(status)]["links"] = returned.links
    names = (*endpoint.problems, *ANYWHERE)
    for status in sorted({KINDS[name].status for name in names}):
        wrong = _problems([name for name in names if KINDS[name].status == status], bodies=bodies)
        known = responses.setdefault(str(status), wrong)
        if known is not wrong and bodies:
            known["content"] = {**known["content"], **wrong["content"]}
    return responses


def _fields(names: Sequence[str]) -> Json:
    fields = {name: {"description": FIELDS[name], "schema": {"type": "string"}} for name in names}
    return {"headers": fields} if fields else {}


def _problems(names: Sequence[str], *, bodies: bool) -> Json:
    """Errors of one status."""
    about = "; ".join(KINDS[name].title for name in names)
    own = {field.title(): None for name in names for field in own_fields(name)}
    examples = {name: {"$ref": PROBLEM_EXAMPLES + name} for name in names}
    content = {"content": {MEDIA_TYPE: {"schema": _reference(Problem), "examples": examples}}} if bodies else {}
    return {"description": about, **_fields(list(own)), **content}


def _problem_example(name: str) -> Json:
    return {"summary": KINDS[name].title, "value": msgspec.json.decode(problem(name))}


def _content(returned: Returns) -> Json:
    examples = {name: {"value": made()} for name, made in returned.examples.items()}
    return {"schema": _schema(returned)} | ({"examples": examples} if examples else {})


def _schema(returned: Returns) -> Json:
    references = [_reference(shape) for shape in returned.shapes]
    if not references:
        return {"type": "object" if returned.media == JSON else "string"}
    return references[0] if len(references) == 1 else {"anyOf": references}


def _reference(shape: type) -> Json:
    return {"$ref": f"{PLACE}{shape.__name__}"}


@cache
def order_schema() -> bytes:
    """The JSON Schema of an order as it is taken."""
    examples = [sample_order()]
    schema = {"$ref": "#/$defs/Order", "$defs": schemas_of([Order], "#/$defs/")}
    return msgspec.json.encode({"$schema": DIALECT, "$id": "/schemas/order.json", **schema, "examples": examples})


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
        "examples": [{"payload": sample_order()}],
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
