"""What a process holds stays bounded, however much waits in the topic and however large its records are.

The bound is that of docs/operations.md. What is resident counts pages of the shared memory too, here up to 32 MB.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import LiteralString, NamedTuple

import psutil
import psycopg
import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, not exported
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from psycopg import sql

from orders.kafka.topic import TopicView
from orders.sample import samples
from support.background import Background
from support.checker import positions
from support.machine import Machine
from support.services import MakeTopic
from support.waiting import wait_for

MB = 2**20
BOUND = 192 * MB
"""Of one process with the default limits: 16 MB fetched ahead, 8 MB or 4,000 records in a batch."""
COPIES = 4
"""Of one record that is larger than the limits: Kafka's answer, the record, and what goes to PostgreSQL."""


class Message(NamedTuple):
    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


def orders(count: int) -> Iterator[Message]:
    return (Message(b"%d" % number, value, []) for number, value in enumerate(samples(count, 5)))


def of_values(count: int) -> Iterator[Message]:
    return (Message(b"%d" % n, value.ljust(999_000), []) for n, value in enumerate(samples(count, 5)))


def of_keys(count: int) -> Iterator[Message]:
    return (Message(b"%0900000d" % n, value, []) for n, value in enumerate(samples(count, 5)))


def of_headers(count: int) -> Iterator[Message]:
    return (Message(b"%d" % n, value, [("h", bytes(900_000))]) for n, value in enumerate(samples(count, 5)))


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    """Its ingest does not run yet, so that a backlog can be made."""
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), ingests=1) as made:
        made.kill("ingest 0")
        assert made.await_end("ingest 0", 10)
        yield made


def produce(machine: Machine, messages: Iterable[Message], config: Mapping[str, str | int] | None = None) -> int:
    """Sends all of them and gives their number; `config` are more properties of the producer."""
    refused: list[KafkaError] = []

    def report(error: KafkaError | None, _message: object) -> None:
        if error:
            refused.append(error)

    producer = Producer(
        {
            "bootstrap.servers": machine.settings.kafka_bootstrap,
            "partitioner": "murmur2_random",
            "queue.buffering.max.kbytes": 512 * 1024,
            "queue.buffering.max.messages": 1_000_000,
            **(config or {}),
        }
    )
    count = 0
    for count, (key, value, headers) in enumerate(messages, 1):  # noqa: B007 - the last one is the number
        while len(producer) > 100_000 or sum(map(len, (key, value))) * len(producer) > 256 * MB:
            producer.poll(0.1)
        producer.produce(machine.settings.kafka_topic, value, key, headers=headers, on_delivery=report)
    assert producer.flush(100) == 0
    assert not refused, refused[0]
    return count


class Resident:
    """The most bytes that each of a machine's processes held."""

    def __init__(self, machine: Machine) -> None:
        self._processes = {kind: psutil.Process(running.pid) for kind, running in machine._running.items()}
        self.most = dict.fromkeys(self._processes, 0)

    def look(self) -> None:
        for kind, process in self._processes.items():
            self.most[kind] = max(self.most[kind], process.memory_info().rss)


def consume(machine: Machine, seconds: float) -> dict[str, int]:
    """Starts the ingest, waits until everything is written, and gives the most bytes that each process held."""
    ends = TopicView(machine.settings.kafka, machine.settings.kafka_topic).look().ends
    machine.start("ingest 0")
    resident = Resident(machine)
    with psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection, Background(resident.look, 0.02):
        wait_for(lambda: positions(connection) == ends, "all is consumed", seconds)
    print({kind: f"{held // MB} MB" for kind, held in resident.most.items()})  # noqa: T201 - figures, with -s
    return resident.most


def count(machine: Machine, table: LiteralString) -> int:
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "backlog",
    [pytest.param(100_000, marks=pytest.mark.system), pytest.param(2_000_000, marks=pytest.mark.faults)],
)
def test_a_backlog_at_the_start_is_read_within_the_bound(machine: Machine, backlog: int) -> None:
    assert produce(machine, orders(backlog)) == backlog
    most = consume(machine, 60 + backlog / 1000)
    assert max(most.values()) < BOUND, most
    assert count(machine, "orders") == backlog
    assert count(machine, "dead_letters") == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "each", [pytest.param(200, marks=pytest.mark.system), pytest.param(2_000, marks=pytest.mark.faults)]
)
def test_records_of_1_mb_are_read_within_the_bound_wherever_their_bytes_are(machine: Machine, each: int) -> None:
    """Kafka's client counts neither keys nor headers of what it fetches ahead."""
    for messages in (of_values, of_keys, of_headers):
        assert produce(machine, messages(each)) == each
    most = consume(machine, 60 + each / 4)
    assert max(most.values()) < BOUND, most
    assert count(machine, "orders") == each
    assert count(machine, "dead_letters") == 0


@pytest.mark.system
def test_messages_of_50_mb_are_dead_letters_and_consumption_continues(machine: Machine) -> None:
    """A topic may allow them; compressed they pass a topic's default limit."""
    huge = 50 * MB
    bad = [Message(b"bad", bytes(huge), [])]
    produce(machine, [*bad, *orders(10)], {"message.max.bytes": huge + MB, "compression.type": "zstd"})
    allow(machine, huge + MB)
    produce(machine, [*bad, *orders(20)], {"message.max.bytes": huge + MB})
    most = consume(machine, 60)
    assert max(most.values()) < BOUND + 2 * COPIES * huge, most
    assert count(machine, "orders") == 20
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        kept = connection.execute("select length(value), reason from dead_letters").fetchall()
    assert kept == [(huge, "Larger than 1000000 bytes")] * 2


def allow(machine: Machine, size: int) -> None:
    """Lets the topic take records of `size` bytes."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, machine.settings.kafka_topic, incremental_configs=[entry])
    admin = AdminClient({**machine.settings.kafka})  # it has to live as long as what it was asked
    for altered in admin.incremental_alter_configs([topic]).values():
        altered.result(20)
