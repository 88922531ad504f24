"""The page at `/docs`: the endpoints for people, made once, with nothing from elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec

from orders.api.endpoint import Endpoint
from orders.api.examples import sample_order
from orders.api.openapi import ANYWHERE, BODY
from orders.decoder import decode
from orders.http.problems import KINDS, MEDIA_TYPE, problem
from orders.order import Order
from orders.pages.rendering import render
from orders.record import Invalid
from orders.violations import faults


@cache
def docs_page(endpoints: Sequence[Endpoint]) -> bytes:
    """HTML, under the policy of the other pages."""
    return render(
        "reference.html",
        endpoints=endpoints,
        kinds=KINDS,
        body=BODY,
        bodies={each.path: _body(each.takes, each.example) for each in endpoints if each.takes and each.example},
        media_type=MEDIA_TYPE,
        invalid_order=_shown(_invalid()),
        anywhere=ANYWHERE,
    )


class Body(NamedTuple):
    """An example of a body, and what its fields mean; none of an order, which has a schema of its own."""

    example: str
    fields: Mapping[str, str]


def _body(takes: type, example: Callable[[], Any]) -> Body:
    fields = {} if takes is Order else {each.name: _about(each.type) for each in msgspec.structs.fields(takes)}
    return Body(_shown(msgspec.json.encode(example())), fields)


def _about(kind: Any) -> str:
    return str(next(each.description for each in get_args(kind)[1:] if each.description))


def _invalid() -> bytes:
    """What a POST of the sample order returns where two things are wrong with it."""
    order = {name: value for name, value in sample_order().items() if name != "delivery"}
    body = msgspec.json.encode(order | {"items": [item | {"price": "453"} for item in order["items"]]})
    verdict = decode(body)
    return problem("invalid-order", faults(body, verdict) if isinstance(verdict, Invalid) else ())


def _shown(document: bytes) -> str:
    """JSON for people."""
    return msgspec.json.format(document, indent=2).decode()
