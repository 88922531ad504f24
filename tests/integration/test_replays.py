"""Replays of dead letters on a real PostgreSQL: what they change, and what the dead letter is told meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from orders.ingest.store import NEWER, UNMET, Store
from orders.ingest.writer import Writer
from orders.memory.shared import Memory
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Condition, Entry, Span
from support.entries import TOPIC_ID, delete, invalid, replay, upsert

ABSENT = Condition(None)


class Bench(NamedTuple):
    """A writer and its database, with a dead letter at offset 4 of partition 0."""

    writer: Writer
    dsn: str

    def write(self, *entries: Entry, partition: int = 0) -> None:
        first, last = entries[0].record.offset, entries[-1].record.offset
        self.place(partition, first)
        self.writer.write(Batch(entries, {partition: Span(first, last + 1)}), TOPIC_ID)

    def place(self, partition: int, offset: int) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "insert into positions values ('orders', %s, %s, %s) "
                "on conflict (topic_id, partition) do update set next_offset = excluded.next_offset",
                (TOPIC_ID, partition, offset),
            )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(sql.encode()).fetchall()

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return self.rows("select state, outcome, reason from dead_letter_actions order by id")

    @property
    def orders(self) -> list[tuple[Any, ...]]:
        return self.rows("select order_uid, payment_amount from orders order by 1")


@pytest.fixture
def bench(postgres_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    migrate(postgres_dsn)
    memory = Memory.create(tmp_path / "memory" / "file", 8 * 2**20)
    store = Store(lambda: connect(postgres_dsn, "test"), "orders")
    made = Bench(Writer(store, memory), postgres_dsn)
    made.write(invalid(offset=4))
    yield made
    store.close()
    memory.close()


def test_a_replay_is_stored_and_its_dead_letter_told_in_the_same_transaction(bench: Bench) -> None:
    bench.write(upsert("a", 1, offset=9, replay=replay(4)))
    assert bench.orders == [("a", 1)]
    assert bench.told == [("replayed", "created", "")]
    place = bench.rows('select topic_id, partition, "offset", attempt, by_user from dead_letter_actions')
    assert place == [(TOPIC_ID, 0, 9, "0" * 32, None)]
    assert bench.rows('select "offset", value from dead_letters') == [(4, b"{")]


def test_a_replay_is_refused_where_the_stored_row_is_newer_unless_forced(bench: Bench) -> None:
    bench.write(upsert("a", 1, offset=5))
    bench.write(upsert("a", 2, offset=9, replay=replay(4)))
    assert bench.orders == [("a", 1)]
    bench.write(upsert("a", 2, offset=10, replay=replay(4, attempt=1, forced=True)))
    assert bench.orders == [("a", 2)]
    assert bench.told == [(None, "conflict", NEWER), ("replayed", "replaced", "")]


def test_a_replay_replaces_an_older_row_and_one_of_another_partition_by_its_time(bench: Bench) -> None:
    bench.write(upsert("a", 1, offset=3))
    bench.write(upsert("b", 1, partition=1, offset=30), partition=1)
    bench.write(
        upsert("a", 2, offset=9, replay=replay(4)), upsert("b", 2, offset=10, replay=replay(4, attempt=1))
    )  # all records have the same time: none is newer
    assert bench.orders == [("a", 2), ("b", 2)]


@pytest.mark.parametrize("time", ["infinity", "294276-12-31 23:59:59Z"])
def test_a_row_whose_time_was_set_by_hand_is_compared_or_counts_as_newer(bench: Bench, time: str) -> None:
    bench.write(upsert("b", 1, partition=1, offset=30), partition=1)
    with psycopg.connect(bench.dsn) as connection:
        connection.execute("update orders set record_time = %s", (time,))
    bench.write(upsert("b", 2, offset=10, replay=replay(4)))
    assert bench.told == [(None, "conflict", NEWER)]


def test_dead_letters_of_one_order_come_back_one_after_the_other(bench: Bench) -> None:
    """A row that came from a replay is as old as its dead letter; a record of its own is not."""
    bench.write(invalid(offset=5))
    bench.write(upsert("a", 1, offset=9, replay=replay(4)))
    bench.write(upsert("a", 2, offset=10, replay=replay(5, attempt=1)))
    bench.write(upsert("a", 1, offset=11, replay=replay(4, attempt=2)))
    bench.write(upsert("a", 3, offset=12))
    bench.write(upsert("a", 2, offset=13, replay=replay(5, attempt=3)))
    assert bench.orders == [("a", 3)]
    assert [outcome for _, outcome, _ in bench.told] == ["created", "replaced", "conflict", "conflict"]


def test_a_replay_that_is_refused_again_leaves_its_dead_letter_open_and_makes_no_second(bench: Bench) -> None:
    bench.write(invalid(offset=9, replay=replay(4), reason="still wrong"))
    assert bench.told == [(None, "refused", "still wrong")]
    assert bench.rows('select "offset" from dead_letters') == [(4,)]


def test_a_replay_that_postgresql_refuses_is_reported_and_makes_no_second_dead_letter(bench: Bench) -> None:
    with psycopg.connect(bench.dsn) as connection:
        connection.execute("alter table orders add check (payment_amount <> 666)")
    bench.write(upsert("a", 666, offset=9, replay=replay(4)), upsert("b", 1, offset=10))
    ((state, outcome, reason),) = bench.told
    assert (state, outcome) == (None, "refused")
    assert "23514" in reason
    assert bench.rows('select "offset" from dead_letters') == [(4,)]
    assert bench.orders == [("b", 1)]


def test_an_invalid_message_that_names_no_dead_letter_is_one_itself(bench: Bench) -> None:
    bench.write(invalid(offset=9, replay=replay(77)))
    assert bench.rows('select "offset" from dead_letters order by 1') == [(4,), (9,)]
    assert bench.told == []


def test_the_condition_that_the_message_carries_is_reported_where_it_does_not_hold(bench: Bench) -> None:
    bench.write(upsert("a", 1, offset=3))
    bench.write(upsert("a", 2, offset=9, condition=ABSENT, replay=replay(4)))
    assert bench.told == [(None, "conflict", UNMET)]


def test_the_whole_topic_read_again_changes_nothing_and_tells_nothing_twice(bench: Bench) -> None:
    topic = [
        invalid(offset=4),
        upsert("a", 1, offset=5),
        invalid(offset=6),
        upsert("a", 2, offset=7, replay=replay(4)),
        upsert("b", 2, offset=8, replay=replay(6, attempt=1)),
        upsert("c", 2, offset=9, replay=replay(6, attempt=2)),
        upsert("c", 3, offset=10),
        invalid(offset=11, replay=replay(6, attempt=3)),
        delete("nobody", offset=12, replay=replay(6, attempt=4)),
    ]
    bench.write(*topic)
    everything = (
        "select (select json_agg(o order by o.order_uid) from orders o)::text, "
        "(select json_agg(d order by d.id) from dead_letters d)::text, "
        "(select json_agg(a order by a.id) from dead_letter_actions a)::text"
    )
    before = bench.rows(everything)
    assert bench.orders == [("a", 1), ("b", 2), ("c", 3)]
    bench.write(*topic)
    for entry in topic:
        bench.write(entry)
    assert bench.rows(everything) == before


def test_a_topic_read_into_an_empty_database_comes_out_the_same(bench: Bench) -> None:
    """However it is cut: a dead letter and its replay may be in one batch."""
    topic = [invalid(offset=4), upsert("a", 1, offset=5), upsert("a", 2, offset=6, replay=replay(4)), invalid(offset=7)]
    with psycopg.connect(bench.dsn) as connection:
        connection.execute("truncate dead_letters, dead_letter_actions, orders")
    bench.write(*topic)
    assert (bench.orders, bench.told) == ([("a", 1)], [(None, "conflict", NEWER)])
    assert bench.rows('select "offset" from dead_letters order by 1') == [(4,), (7,)]
