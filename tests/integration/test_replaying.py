"""Sending dead letters again, where Kafka or the ingest does not answer: nothing unsaid, nothing sent for nothing."""

import getpass
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from orders.dead_letters import stored
from orders.dead_letters.actions import discard, export
from orders.dead_letters.replay import DEAD_LETTERS_AT_ONCE, Replays
from orders.dead_letters.stored import NewAction, Wanted
from orders.errors import OrdersError, Unavailable
from orders.kafka.producer import MAX_MESSAGE_BYTES, Delivered, Headers, OrderProducer, Report
from orders.os_users import name_of
from orders.postgres.connection import Connection, connect
from orders.postgres.migrations import migrate
from support.entries import TOPIC_ID

ADD = (
    'insert into dead_letters (topic, topic_id, partition, "offset", value, header_names, header_values, reason, path) '
    "values ('orders', %s, 0, %s, %s, '{}', '{}', 'Invalid JSON', '') returning id"
)
TELL = (
    "insert into dead_letter_actions (dead_letter, action, state, attempt, outcome, reason, path, topic_id, partition, "
    "\"offset\") values (%s, 'outcome', 'replayed', %s, 'created', '', '', %s, 0, 99)"
)


class Topic(OrderProducer):
    """A producer that counts what it is given; the ingest behind it is the test's."""

    def __init__(self, result: Delivered | OrdersError | None = None) -> None:
        self.sent = 0
        self._told = result or Delivered(0, 99)

    def produce(self, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: Report) -> None:
        del key, value, headers
        self.sent += 1
        on_delivery(self._told)

    def flush(self, timeout: float = -1) -> int:
        del timeout
        return 0


class Bench(NamedTuple):
    """A database of dead letters."""

    connection: Connection

    def add(self, count: int, value: bytes = b"{") -> list[int]:
        rows = [self.connection.execute(ADD, (TOPIC_ID, offset, value)).fetchone() for offset in range(count)]
        return [int(row[0]) for row in rows if row]

    def replays(self, topic: Topic, sleep: Callable[[float], None] = lambda _: None) -> Replays:
        ticks = iter(range(1_000_000))
        return Replays(self.connection, topic, forced=False, deadline=5, clock=lambda: next(ticks), sleep=sleep)

    def told(self, number: int) -> list[tuple[Any, ...]]:
        return [(each.action, each.outcome) for each in stored.actions(self.connection, number)]

    def tell(self, numbers: list[int]) -> None:
        """What an ingest would do about replays that have no outcome yet."""
        query = "select attempt from dead_letter_actions where dead_letter = %s and action = 'replay'"
        for number in numbers:
            for (attempt,) in self.connection.execute(query, (number,)).fetchall():
                self.connection.execute(f"{TELL} on conflict do nothing", (number, attempt, TOPIC_ID))


@pytest.fixture
def bench(postgres_dsn: str) -> Iterator[Bench]:
    migrate(postgres_dsn)
    with connect(postgres_dsn, "test") as connection:
        yield Bench(connection)


def test_an_outcome_that_comes_while_it_is_waited_for_is_reported(bench: Bench) -> None:
    numbers = bench.add(2)
    results = list(bench.replays(Topic(), lambda _: bench.tell(numbers)).run(numbers))
    assert [(each.id, each.outcome, each.offset) for each in results] == [(n, "created", 99) for n in numbers]


def test_where_outcomes_stay_away_no_more_is_sent(bench: Bench) -> None:
    topic, numbers = Topic(), bench.add(DEAD_LETTERS_AT_ONCE + 1)
    results = list(bench.replays(topic).run(numbers))
    assert [each.outcome for each in results] == [None] * DEAD_LETTERS_AT_ONCE
    assert topic.sent == DEAD_LETTERS_AT_ONCE
    assert bench.told(numbers[0]) == [("replay", None)]
    assert bench.told(numbers[-1]) == []
    assert stored.dead_letter(bench.connection, numbers[0]).state == "open"


def test_what_kafka_does_not_acknowledge_is_an_error_and_stays_open(bench: Bench) -> None:
    numbers = bench.add(1)
    with pytest.raises(Unavailable, match="no acknowledgement"):
        list(bench.replays(Topic(Unavailable("no acknowledgement"))).run(numbers))
    assert bench.told(numbers[0]) == [("replay", None)]
    assert stored.dead_letter(bench.connection, numbers[0]).state == "open"


def test_what_is_too_large_is_reported_and_not_sent(bench: Bench) -> None:
    topic = Topic()
    (number,) = bench.add(1, b"x" * MAX_MESSAGE_BYTES)
    (result,) = bench.replays(topic).run([number])
    assert (result.outcome, topic.sent, bench.told(number)) == ("unsent", 0, [])


def test_a_dead_letter_is_what_its_last_action_made_of_it(bench: Bench) -> None:
    first, second = bench.add(2)
    stored.keep(bench.connection, [NewAction(first, "replay", attempt="a"), NewAction(second, "discard", "discarded")])
    bench.tell([first])
    stored.keep(bench.connection, [NewAction(first, "edit", value=b""), NewAction(second, "export")])
    assert [stored.dead_letter(bench.connection, each).state for each in (first, second)] == ["replayed", "discarded"]
    assert stored.dead_letter(bench.connection, first).current == b""
    assert stored.chosen(bench.connection, Wanted(state="open")) == ([], 2)
    assert stored.chosen(bench.connection, Wanted(state="discarded")) == ([second], 1)
    assert stored.chosen(bench.connection, Wanted()) == ([first, second], 0)


def test_who_did_it_is_a_name_or_a_number() -> None:
    assert name_of(os.getuid()) == getpass.getuser()
    assert name_of(2**31 - 7) == str(2**31 - 7)


def test_many_are_discarded_and_exported_in_parts(bench: Bench) -> None:
    numbers = bench.add(450)
    parts: list[int] = []
    discard(bench.connection, numbers, parts.append)
    assert parts == [200, 200, 50]
    assert [each.id for each in export(bench.connection, numbers)] == numbers
    assert bench.told(numbers[-1]) == [("discard", None), ("export", None)]
