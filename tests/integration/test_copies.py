"""Copies of dead letters in a topic: each at least once, in order, whatever fails in between."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Message
from structlog.testing import capture_logs

from orders.dead_letters.copies import COPIED_AT_ONCE, LEFT_OUT_HEADER, Copier
from orders.errors import Unavailable
from orders.ingest.store import undone
from orders.kafka.producer import Headers, OrderProducer, Report
from orders.postgres.connection import Connection, connect
from orders.postgres.migrations import migrate
from support.entries import TOPIC_ID
from support.services import MakeTopic
from support.traffic import whole_topic

ADD = (
    'insert into dead_letters (topic, topic_id, partition, "offset", key, value, header_names, header_values, '
    "reason, path) values ('orders', %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


class Failing:
    """A producer whose records are lost: `at` the call, or at the acknowledgement."""

    def __init__(self, topic: str, at: str) -> None:
        self.topic = topic
        self._at = at

    def produce(self, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: Report) -> None:
        del key, value, headers
        if self._at == "call":
            raise Unavailable("full")
        if self._at == "report":
            on_delivery(Unavailable("no acknowledgement"))

    def flush(self, timeout: float = -1) -> int:
        del timeout
        return int(self._at == "flush")


class Bench(NamedTuple):
    """A database with two partitions, and a topic for copies."""

    connection: Connection
    bootstrap: str
    target: str
    producer: OrderProducer

    def add(self, partition: int, offset: int, value: bytes | None = b"{", headers: Any = ((), ())) -> None:
        names, values = headers
        row = (TOPIC_ID, partition, offset, b"key", value, list(names), list(values), "Expected `integer`", "$.sm_id")
        self.connection.execute(ADD, row)

    def position(self, partition: int, offset: int) -> None:
        move = "update positions set next_offset = %s where partition = %s"
        self.connection.execute(move, (offset, partition))

    def copier(self, producer: Any = None) -> Copier:
        return Copier(lambda: self.connection, producer or self.producer, "orders", lambda: False)

    def copied(self) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        return [(value_of(each), headers_of(each)) for each in whole_topic(self.bootstrap, self.target)]


def value_of(message: Message) -> bytes | None:
    value = message.value()
    assert not isinstance(value, str)
    return value


def headers_of(message: Message) -> dict[str, bytes | None]:
    headers: Any = message.headers()
    return dict(headers)


def places(bench: Bench) -> list[tuple[bytes | None, bytes | None]]:
    return [(h["__connect.errors.partition"], h["__connect.errors.offset"]) for _, h in bench.copied()]


@pytest.fixture
def bench(postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Bench]:
    migrate(postgres_dsn)
    target = make_topic(1)
    producer = OrderProducer({"bootstrap.servers": kafka_bootstrap}, target, 10)
    with connect(postgres_dsn, "test") as connection:
        connection.execute(
            "insert into positions (topic, topic_id, partition, next_offset) "
            "select 'orders', %s, partition, 0 from generate_series(0, 1) as partition",
            (TOPIC_ID,),
        )
        yield Bench(connection, kafka_bootstrap, target, producer)
    producer.close()


def test_a_copy_has_what_came_and_the_headers_of_kafka_connect(bench: Bench) -> None:
    bench.add(1, 7, b"\xff", (("trace", "none"), (b"\x00", None)))
    bench.position(1, 8)
    assert bench.copier().step(bench.connection) == 1
    ((value, headers),) = bench.copied()
    assert value == b"\xff"
    assert headers.pop("orders-dead-letter") == b"1"
    assert headers == {
        "trace": b"\x00",
        "none": None,
        "__connect.errors.topic": b"orders",
        "__connect.errors.partition": b"1",
        "__connect.errors.offset": b"7",
        "__connect.errors.connector.name": b"orders",
        "__connect.errors.task.id": b"0",
        "__connect.errors.stage": b"TASK_PUT",
        "__connect.errors.class.name": b"orders.pipeline.Writer",
        "__connect.errors.exception.class.name": b"orders.record.Invalid",
        "__connect.errors.exception.message": b"$.sm_id: Expected `integer`",
    }


def test_each_is_copied_once_where_nothing_fails_however_many_there_are(bench: Bench) -> None:
    count = COPIED_AT_ONCE + 5
    for offset in range(count):
        bench.add(0, offset)
    bench.position(0, count)
    copier = bench.copier()
    assert [copier.step(bench.connection) for _ in range(3)] == [COPIED_AT_ONCE, 5, 0]
    bench.add(0, count)
    bench.add(1, 3)
    assert copier.step(bench.connection) == 0, "their batches are not committed as far as positions tell"
    bench.position(0, count + 1)
    bench.position(1, 4)
    assert bench.copier().step(bench.connection) == 2, "another keeper continues where the first one stopped"
    assert places(bench) == [(b"0", str(each).encode()) for each in range(count + 1)] + [(b"1", b"3")]


@pytest.mark.parametrize("at", ["call", "report", "flush"])
def test_what_kafka_did_not_acknowledge_is_copied_later(bench: Bench, at: str) -> None:
    bench.add(0, 3)
    bench.position(0, 4)
    with pytest.raises(Unavailable):
        bench.copier(Failing(bench.target, at)).step(bench.connection)
    assert bench.copier().step(bench.connection) == 1
    assert places(bench) == [(b"0", b"3")]


def test_a_keeper_killed_after_the_acknowledgement_leaves_the_copy_to_be_made_again(bench: Bench) -> None:
    bench.add(0, 3)
    bench.position(0, 4)
    with bench.connection.transaction(), undone():
        assert bench.copier().step(bench.connection) == 1
    assert bench.copier().step(bench.connection) == 1
    assert places(bench) == [(b"0", b"3")] * 2


def test_two_keepers_do_not_make_the_same_copies(bench: Bench, postgres_dsn: str) -> None:
    bench.add(0, 3)
    bench.position(0, 4)
    with connect(postgres_dsn, "other") as other:
        bench.copier().step(other)
        bench.add(0, 5)
        bench.position(0, 6)
        with other.transaction():
            other.execute("select * from dead_letter_copies for update")
            assert bench.copier().step(bench.connection) == 0
    assert bench.copier().step(bench.connection) == 1
    assert places(bench) == [(b"0", b"3"), (b"0", b"5")]


def test_what_is_too_large_for_kafka_is_reported_without_its_value(bench: Bench) -> None:
    bench.add(0, 3, b"x" * 2_000_000)
    bench.add(0, 4, b"{", (["h" * 200] * 10_000, [b"x"] * 10_000))
    bench.position(0, 5)
    assert bench.copier().step(bench.connection) == 2
    copies = bench.copied()
    assert [value for value, _ in copies] == [None, None]
    assert all(LEFT_OUT_HEADER in headers and "h" * 200 not in headers for _, headers in copies)


def test_what_its_topic_refuses_is_copied_without_its_value_and_small_ones_beside_it_whole_and_in_order(
    bench: Bench, make_topic: MakeTopic
) -> None:
    """Brokers refuse a whole batch: it is copied again, each alone, and does not keep all others waiting."""
    target = make_topic(1, {"max.message.bytes": "5000"})
    for offset in range(COPIED_AT_ONCE):
        bench.add(0, offset, b"x" * (6000 if offset == 7 else 600))
    bench.position(0, COPIED_AT_ONCE)
    producer = OrderProducer({"bootstrap.servers": bench.bootstrap}, target, 10)
    assert bench.copier(producer).step(bench.connection) == COPIED_AT_ONCE
    producer.close()
    copies = bench._replace(target=target).copied()
    offsets = [int(headers["__connect.errors.offset"] or b"") for _, headers in copies]
    assert offsets == list(range(COPIED_AT_ONCE))
    assert [offset for offset, (value, _) in enumerate(copies) if value is None] == [7]


def test_positions_that_were_set_back_are_copied_from_again(bench: Bench) -> None:
    bench.add(0, 3)
    bench.position(0, 4)
    copier = bench.copier()
    assert copier.step(bench.connection) == 1
    bench.position(0, 2)
    assert copier.step(bench.connection) == 0
    bench.position(0, 4)
    assert copier.step(bench.connection) == 1


def test_an_outage_is_logged_once_and_its_end_once_however_often_it_is_tried(bench: Bench) -> None:
    bench.add(0, 3)
    bench.position(0, 4)
    tries = 0
    with capture_logs() as logs:

        def unavailable() -> Connection:
            nonlocal tries
            tries += 1
            if tries <= 3:
                raise Unavailable("PostgreSQL cannot be reached")
            return bench.connection

        Copier(unavailable, bench.producer, "orders", lambda: any("copied" in each["event"] for each in logs)).run()
    assert [(each["event"], each.get("reason")) for each in logs] == [
        ("copies_wait", "PostgreSQL cannot be reached"),
        ("copies_continue", None),
        ("dead_letters_copied", None),
    ]
    assert logs[1]["seconds"] > 0
