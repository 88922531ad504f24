"""Reads on a real PostgreSQL: what is found goes to memory, what is unavailable is said so in time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders.api.reader import FoundOrder, OrderReader
from orders.errors import Misconfigured, Rejected, Unavailable
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.memory.shared import Memory
from orders.order import document
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Condition, Entry, RecordCoordinates, Span
from orders.timing import monotonic
from support.entries import TOPIC_ID, content, upsert
from support.proxy import LosingProxy
from support.waiting import wait_for


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory.create(tmp_path / "memory" / "file", 2**20)
    yield made
    made.close()


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    return postgres_dsn


def write(dsn: str, memory: Memory, *entries: Entry) -> None:
    """As ingest does."""
    store = Store(lambda: connect(dsn, "test"), "orders")
    store.begin(TOPIC_ID, {0: entries[0].record.offset})
    span = Span(entries[0].record.offset, entries[-1].record.offset + 1)
    Writer(store, memory).write(Batch(entries, {0: span}), TOPIC_ID)
    store.close()


@asynccontextmanager
async def reading(dsn: str, memory: Memory) -> AsyncIterator[OrderReader]:
    reader = OrderReader(dsn, "orders", 2, memory, monotonic)
    await reader.open()
    try:
        yield reader
    finally:
        await reader.close()


def test_an_order_is_read_and_put(dsn: str, memory: Memory) -> None:
    """The served bytes with their version; memory has them soon after; an unknown one is None."""
    write(dsn, memory, upsert("a"), upsert("b", offset=1))
    memory.empty()

    async def scenario() -> None:
        async with reading(dsn, memory) as reader:
            found = await asyncio.gather(*(reader.order(uid) for uid in ("a", "b", "c", "a")))
            assert found[0] is not None
            assert found[0] == found[3]
            assert found[0].document == document(1, content("a").text)
            assert found[1] is not None
            assert found[2] is None
            await asyncio.to_thread(wait_for, lambda: memory.get(b"a") and memory.get(b"b"))
            assert memory.get(b"a") == found[0].document

    asyncio.run(scenario())


def test_outcomes_and_positions(dsn: str, memory: Memory) -> None:
    """Outcomes of the places asked for and no others; positions by topic id and partition."""
    absent = Condition(None)
    created = upsert("a", condition=absent, reply=True)
    conflict = upsert("a", 2, offset=1, condition=absent, reply=True)
    write(dsn, memory, created, conflict, upsert("b", offset=2))

    async def scenario() -> None:
        async with reading(dsn, memory) as reader:
            places = [RecordCoordinates(TOPIC_ID, 0, offset) for offset in range(4)]
            told = await reader.outcomes(places)
            assert {p.offset: (t.outcome, t.order_uid) for p, t in told.items()} == {
                0: ("created", "a"),
                1: ("conflict", "a"),
            }
            assert await reader.outcomes([RecordCoordinates("other", 0, 0), RecordCoordinates(TOPIC_ID, 1, 0)]) == {}
            assert await reader.positions() == {(TOPIC_ID, 0): 3}

    asyncio.run(scenario())


FILL = (
    'insert into dead_letter_actions (dead_letter, action, attempt, topic_id, partition, "offset") '
    "select n, 'outcome', n::text, 't', n % 4, n from generate_series(1, 2000) as n"
)
INDEXES = {
    "documents_by_uid": "orders_pkey",
    "outcomes_at": "outcomes_pkey",
    "dead_letters_at": "dead_letters_pkey",
    "replayed_into": "dead_letter_actions_place",
    "outcomes_of_attempts": "dead_letter_actions_attempt",
    "actions_of_dead_letter": "dead_letter_actions_letter",
    "dead_letter": "dead_letters_id",
    "dead_letters_between": "dead_letters_pkey",
}


def test_reads_use_their_indexes(dsn: str) -> None:
    """Neither orders nor outcomes nor dead letters are scanned as a whole."""
    from orders.postgres.connection import queries  # noqa: PLC0415 - the statements themselves are what is looked at

    values = {"uids": ["a"], "topic_ids": ["t"], "partitions": [0], "offsets": [0]}
    values |= {"attempts": ["a"], "id": 1, "topic_id": "t", "partition": 0, "begin": 0, "end": 1, "most": 1}
    with psycopg.connect(dsn) as connection:
        connection.execute(FILL)
        connection.execute("analyze dead_letter_actions")
        connection.execute("set enable_seqscan = off")
        for name, index in INDEXES.items():
            plan = connection.execute("explain " + queries[name], values).fetchall()
            assert any(index in line for (line,) in plan), plan


def test_postgresql_unavailable_from_the_start(memory: Memory) -> None:
    """Opening does not wait; a read says `Unavailable` within two seconds."""

    async def scenario() -> float:
        async with reading("postgresql://u:p@127.0.0.1:1/none", memory) as reader:
            begun = monotonic()
            with pytest.raises(Unavailable):
                await reader.order("a")
            return monotonic() - begun

    assert asyncio.run(scenario()) < 2.5


def test_a_login_that_is_refused_is_the_set_ups_fault_and_says_so(dsn: str, memory: Memory) -> None:
    # The pool itself only says that it has no connection.
    async def scenario() -> None:
        async with reading(make_conninfo(dsn, password="sesame"), memory) as reader:
            with pytest.raises(Misconfigured, match=r"password authentication failed .*: correct the user") as caught:
                await reader.order("a")
            assert "sesame" not in str(caught.value)

    asyncio.run(scenario())


def test_connections_that_were_cut_are_replaced(dsn: str, memory: Memory) -> None:
    """After PostgreSQL dropped every connection the next reads succeed."""
    write(dsn, memory, upsert("a"))

    async def scenario() -> None:
        async with reading(dsn, memory) as reader:
            await asyncio.gather(reader.order("a"), reader.positions())
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
            for _ in range(3):
                assert await reader.order("a") is not None

    asyncio.run(scenario())


def test_postgresql_that_does_not_answer(dsn: str, memory: Memory) -> None:
    """A statement that hangs is given up in time; the reader continues with its other connection."""
    write(dsn, memory, upsert("a"))

    async def scenario() -> None:
        async with reading(dsn, memory) as reader:
            await reader.order("a")
            with psycopg.connect(dsn) as blocker:
                blocker.execute("lock table orders in access exclusive mode")
                with pytest.raises(Unavailable):
                    await reader.order("a")
                await reader.positions()
            assert await reader.order("a") is not None

    asyncio.run(scenario())


def test_a_schema_that_is_not_there(postgres_dsn: str, memory: Memory) -> None:
    """A database without our tables is a misconfiguration, not an outage."""

    async def scenario() -> None:
        async with reading(postgres_dsn, memory) as reader:
            with pytest.raises(Misconfigured):
                await reader.positions()

    asyncio.run(scenario())


def test_a_reply_that_is_lost(dsn: str, memory: Memory) -> None:
    """Where a connection is cut in the middle of a statement it is asked again: never an order that is missing."""
    write(dsn, memory, upsert("a"))
    parts = conninfo_to_dict(dsn)
    with LosingProxy(str(parts["host"]), int(str(parts["port"]))) as proxy:
        through = make_conninfo(dsn, host="127.0.0.1", port=proxy.port)

        async def scenario() -> None:
            async with reading(through, memory) as reader:
                assert await reader.order("b") is None
                proxy.lose_reply_to(b"from documents where order_uid")
                assert await reader.order("a") is not None
                assert proxy.lost.is_set()

        asyncio.run(scenario())


def test_a_row_that_postgresql_cannot_serve_takes_no_other_get_with_it(dsn: str, memory: Memory) -> None:
    """Written by hand; who asks for it hears of it, who asks together with it gets an answer."""
    write(dsn, memory, *(upsert(f"u{at}", offset=at) for at in range(30)))
    with psycopg.connect(dsn) as connection:
        odd = rb"""update orders set extra = '{"order": {"a": "\u0000"}}' where order_uid in ('u3', 'u17')"""
        connection.execute(odd)

    async def scenario() -> None:
        async with reading(dsn, memory) as reader:
            await reader.order("u0")
            asked = (reader.order(f"u{at}") for at in range(31))
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert [at for at, each in enumerate(found) if isinstance(each, Rejected)] == [3, 17]
            assert [at for at, each in enumerate(found) if not isinstance(each, Rejected | FoundOrder)] == [30]

    asyncio.run(scenario())
