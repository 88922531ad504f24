"""Lists and searches on a real PostgreSQL: what they hold, against plain Python, while it changes, and in outages."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple, TypeVar

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.embedded.postgres import PostgresService
from orders.errors import Busy, IndexBuilding, NotIndexed, Unavailable
from orders.postgres.migrations import migrate
from orders.search import finder as module
from orders.search.criteria import END, FIRST, Criteria, Field, Range, microseconds
from orders.search.cursor import Direction, decode
from orders.search.finder import Found, OrderFinder, OrderTotal, TooManyBytesError
from orders.search.statements import DOCUMENT, SUMMARY, Payload
from orders.timing import Clock, monotonic
from support.listed import Listed, delete, index_by_hand, insert, list_of, replace
from support.services import fresh_database

T = TypeVar("T")

CONNECTIONS = 2
EVERYTHING = Criteria()


class Table(NamedTuple):
    """A database, a connection that writes to it, and a finder that reads it."""

    dsn: str
    connection: psycopg.Connection
    finder: OrderFinder
    run: Callable[[Coroutine[Any, Any, Any]], Any]

    def page(self, criteria: Criteria, limit: int, cursor: str | None = None, payload: Payload = DOCUMENT) -> Found:
        """As the HTTP endpoint asks for it."""
        found: Found = self.run(
            self.finder.page(criteria, limit, payload, decode(cursor, criteria) if cursor else None)
        )
        return found

    def hold(self, orders: Sequence[Listed]) -> None:
        """Has these orders and no others."""
        self.connection.execute("delete from orders")
        insert(self.connection, *orders)


@pytest.fixture(scope="module")
def table(postgres: PostgresService) -> Iterator[Table]:
    with fresh_database(postgres) as dsn, asyncio.Runner() as runner, psycopg.connect(dsn, autocommit=True) as writing:
        migrate(dsn)
        index_by_hand(writing)
        finder = OrderFinder(dsn, CONNECTIONS, monotonic)
        runner.run(finder.open())
        yield Table(dsn, writing, finder, runner.run)
        runner.run(finder.close())


def uids(found: Found) -> list[str]:
    """Of documents or summaries."""
    bodies = [json.loads(each or b"") for each in found.orders.values()]
    assert [(each.get("order") or each)["order_uid"] for each in bodies] == list(found.orders)
    return list(found.orders)


# ---- what a list holds, against plain Python ----

LONG = "л" * 63
"""With one letter more as long as the key of an index: what follows is compared, but not in it."""
NAMES = ["Юлия", "ЮЛИЯ", "юлия д", "Ann", "ann", "ANNA", "Ąnn", "Ωmega", "ωMEGA", "Ann\U0010ffff", "%", "_", "\\"]
LONG_NAMES = [LONG + end for end in ("", "Л", "лA", "ла", "лb", "лb" * 40)]
TEXTS = ["A", "a", "B", "9161234567", "ann", *("x" * 64 + end for end in ("", "1", "2"))]
PHONES = ["+7 (916) 123-45-67", "8 916 1234567", "9161234567", "+972", "972", "none", "1234567", "٣٤٥"]
EMAILS = ["a@example.com", "A@Example.COM", "b@example.com", "Ω@example.com", "ω@example.com", "ann"]
DAY = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = [DAY + timedelta(hours=each) for each in range(4)]
EDGES = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
UNREAL = ["infinity", "-infinity", "10000-01-01 00:00+00", "0044-03-15 12:00+00 BC"]
"""Moments that only SQL by hand writes."""

moments: st.SearchStrategy[Any] = st.sampled_from([*MOMENTS, *MOMENTS, *EDGES, *UNREAL])
listed = st.builds(
    Listed,
    uid=st.from_regex(r"[a-cA~]{1,3}", fullmatch=True) | st.sampled_from(TEXTS[:5]),
    id=st.integers(-2, 5) | st.sampled_from([2**63 - 1, -(2**63)]),
    track_number=st.sampled_from(TEXTS),
    customer_id=st.sampled_from(TEXTS),
    transaction=st.sampled_from(TEXTS),
    phone=st.sampled_from(PHONES),
    email=st.sampled_from(EMAILS),
    name=st.sampled_from(NAMES) | st.sampled_from(LONG_NAMES),
    created=moments,
    received=moments | st.none(),
    version=st.just(1),
    items=st.just("[]"),
    extra=st.none(),
)
many = st.lists(listed, max_size=14, unique_by=lambda order: order.uid)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    ends = [*map(microseconds, MOMENTS), FIRST, END]
    since, until = sorted(draw(st.lists(st.sampled_from(ends), min_size=2, max_size=2, unique=True)))
    return Range(draw(st.sampled_from(["created", "received"])), since, until)


VALUES: dict[Field, Sequence[str]] = {
    "track_number": TEXTS,
    "customer_id": TEXTS,
    "transaction": TEXTS,
    "phone": [each for each in PHONES if any(letter in "0123456789" for letter in each)],
    "email": EMAILS,
    "name": NAMES + LONG_NAMES,
}
BEGINNINGS = ["A", "a", "юл", "Ω", "%", "\\", LONG, LONG + "Л", LONG + "лB", "ann\U0010ffff", "Z"]
ANYTHING = [*TEXTS, *PHONES, *EMAILS, *NAMES, *LONG_NAMES, *BEGINNINGS, "abc", "~"]


@st.composite
def by_equality(draw: st.DrawFn) -> Criteria:
    field = draw(st.sampled_from(list(VALUES)))
    return Criteria(field, draw(st.sampled_from(VALUES[field])), draw(st.none() | ranges()))


criteria = (
    st.just(Criteria())
    | ranges().map(lambda each: Criteria(range=each))
    | by_equality()
    | st.sampled_from(BEGINNINGS).map(lambda each: Criteria("name_prefix", each))
    | st.sampled_from(ANYTHING).map(lambda each: Criteria("q", each))
)


def walk(table: Table, wanted: Criteria, limit: int, payload: Payload) -> list[Found]:
    """The pages from the first to the last."""
    pages = [table.page(wanted, limit, None, payload)]
    while cursor := pages[-1].next:
        pages.append(table.page(wanted, limit, cursor, payload))
        assert len(pages) < 100, "a walk ends"
    return pages


def way_back(table: Table, wanted: Criteria, limit: int, page: Found) -> list[Found]:
    """The pages before one, in the order of the list."""
    pages = []
    while page.prev:
        page = table.page(wanted, limit, page.prev)
        pages.append(page)
    return pages[::-1]


def joined(pages: Sequence[Found]) -> list[str]:
    return [uid for page in pages for uid in uids(page)]


@given(many, criteria, st.integers(1, 5), st.sampled_from([DOCUMENT, SUMMARY]))
def test_a_list_is_as_plain_python_makes_it(
    table: Table, orders: list[Listed], wanted: Criteria, limit: int, payload: Payload
) -> None:
    """Its order, what it holds, where a text stands, how many there are; and the same backwards."""
    table.hold(orders)
    expected, matched = list_of(orders, wanted)
    pages = walk(table, wanted, limit, payload)
    assert joined(pages) == [order.uid for order in expected]
    assert {uid: fields for page in pages for uid, fields in page.matched.items()} == {
        uid: tuple(fields) for uid, fields in matched.items()
    }
    assert all(len(page.orders) <= limit for page in pages)

    back = way_back(table, wanted, limit, pages[-1])
    assert joined(back) == [order.uid for order in expected[: len(expected) - len(pages[-1].orders)]]

    total = pages[0].total
    assert total
    assert total.is_estimate == (len(pages) > 1)
    assert total.is_estimate or total.count == len(expected)
    assert {page.total for page in [*pages[1:], *back]} <= {None}


@given(many, criteria, st.integers(1, 3), st.lists(st.sampled_from(["next", "prev"]), max_size=8))
def test_turning_back_shows_the_orders_of_the_page_before(
    table: Table, orders: list[Listed], wanted: Criteria, limit: int, turns: list[Direction]
) -> None:
    """Each page is a piece of the list that begins or ends where the one before did."""
    table.hold(orders)
    expected = [order.uid for order in list_of(orders, wanted)[0]]
    page = table.page(wanted, limit)
    begin, end = 0, len(uids(page))
    for turn in turns:
        cursor = page.next if turn == "next" else page.prev
        if cursor is None:
            assert (end == len(expected)) if turn == "next" else (begin == 0)
            continue
        page = table.page(wanted, limit, cursor)
        found = len(uids(page))
        begin, end = (end, end + found) if turn == "next" else (begin - found, begin)
        assert uids(page) == expected[begin:end]


# ---- the guarantee of a walk ----


class Change(NamedTuple):
    """What another connection does to an order between two pages."""

    kind: str
    which: int
    as_new: Listed


changes = st.builds(
    Change,
    st.sampled_from(["insert", "replace", "replace", "rewrite", "delete", "recreate"]),
    st.integers(0, 100),
    listed,
)


class Changing:
    """A table that changes during a walk, and which of its orders stand in the list all the time."""

    def __init__(self, table: Table, orders: Sequence[Listed], wanted: Criteria) -> None:
        self._table, self._wanted = table, wanted
        self._orders = {each.uid: each for each in orders}
        self._ids = count(100)
        self._versions = count(2)
        table.hold(orders)
        self.steady = {each.uid for each in list_of(orders, wanted)[0]}
        self.moved: set[str] = set()
        """Those that were made again, or whose place in the list changed: they may come twice."""

    def apply(self, change: Change) -> None:
        uid = sorted(self._orders)[change.which % len(self._orders)] if self._orders else None
        if change.kind == "insert":
            if change.as_new.uid not in self._orders:
                self._write(change.as_new)  # its id may be lower than those of others
        elif uid:
            getattr(self, f"_{change.kind}")(self._orders[uid], change.as_new)

    def _write(self, order: Listed) -> None:
        self._orders[order.uid] = order
        replace(self._table.connection, order._replace(version=next(self._versions)))

    def _replace(self, old: Listed, _: Listed) -> None:
        self._write(old)

    def _rewrite(self, old: Listed, new: Listed) -> None:
        """Other content under the same uid and id: it may leave the list, or change its place."""
        new = new._replace(uid=old.uid, id=old.id)
        if not (new.is_found_by(self._wanted) and new.key(self._wanted) == old.key(self._wanted)):
            self._forget(old)
        self._write(new)

    def _delete(self, old: Listed, _: Listed) -> None:
        self._forget(old)
        delete(self._table.connection, self._orders.pop(old.uid))

    def _recreate(self, old: Listed, new: Listed) -> None:
        self._delete(old, new)
        self._write(old._replace(id=next(self._ids)))

    def _forget(self, order: Listed) -> None:
        self.steady.discard(order.uid)
        self.moved.add(order.uid)


whole = criteria.filter(lambda each: each.field != "q")


@given(
    st.lists(listed, min_size=3, max_size=14, unique_by=lambda order: order.uid),
    whole,
    st.integers(1, 4),
    st.lists(st.lists(changes, max_size=4), max_size=8),
)
def test_what_is_there_during_the_whole_walk_comes_once(
    table: Table, orders: list[Listed], wanted: Criteria, limit: int, between: list[list[Change]]
) -> None:
    """Whatever is stored, replaced, deleted and made again between the pages by somebody else."""
    changing = Changing(table, orders, wanted)
    pages = [table.page(wanted, limit)]
    turns = iter(between)
    while cursor := pages[-1].next:
        for change in next(turns, []):
            changing.apply(change)
        pages.append(table.page(wanted, limit, cursor))
        assert len(pages) < 100, "a walk ends"
    seen = joined(pages)
    assert changing.steady <= set(seen)
    assert [uid for uid in set(seen) - changing.moved if seen.count(uid) > 1] == []


# ---- rows that SQL by hand made unreadable ----

BAD = Listed("bad", 3, track_number="A", items="5", extra=r'{"order": {"a": "\u0000"}}')
"""Neither its document nor its summary can be made."""


@pytest.mark.parametrize("payload", [DOCUMENT, SUMMARY])
@given(st.sets(st.integers(1, 9)), st.integers(1, 6), by_equality() | st.just(Criteria("q", "A")) | st.just(Criteria()))
def test_an_order_that_cannot_be_read_takes_no_page_with_it(
    table: Table, payload: Payload, bad: set[int], limit: int, wanted: Criteria
) -> None:
    """It stands in its place, without a body."""
    odd = {f"u{each}" for each in bad}
    orders = [Listed(f"u{each}", each, track_number="A", phone="1234567") for each in range(1, 10)]
    orders = [BAD._replace(uid=each.uid, id=each.id) if each.uid in odd else each for each in orders]
    table.hold(orders)
    bodies = {uid: body for page in walk(table, wanted, limit, payload) for uid, body in page.orders.items()}
    expected = [order.uid for order in list_of(orders, wanted)[0]]
    assert list(bodies) == expected
    assert {uid for uid, body in bodies.items() if body is None} == odd & set(expected)


def test_a_lookup_reports_which_orders_cannot_be_read(table: Table) -> None:
    table.hold([BAD, Listed("a", 1), Listed("b", 2)])
    found = table.run(table.finder.documents(["a", "bad", "b", "missing"], 10**6))
    assert {uid: body is None for uid, body in found.items()} == {"a": False, "b": False, "bad": True}


# ---- limits ----


def test_a_page_ends_before_it_has_too_many_bytes(table: Table) -> None:
    """Nine orders of a megabyte are in two pages, however many were asked for."""
    table.hold([Listed(f"u{each}", each, name="Ann", track_number="x" * 990_000) for each in range(10, 19)])
    for wanted in (Criteria(), Criteria("name", "ann"), Criteria("q", "ann"), Criteria("name_prefix", "a")):
        pages = walk(table, wanted, 200, DOCUMENT)
        assert [len(page.orders) for page in pages] == [8, 1]
        assert len(set(joined(pages))) == 9


def test_one_order_is_in_a_page_however_large_it_is(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orders.search.statements.PAGE_BYTES", 10)
    table.hold([Listed(f"u{each}", each) for each in range(3)])
    assert [len(page.orders) for page in walk(table, Criteria(), 2, DOCUMENT)] == [1, 1, 1]


def test_a_lookup_of_too_many_bytes_is_refused_by_postgresql(table: Table) -> None:
    """Before they come over the wire."""
    table.hold([Listed(f"u{each}", each, track_number="x" * 1000) for each in range(3)])
    with pytest.raises(TooManyBytesError):
        table.run(table.finder.documents(["u0", "u1", "u2"], 3000))
    assert len(table.run(table.finder.documents(["u0", "u1"], 10_000))) == 2


# ---- outages ----


@asynccontextmanager
async def finding(dsn: str, connections: int = 2, clock: Clock = monotonic) -> AsyncIterator[OrderFinder]:
    finder = OrderFinder(dsn, connections, clock)
    await finder.open()
    try:
        yield finder
    finally:
        await finder.close()


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        insert(connection, Listed("a", 1, track_number="A", phone="1234567"), Listed("b", 2))
    return postgres_dsn


def first_page(finder: OrderFinder, wanted: Criteria = EVERYTHING) -> Coroutine[Any, Any, Found]:
    return finder.page(wanted, 50, DOCUMENT, None)


@contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Nobody reads an order meanwhile."""
    with psycopg.connect(dsn) as connection:
        connection.execute("lock table orders in access exclusive mode")
        yield


def test_a_search_that_takes_too_long_is_ended(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By PostgreSQL, and the connection is used again."""
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 0.2)

    async def scenario() -> None:
        async with finding(dsn, 1) as finder:
            with locked(dsn), pytest.raises(Busy, match=r"within 0\.2 s"):
                await first_page(finder)
            assert uids(await first_page(finder)) == ["b", "a"]

    asyncio.run(scenario())


def test_a_search_waits_a_second_at_most_for_a_connection(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While all are in use; then it is Busy, and those that run are answered."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)

    async def scenario() -> None:
        async with finding(dsn) as finder:
            with locked(dsn):
                running = [asyncio.ensure_future(first_page(finder)) for _ in range(2)]
                await asyncio.sleep(0)
                with pytest.raises(Busy, match="as many searches"):
                    await first_page(finder)
            assert [uids(await each) for each in running] == [["b", "a"]] * 2
            assert uids(await first_page(finder)) == ["b", "a"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        ("orders_by_phone", Criteria("phone", "1234567")),
        ("orders_by_transaction", Criteria("q", "a")),
        ("orders_by_date_created", Criteria(range=Range("created", 0, END))),
        ("orders_by_track_number", Criteria("track_number", "A", Range("created", 0, END))),
    ],
)
def test_a_search_needs_its_index_and_no_other(dsn: str, index: str, wanted: Criteria) -> None:
    """It is refused until the index is valid, whatever it was before."""
    now = [0.0]

    async def scenario() -> None:
        async with (
            finding(dsn, clock=lambda: now[0]) as finder,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection,
        ):
            expected = uids(await first_page(finder, wanted))
            for valid in (False, True):
                await connection.execute(
                    "update pg_index set indisvalid = %s where indexrelid = %s::regclass", [valid, index]
                )
                now[0] += module.STATES_SECONDS
                if valid:
                    assert uids(await first_page(finder, wanted)) == expected
                else:
                    with pytest.raises(IndexBuilding, match=index):
                        await first_page(finder, wanted)
                assert uids(await first_page(finder)) == ["b", "a"]
                assert uids(await first_page(finder, Criteria("customer_id", ""))) == ["b", "a"]

    asyncio.run(scenario())


@pytest.mark.parametrize("field", ["email", "name", "name_prefix"])
def test_what_has_no_index_is_searched_once_somebody_makes_it(dsn: str, field: Field) -> None:
    """Until then it is refused, and a text that may be anything is looked for in all else."""
    now = [0.0]

    async def scenario() -> None:
        async with finding(dsn, clock=lambda: now[0]) as finder:
            with pytest.raises(NotIndexed) as refused:
                await first_page(finder, Criteria(field, "anna"))
            assert refused.value.field == field
            assert uids(await first_page(finder, Criteria("q", "a"))) == ["a"]
            with psycopg.connect(dsn, autocommit=True) as connection:
                index_by_hand(connection)
            now[0] += module.STATES_SECONDS
            assert uids(await first_page(finder, Criteria(field, "anna"))) == []

    asyncio.run(scenario())


def test_searches_while_postgresql_is_unavailable(own_postgres: PostgresService) -> None:
    """Unavailable within seconds; once it is back, the next ones find orders."""
    migrate(own_postgres.dsn)

    async def scenario() -> None:
        async with finding(own_postgres.dsn) as finder:
            assert (await first_page(finder)).total == OrderTotal(0, is_estimate=False)
            await asyncio.to_thread(own_postgres.stop)
            begun = monotonic()
            for wanted in (EVERYTHING, Criteria("phone", "1"), Criteria("q", "a")):
                with pytest.raises(Unavailable):
                    await first_page(finder, wanted)
            with pytest.raises(Unavailable):
                await finder.documents(["a"], 1)
            assert monotonic() - begun < 4 * module.ANSWER_SECONDS
            await asyncio.to_thread(own_postgres.start)
            assert await returned(finder)

    asyncio.run(scenario())


async def returned(finder: OrderFinder) -> Found:
    """The first page that is found again."""
    end = monotonic() + 20
    while True:
        try:
            return await first_page(finder)
        except Unavailable:
            assert monotonic() < end
