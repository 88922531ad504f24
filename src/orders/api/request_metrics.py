"""Which requests are counted apart, and the layout in which a serve process counts: its own metrics behind all others'.

A row for each method, route and status that an endpoint declares, and none for what cannot be answered.
"""

from collections.abc import Iterator

from orders.api.app import ENDPOINTS
from orders.api.openapi import ANYWHERE
from orders.http.problems import KINDS
from orders.metrics.kinds import Layout
from orders.metrics.table import LAYOUT, OTHER, TABLE, UNMATCHED, Request, http_seconds

ROUTED = ("invalid-request", "internal", "unavailable")
"""Errors that a request of any endpoint may end with. Those of `ANYWHERE` come before a request has a route."""
NO_ROUTE = ("not-found", "method-not-allowed")
OPTIONS = "204"
"""What OPTIONS returns, at every route."""


def combinations() -> Iterator[Request]:
    """Method, route and status of every answer that is declared; for each route one row more for what is not."""
    methods: list[str] = []
    for endpoint in ENDPOINTS:
        declared = {*endpoint.returns, *(KINDS[problem].status for problem in (*endpoint.problems, *ROUTED))}
        for method in endpoint.methods:
            methods.append(method)
            yield from ((method, endpoint.path, str(status)) for status in sorted(declared))
    for route in dict.fromkeys(endpoint.path for endpoint in ENDPOINTS):
        yield from ((OTHER, route, OPTIONS), (OTHER, route, OTHER))
    for method in dict.fromkeys((*methods, OTHER)):
        yield from ((method, UNMATCHED, status) for status in statuses_of(NO_ROUTE))
    yield from ((OTHER, UNMATCHED, status) for status in (*statuses_of(ANYWHERE), OTHER))


def statuses_of(problems: tuple[str, ...]) -> list[str]:
    return sorted({str(KINDS[name].status) for name in problems})


HTTP_SECONDS = http_seconds(list(combinations()))
SERVE_TABLE = (HTTP_SECONDS, *TABLE)
"""Every metric there is."""
SERVE_LAYOUT = Layout([HTTP_SECONDS], LAYOUT)
