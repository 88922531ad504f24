"""What is asked of /readyz, in its query."""

import asyncio
from typing import Any

import pytest

from orders.api.health import Purpose
from orders.readiness import ReadinessReport
from support.wire import plain_app, well


@pytest.mark.parametrize(
    ("query", "purpose"),
    [
        (b"", "reading"),
        (b"for=reading", "reading"),
        (b"for=writing", "writing"),
        (b"f%6fr=w%72iting&", "writing"),
        (b"for=", None),
        (b"for", None),
        (b"for=Writing", None),
        (b"for=other", None),
        (b"for=reading&for=writing", None),
        (b"for=writing&verbose=1", None),
        (b"writing", None),
        (b"for=\xff", None),
    ],
)
def test_the_purpose_is_asked_for_by_one_parameter(query: bytes, purpose: Purpose | None) -> None:
    """Anything else is refused: a probe with a slip of the pen must not look well."""
    asked: list[Purpose] = []

    async def health(purpose: Purpose) -> ReadinessReport:
        asked.append(purpose)
        return await well(purpose)

    app = plain_app(health=health)
    assert (asyncio.run(status_of(app, query)), asked) == ((400, []) if purpose is None else (200, [purpose]))


async def status_of(app: Any, query: bytes) -> int:
    """The status that a GET of /readyz has with this query, byte for byte."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/readyz", "query_string": query, "headers": []}
    await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status
