"""The embedded Kafka: its data through every kind of end."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from orders.embedded.jars import pinned
from orders.embedded.kafka import KIND, KafkaService, version
from orders.embedded.ports import LOOPBACK
from orders.errors import StartError
from support.services import open_folder
from support.standin import Lines, started_by_another
from support.waiting import wait_for

TOPIC = "notes"


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder / "kafka"


@pytest.fixture
def service(directory: Path) -> Iterator[KafkaService]:
    kafka = KafkaService(directory)
    yield kafka
    kafka.stop()


def note(bootstrap: str) -> int:
    """Adds a message, and gives the number of messages that are there now."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    if TOPIC not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(TOPIC, 1, 1)], operation_timeout=10)[TOPIC].result(10)
    errors: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(TOPIC, b"note", on_delivery=lambda error, _: errors.append(error))
    producer.flush(20)
    assert errors == [None]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "notes"})
    try:
        marks = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=10)
    finally:
        consumer.close()
    assert marks is not None
    return int(marks[1] - marks[0])


def test_data_and_address_live_through_a_kill_and_a_stop(service: KafkaService, directory: Path) -> None:
    """Killed with -9 and started, left running and started by another: all messages are there, at one address.

    Takes 10 s: three starts of Kafka.
    """
    service.start()
    bootstrap, first = service.bootstrap, note(service.bootstrap)
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    wait_for(lambda: not service.running(), "its end")
    service.start()
    second = note(bootstrap)
    other, lines = KafkaService(directory), Lines()
    other.start(lines)
    assert (first, second, note(other.bootstrap)) == (1, 2, 3)
    assert lines.told[0].startswith("ended a Kafka that an earlier start left")
    assert (directory / "version").read_text() == f"{version(pinned())}\n"
    other.stop()
    assert other.pid is None


def test_it_ends_with_the_process_that_started_it_and_moves_from_a_taken_port(
    directory: Path, service: KafkaService
) -> None:
    """A supervisor killed with -9 leaves no Kafka; when its port is another's by then, the data moves to a new one."""
    with started_by_another("kafka", directory) as (starter, pid):
        port = int((directory / "ports").read_text().split()[0])
        assert note(f"{LOOPBACK}:{port}") == 1
        starter.kill()
        wait_for(lambda: not psutil.pid_exists(pid), "the end of Kafka", KIND.grace + 5)
    with socket.create_server((LOOPBACK, port)):
        service.start()
        assert service.bootstrap != f"{LOOPBACK}:{port}"
        assert note(service.bootstrap) == 2


def formatted(directory: Path, version: str) -> None:
    """Storage that some version of Kafka made."""
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "meta.properties").touch()
    (directory / "version").write_text(f"{version}\n")


@pytest.mark.parametrize("made", ["4.4.0", "4.10.0", "5.0.0"])
def test_newer_data_is_refused_with_the_version_that_made_it(service: KafkaService, directory: Path, made: str) -> None:
    formatted(directory, made)
    with pytest.raises(
        StartError, match=rf"was made by Kafka {made}, and ours is 4\.3\.1, which cannot read it: start"
    ):
        service.start()
    assert service.pid is None


@pytest.mark.parametrize("made", ["4.3.1", "4.3.9", "4.2.0", "3.9.0", ""])
def test_older_data_and_that_of_another_bugfix_are_taken(service: KafkaService, directory: Path, made: str) -> None:
    # Kafka's metadata keeps its version until somebody raises it, and every later Kafka reads it.
    formatted(directory, made)
    service._refuse_newer_data("4.3.1")
