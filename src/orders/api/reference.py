"""The page at `/docs`: the endpoints for people, made once, with nothing from elsewhere."""

from collections.abc import Sequence
from functools import cache

import msgspec

from orders.api.endpoint import Endpoint
from orders.api.examples import sample_order
from orders.api.openapi import ANYWHERE, BODY
from orders.decoder import decode
from orders.http.problems import KINDS, MEDIA_TYPE, problem
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
        order=_shown(msgspec.json.encode(sample_order())),
        media_type=MEDIA_TYPE,
        invalid_order=_shown(_invalid()),
        anywhere=ANYWHERE,
    )


def _invalid() -> bytes:
    """What a POST of the sample order returns where two things are wrong with it."""
    order = {name: value for name, value in sample_order().items() if name != "delivery"}
    body = msgspec.json.encode(order | {"items": [item | {"price": "453"} for item in order["items"]]})
    verdict = decode(body)
    return problem("invalid-order", faults(body, verdict) if isinstance(verdict, Invalid) else ())


def _shown(document: bytes) -> str:
    """JSON for people."""
    return msgspec.json.format(document, indent=2).decode()
