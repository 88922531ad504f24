"""The page at `/docs`: the OpenAPI document for people, made once, with nothing from elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape

import msgspec

from orders.api.endpoint import Endpoint
from orders.api.examples import sample_order
from orders.api.openapi import ANYWHERE, BODY
from orders.decoder import decode
from orders.http.problems import KINDS, MEDIA_TYPE, PATH, problem
from orders.pages.start import marked, page_of
from orders.record import Invalid
from orders.violations import faults


@cache
def docs_page(endpoints: Sequence[Endpoint]) -> bytes:
    """HTML, under the policy of the other pages."""
    told = "\n".join(part for each in endpoints for part in _operation(each))
    return page_of(
        "<h1>Paths and answers</h1>\n"
        '<p>For programs: <a href="/openapi.json">OpenAPI 3.1</a>, <a href="/asyncapi.json">AsyncAPI 3.0</a> of the '
        'topic, <a href="/schemas/order.json">JSON Schema</a> of an order. HEAD answers wherever GET does.</p>\n'
        f'{told}\n{_errors()}\n<p><a href="/">Orders</a></p>'
    )


def _operation(endpoint: Endpoint) -> Iterator[str]:
    about = "\n".join(
        f"<p>{marked(part)}</p>" for part in (f"{endpoint.summary}.", *endpoint.about.split("\n\n")) if part
    )
    yield f"<h2><code>{endpoint.method} {escape(endpoint.path)}</code></h2>\n{about}"
    if endpoint.takes:
        yield f'<p>The body is JSON, <a href="/schemas/order.json">an order</a>. {marked(BODY)}.</p>'
        yield f"<details><summary>Such as this one</summary>\n{_shown(msgspec.json.encode(sample_order()))}</details>"
    yield "<dl>"
    for parameter in endpoint.parameters:
        place = f"{parameter.place} <code>{escape(parameter.name)}</code>"
        yield f"<dt>{place}</dt>\n<dd>{marked(parameter.about)}</dd>"
    for status, returned in endpoint.returns.items():
        yield f"<dt>{status}</dt>\n<dd>{marked(returned.about)}</dd>"
    yield from _problems(endpoint.problems)
    yield "</dl>"


def _problems(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        kind = KINDS[name]
        yield f'<dt>{kind.status} <a href="{PATH}{name}"><code>{name}</code></a></dt>\n<dd>{escape(kind.title)}</dd>'


def _errors() -> str:
    """How errors look, and those that no operation has for itself."""
    return "\n".join(
        [
            "<h2>Errors</h2>",
            f"<p>Each is <code>{MEDIA_TYPE}</code> (RFC 9457); <code>type</code> leads to its page. This is a 422:</p>",
            _shown(_invalid()),
            "<p>Any request may meet these:</p>\n<dl>",
            *_problems(ANYWHERE),
            "</dl>",
        ]
    )


def _invalid() -> bytes:
    """What a POST of the example is told where two things are wrong with it."""
    incomplete = {name: value for name, value in sample_order().items() if name != "delivery"}
    body = msgspec.json.encode(incomplete | {"items": [item | {"price": "453"} for item in incomplete["items"]]})
    verdict = decode(body)
    return problem("invalid-order", faults(body, verdict) if isinstance(verdict, Invalid) else ())


def _shown(document: bytes) -> str:
    """JSON for people."""
    return f"<pre><code>{escape(msgspec.json.format(document, indent=2).decode(), quote=False)}</code></pre>"
