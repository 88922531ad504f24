"""Stops on a real PostgreSQL: written with the batch that reaches the limit, and kept until somebody resumes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from orders.errors import PositionsMoved
from orders.ingest.dead_letter_limit import Limit
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.memory.shared import Memory
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Entry, Position, Span
from support.entries import TOPIC_ID, invalid, upsert

LIMIT = Limit(8, 50)


class Bench(NamedTuple):
    """A writer whose partitions stop after four dead letters among eight records."""

    writer: Writer
    store: Store
    dsn: str

    def write(self, *entries: Entry) -> None:
        places = sorted((entry.record.partition, entry.record.offset) for entry in entries)
        ends = {partition: offset + 1 for partition, offset in places}
        begins = dict(reversed(places))
        self.writer.write(Batch(entries, {p: Span(begins[p], ends[p]) for p in ends}), TOPIC_ID)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()

    def position(self, partition: int) -> Position:
        return self.store.positions()[TOPIC_ID, partition]


@pytest.fixture
def bench(postgres_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    migrate(postgres_dsn)
    store = Store(lambda: connect(postgres_dsn, "test"), "orders")
    store.begin(TOPIC_ID, {0: 0, 1: 0})
    memory = Memory.create(tmp_path / "memory" / "file", 8 * 2**20)
    yield Bench(Writer(store, memory, limit=LIMIT), store, postgres_dsn)
    store.close()
    memory.close()


def mixed(begin: int, end: int, *bad: int, partition: int = 0) -> list[Entry]:
    """Records of a partition from one offset to another, some of them invalid."""
    good = [upsert(f"u{partition}-{n}", partition=partition, offset=n) for n in range(begin, end)]
    return [invalid(partition=partition, offset=e.record.offset) if e.record.offset in bad else e for e in good]


def test_a_batch_that_reaches_the_limit_is_written_up_to_there_with_the_stop(bench: Bench) -> None:
    with pytest.raises(PositionsMoved, match=r"4 of the last 8 records of orders/0 became dead letters"):
        bench.write(*mixed(0, 10, 1, 3, 5, 6, 8), *mixed(0, 3, partition=1))
    assert bench.rows('select partition, "offset" from dead_letters order by "offset"') == [
        (0, n) for n in (1, 3, 5, 6)
    ]
    assert bench.rows("select order_uid from orders order by id") == [
        *((f"u0-{n}",) for n in (0, 2, 4)),
        *((f"u1-{n}",) for n in range(3)),
    ]
    stopped = bench.position(0)
    assert (stopped.offset, stopped.stop and stopped.stop.kind) == (7, "dead_letters")
    assert bench.position(1) == Position(3)


def test_nothing_is_written_of_a_partition_that_is_stopped(bench: Bench) -> None:
    with pytest.raises(PositionsMoved):
        bench.write(*mixed(0, 4, 0, 1, 2, 3))
    with pytest.raises(PositionsMoved):
        bench.write(*mixed(4, 6), *mixed(0, 1, partition=1))
    assert bench.rows("select count(*) from orders") == [(0,)]


def test_the_count_continues_from_batch_to_batch_and_for_another_writer(bench: Bench, tmp_path: Path) -> None:
    bench.write(*mixed(0, 3, 0, 2))
    bench.write(*mixed(3, 5, 4))
    memory = Memory.create(tmp_path / "other" / "file", 8 * 2**20)
    other = Bench(Writer(bench.store, memory, limit=LIMIT), bench.store, bench.dsn)
    with pytest.raises(PositionsMoved):
        other.write(*mixed(5, 9, 6))
    memory.close()
    assert bench.position(0).offset == 7


def test_what_postgresql_refuses_counts_too(bench: Bench) -> None:
    """Found one by one; the halves behind the stop are left for anyone who resumes."""
    with psycopg.connect(bench.dsn) as connection:
        connection.execute("alter table orders add check (payment_amount <> 666)")
    with pytest.raises(PositionsMoved):
        bench.write(*(upsert(f"u{n}", 666 if n % 2 else 1, offset=n) for n in range(16)))
    assert bench.position(0).offset == 8
    assert bench.rows("select count(*) from dead_letters") == [(4,)]
    assert bench.rows("select count(*) from orders") == [(4,)]
