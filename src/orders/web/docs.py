"""The page at `/docs`: the OpenAPI document for people, made once, with nothing from elsewhere."""

from collections.abc import Iterator
from functools import cache
from html import escape

from orders.web.described import OPERATIONS, Operation
from orders.web.page import marked, page_of
from orders.web.problems import KINDS, PATH


@cache
def docs_page() -> bytes:
    """HTML, under the policy of the other pages."""
    told = "\n".join(part for (path, method), each in OPERATIONS.items() for part in _operation(path, method, each))
    return page_of(
        "<h1>Paths and answers</h1>\n"
        '<p>For programs: <a href="/openapi.json">OpenAPI 3.1</a>, <a href="/asyncapi.json">AsyncAPI 3.0</a> of the '
        'topic, <a href="/schemas/order.json">JSON Schema</a> of an order. HEAD answers wherever GET does.</p>\n'
        f'{told}\n<p><a href="/">Orders</a></p>'
    )


def _operation(path: str, method: str, operation: Operation) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>\n<p>{escape(operation.about)}.</p>\n<dl>"
    for parameter in operation.parameters:
        place = f"{parameter['in']} <code>{escape(parameter['name'])}</code>"
        yield f"<dt>{place}</dt>\n<dd>{marked(parameter['description'])}</dd>"
    for status, answered in operation.answers.items():
        yield f"<dt>{status}</dt>\n<dd>{marked(answered.about)}</dd>"
    for name in operation.problems:
        kind = KINDS[name]
        yield f'<dt>{kind.status} <a href="{PATH}{name}"><code>{name}</code></a></dt>\n<dd>{escape(kind.title)}</dd>'
    yield "</dl>"
