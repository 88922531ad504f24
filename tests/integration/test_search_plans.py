"""How PostgreSQL reads a page of a list of a million orders: by one index, in its order, a bounded number of blocks."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple, get_args

import psycopg
import pytest

from orders.embedded.postgres import PostgresService
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.search.criteria import END, FIRST, INDEXES, Criteria, Field, Range, Time, fields_of, microseconds
from orders.search.cursor import Direction, Position
from orders.search.finder import BY_INDEX
from orders.search.paging import Walk
from orders.search.statements import DOCUMENT, Question, anywhere, page
from support.listed import index_by_hand
from support.services import fresh_database

pytestmark = pytest.mark.system

ROWS = 1_000_000
"""Each customer, name, phone and e-mail has 10,000 of them, a hundred rows apart."""
BUFFERS = 200
LIMIT = 50
START = datetime(2026, 1, 1, tzinfo=UTC)

FILL = """
insert into orders
select 'u' || n, 'track' || n, '', 'Name ' || mod(n, 100), '+7916' || 1000000 + mod(n, 100), '', '', '', '',
       'mail' || mod(n, 100), 'pay' || n, '', '', '', 0, 0, '', 0, 0, 0, '[]', '', '', 'customer' || mod(n, 100), '',
       '', 0, %(start)s::timestamptz + make_interval(secs => n), '', null, n, n, 't', 0, n,
       %(start)s::timestamptz + make_interval(secs => n / 100)
from generate_series(1, %(rows)s) n
"""
DEFINITIONS = "select indexname, indexdef from pg_indexes where tablename = 'orders' and indexname = any(%s)"


@pytest.fixture
def dsn(postgres: PostgresService) -> Iterator[str]:
    """A million orders; to build the indexes afterwards takes half the time."""
    with fresh_database(postgres) as dsn:
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            index_by_hand(connection)
            made = connection.execute(DEFINITIONS, [sorted({*INDEXES.values(), "orders_id"})]).fetchall()
            for name, _ in made:
                connection.execute(f"drop index {name}".encode())
            connection.execute("set maintenance_work_mem = '256MB'")
            connection.execute(FILL, {"start": START, "rows": ROWS})
            for _, definition in made:
                connection.execute(definition.encode())
            connection.execute("vacuum analyze orders")
        yield dsn


class Plan(NamedTuple):
    """Which indexes a page was read by, how many blocks that took, how many rows came, and what ran."""

    indexes: set[str]
    buffers: int
    rows: int
    nodes: set[str]
    most_sorted: int


def plan_of(connection: psycopg.Connection, asked: Question) -> Plan:
    """Of a statement that was run."""
    row = connection.execute(f"explain (analyze, buffers, format json) {asked.sql}".encode(), asked.values).fetchone()
    assert row
    (told,) = row[0]
    nodes = list(walk_through(told["Plan"]))
    used = told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"]
    read = {each["Index Name"] for each in nodes if "Index Name" in each}
    sorts = [each["Actual Rows"] for each in nodes if "Sort" in each["Node Type"]]
    return Plan(read, used, told["Plan"]["Actual Rows"], {each["Node Type"] for each in nodes}, max(sorts, default=0))


def walk_through(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for each in node.get("Plans", []):
        yield from walk_through(each)


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    """With the settings of searches."""
    with closing(connect(dsn, "test")) as made:
        for name, value in BY_INDEX.items():
            made.execute("select set_config(%s, %s, false)", (name, value))
        yield made


def at(seconds: float) -> int:
    return microseconds(START + timedelta(seconds=seconds))


VALUES: dict[Field, str] = {
    "track_number": "track500000",
    "customer_id": "customer7",
    "transaction": "pay500000",
    "phone": "8 (916) 100-00-07",
    "email": "MAIL7",
    "name": "name 7",
}
TIMES: tuple[Time, ...] = get_args(Time)
WHOLE = [Range(by, FIRST, END) for by in TIMES]
DAYS = [Range(by, at(0), at(86_400)) for by in TIMES]
NOTHING = [Range(by, at(-10), at(-5)) for by in TIMES]
"""None of the orders is in it: a list of one field looks at so many of them and no more."""
MANY = {VALUES[field] for field in ("customer_id", "phone", "email", "name")}
ANYTHING = [*VALUES.values(), "9161000007", "u500000", "nothing", "n" * 64]
LISTS = [
    Criteria(),
    *(Criteria(range=each) for each in (*WHOLE, *DAYS, *NOTHING)),
    *(Criteria(field, VALUES[field], within) for field in VALUES for within in (None, *WHOLE, *NOTHING)),
    *(Criteria("name_prefix", text) for text in ("n", "Name 7", "z")),
    Criteria("name", "n" * 64),
]


def deep(wanted: Criteria) -> Position:
    """A place in the middle of a list."""
    middle = ROWS // 2
    if wanted.field == "name_prefix":
        return Position(middle + 7, f"u{middle + 7}", "name 7")
    by_time = wanted.range if wanted.field is None else None
    seconds = middle if by_time and by_time.time == "created" else middle // 100
    return Position(middle, f"u{middle}", at(seconds) if by_time else None)


def wrong_with(found: Plan, indexes: set[str], most_sorted: int) -> str:
    """What of a plan is not as it must be."""
    if found.indexes - indexes:
        return f"read by {found.indexes}"
    if "Seq Scan" in found.nodes or "Bitmap Heap Scan" in found.nodes:
        return f"read as a whole: {found.nodes}"
    if found.most_sorted > most_sorted:
        return f"{found.most_sorted} rows were sorted"
    return f"{found.buffers} blocks" if found.buffers > BUFFERS else ""


def allowed(wanted: Criteria) -> set[str]:
    """By which indexes a page may be read: that of ids shows which buckets there are."""
    own = {INDEXES[wanted.searched]} if wanted.searched else set()
    key = {"orders_pkey"} if wanted.field == "transaction" else set()
    return own | key | (set() if own and (wanted.field in {None, "name_prefix"}) else {"orders_id"})


def pages() -> Iterator[tuple[Criteria, Walk]]:
    """Of each list the pages at both ends, and those before and behind its middle."""
    for wanted, direction in product(LISTS, get_args(Direction)):
        yield wanted, Walk(direction, None, LIMIT)
        if wanted.field or wanted.range not in NOTHING:
            yield wanted, Walk(direction, deep(wanted), LIMIT)


@pytest.mark.timeout(300)
def test_each_page_is_read_by_its_index(connection: psycopg.Connection) -> None:
    """In the order of the list, nothing but the page is sorted; deep pages and terms of many orders cost no more.

    Takes 35 s, nearly all of it to store a million orders.
    """
    wrong: dict[tuple[object, Walk], str] = {}
    for wanted, walk in pages():
        asked = page(wanted, DOCUMENT, walk)
        found = plan_of(connection, asked)
        wrong[wanted, walk] = wrong_with(found, allowed(wanted), asked.values["candidates"])
        if wanted.value in MANY and not walk.after:
            assert found.rows == asked.values["candidates"], "there are more"
    for text in ANYTHING:
        kinds = fields_of(text)
        for walk in (Walk("next", None, LIMIT), Walk("next", Position(ROWS // 2, "a"), LIMIT)):
            found = plan_of(connection, anywhere(text, kinds, DOCUMENT, walk))
            wrong[text, walk] = wrong_with(
                found, {"orders_pkey", "orders_id", *INDEXES.values()}, len(kinds) * (LIMIT + 1)
            )
    assert {asked: fault for asked, fault in wrong.items() if fault} == {}
