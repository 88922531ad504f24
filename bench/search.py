"""Pages of lists and searches: what each costs, and how long it takes, at the beginning of a list and deep in it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from bench.asking import Request, ask, search
from bench.children import Events
from bench.contest import Comparison, Contest, Contestant, Field, Figure, Values
from bench.filling import CUSTOMER_OF_MANY, PHONE_OF_MANY, filled, received, some
from bench.measure import Meter
from bench.press import Pace, generated, only
from bench.servers import Server, ours
from bench.services import Ground, memory
from bench.sizes import Sizes
from orders.errors import StartError

LIMIT = 50
PEOPLE = 1_000
"""For how many values is asked in turn where few orders have each."""
ALL, SUMMARY, DEEP = "all orders", ", summary", ", deep"
POSTGRES = Figure("postgres", "µs CPU/page, PostgreSQL", 0)
SERVER = Figure("server", "µs CPU/page, serve process", 0)


class Kind(NamedTuple):
    """By what a page is asked for, one after the other; `is_long` where there are pages enough for a deep one."""

    name: str
    asked: Sequence[Mapping[str, str]]
    is_long: bool = True


def kinds(dsn: str, orders: int) -> list[Kind]:
    """Every filter that has a shipped index, by values that few orders have and by one that many have."""
    people = some(dsn, PEOPLE)
    begin, end = received(orders // 4).isoformat(), received(orders).isoformat()
    return [
        Kind(ALL, [{}]),
        Kind("track number", [{"track_number": each.track_number} for each in people], is_long=False),
        Kind("customer", [{"customer_id": each.customer_id} for each in people], is_long=False),
        Kind("customer of many", [{"customer_id": CUSTOMER_OF_MANY}]),
        Kind("transaction", [{"transaction": each.transaction} for each in people], is_long=False),
        Kind("phone", [{"phone": each.phone} for each in people], is_long=False),
        Kind("phone of many", [{"phone": PHONE_OF_MANY}]),
        Kind("created", [{"created_from": begin, "created_to": end}]),
        Kind("received", [{"received_from": begin, "received_to": end}]),
        Kind("customer of many, created", [{"customer_id": CUSTOMER_OF_MANY, "created_from": begin}]),
        Kind("q, a track number", [{"q": each.track_number} for each in people], is_long=False),
        Kind("q, a phone of many", [{"q": PHONE_OF_MANY}]),
    ]


def requests(port: int, kind: Kind, deep_page: int) -> dict[str, list[Request]]:
    """What each contestant asks for: first pages, with `fields=summary`, and the deep page of a long list.

    Raises `StartError` where a page does not hold what it must.
    """
    first = [search(each, limit=LIMIT) for each in kind.asked]
    check(kind, ask(port, first[0]))
    if not kind.is_long:
        return {kind.name: first}
    cursor = cursor_of(port, kind, deep_page)
    deep = search(kind.asked[0], limit=LIMIT, cursor=cursor)
    check(kind, ask(port, deep))
    summaries = [search(each, limit=LIMIT, fields="summary") for each in kind.asked]
    return {kind.name: first, kind.name + SUMMARY: summaries, kind.name + DEEP: [deep]}


def cursor_of(port: int, kind: Kind, page: int) -> str:
    """Where a page of a list begins, the first one being 1; found by a walk."""
    shown: dict[str, str | int] = {"limit": LIMIT, "fields": "summary"}
    for _ in range(page - 1):
        answer = ask(port, search(kind.asked[0], **shown))
        if answer["next"] is None:
            raise StartError(f"the list by {kind.name} has no page {page}")
        shown["cursor"] = answer["next"]
    return str(shown["cursor"])


def check(kind: Kind, answer: Mapping[str, Any]) -> None:
    """A page of a long list is full; an order by a value has it. Raises `StartError`."""
    orders = answer["orders"]
    if not orders or (kind.is_long and len(orders) != LIMIT):
        raise StartError(f"a page by {kind.name} holds {len(orders)} orders")
    sought = [value for field, value in kind.asked[0].items() if not field.endswith(("_from", "_to"))]
    if not all(value in str(order) for order in orders for value in sought):
        raise StartError(f"a page by {kind.name} holds an order without the value")


def run(ground: Ground, server: Server, asked: Sequence[bytes], seconds: float) -> Values:
    """One client asks for a page when it has the one before."""
    meter = Meter(postgres=[ground.postgres_pid()], server=[server.pid])
    load = only(generated(ground.folder, server.port, asked, Pace(seconds, connections=1)), HTTPStatus.OK)
    spent = {name: cpu / load.requests * 1e6 for name, cpu in meter.spent().items()}
    return {**spent, "p50": load.latency["p50"] * 1e3, "p99": load.latency["p99"] * 1e3}


@contextmanager
def searchable(ground: Ground, orders: int, path: Path) -> Iterator[tuple[str, Server]]:
    """So many orders in PostgreSQL, and one worker that searches them; its memory is at `path`."""
    with filled(ground, orders) as dsn, ours(ground.settings(dsn, ground.stock.topic(), path), Events()) as server:
        yield dsn, server


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Asks for each page once, so that PostgreSQL and the worker have seen it."""
    with memory(ground.folder, []) as (path, _), searchable(ground, sizes.searched, path) as (dsn, server):
        asked: dict[str, list[Request]] = {}
        for kind in kinds(dsn, sizes.searched):
            asked |= requests(server.port, kind, sizes.deep_page)
        yield Field(
            [
                Contestant(name, partial(run, ground, server, [each.sent() for each in sent], sizes.search_seconds))
                for name, sent in asked.items()
            ],
            notes=[f"{sizes.searched:,} orders; a deep page is number {sizes.deep_page} of the list"],
        )


CONTEST = Contest(
    name="search",
    title=f"A page of {LIMIT} orders by each filter, one client",
    figures=(POSTGRES, SERVER, Figure("p50", "ms, p50", 2), Figure("p99", "ms, p99", 2)),
    open=enter,
    seconds=45,
    comparisons=(
        Comparison("postgres", ALL + DEEP, ALL),
        Comparison("postgres", "customer of many" + DEEP, "customer of many"),
        Comparison("postgres", ALL + SUMMARY, ALL),
        Comparison("server", ALL + SUMMARY, ALL),
    ),
)
