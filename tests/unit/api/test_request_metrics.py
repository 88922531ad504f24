"""Which requests have a row in the metrics: all that the application answers, and no more than that."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from orders.api.app import ENDPOINTS
from orders.api.request_metrics import HTTP_SECONDS, SERVE_LAYOUT
from orders.errors import Unavailable
from orders.http.fastlane import fast_lane
from orders.metrics.table import LAYOUT, OTHER, UNMATCHED, Request
from support.metrics import counted, durations
from support.wire import MEMORY, UID, converse, get, plain_app

ROUTES = sorted({endpoint.path for endpoint in ENDPOINTS})
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
COUNT = re.compile(
    rf'{HTTP_SECONDS.name}_count{{http_request_method="(.*)",http_response_status_code="(.*)",http_route="(.*)",url_sch.*'
)


async def away(*_: object) -> Any:
    raise Unavailable("PostgreSQL")


async def broken(*_: object) -> Any:
    raise ZeroDivisionError


def counts(requests: Sequence[tuple[str, str]], **parts: Any) -> Mapping[Request, float]:
    """How often an answer to requests, each a method and a path, was counted by method, route and status."""
    counting = durations()
    lane = fast_lane(MEMORY.get, counting)
    sent = [get(path.encode(), method=method.encode()) for method, path in requests]
    with capture_logs():
        asyncio.run(converse(lane, plain_app(**parts), sent))
    found = {COUNT.fullmatch(name): count for name, count in counted(counting.values).items()}
    return {(each[1], each[3], each[2]): count for each, count in found.items() if each}


def paths(route: str) -> list[str]:
    """Some of a route: of what is there, and of what is not."""
    return [re.sub("{.*}", name, route) for name in (UID.decode(), "not-found", "x%20")] if "{" in route else [route]


def test_every_route_and_method_of_the_application_is_counted_by_its_name() -> None:
    declared = {(method, route) for method, route, _ in HTTP_SECONDS.rows}
    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} <= declared
    assert {("HEAD", endpoint.path) for endpoint in ENDPOINTS if endpoint.method == "GET"} <= declared
    assert {route for _, route, _ in HTTP_SECONDS.rows} == {*ROUTES, UNMATCHED}


@pytest.mark.parametrize("parts", [{}, {"order": away, "health": away, "startup": away, "metrics": broken}])
@pytest.mark.parametrize("route", [*ROUTES, "/nowhere"])
def test_no_answer_is_without_a_row(route: str, parts: Mapping[str, Any]) -> None:
    """Whatever is asked, and also in an outage: a catch-all would mean that an answer is not declared."""
    asked = (*paths(route), f"{route}?view=x&for=x")
    found = counts([(method, path) for method in METHODS for path in asked], **parts)
    assert sum(found.values()) == len(METHODS) * len(asked)
    assert not [row for row in found if row[2] == OTHER]
    assert {method for method, _, _ in found} == {"GET", "HEAD", "POST", OTHER}


def test_rows_are_those_that_are_declared() -> None:
    """And one for what is not, of each route."""
    assert HTTP_SECONDS.rows.keys() >= {
        ("GET", "/orders/{order_uid}", "304"),
        ("HEAD", "/orders/{order_uid}", "404"),
        ("POST", "/orders", "409"),
        (OTHER, UNMATCHED, "431"),
    }
    assert not HTTP_SECONDS.rows.keys() & {
        ("GET", "/livez", "201"),
        ("GET", "/orders/search", "200"),
        ("POST", "/livez", "200"),
        (OTHER, "/livez", "200"),
    }
    catch_all = {route for method, route, status in HTTP_SECONDS.rows if (method, status) == (OTHER, OTHER)}
    assert catch_all == {*ROUTES, UNMATCHED}


def test_a_serve_process_counts_what_any_process_counts_in_the_same_places() -> None:
    """The fast lane knows the places of both."""
    assert SERVE_LAYOUT.begins.items() >= LAYOUT.begins.items()
    assert SERVE_LAYOUT.begins[HTTP_SECONDS.name] == LAYOUT.size
    assert HTTP_SECONDS.name not in LAYOUT.begins
