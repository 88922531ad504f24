"""Hostile messages at 1 %, 50 % and 100 % of a partition's traffic: above the limit it stops, others continue."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import httpx2
import psycopg
import pytest
from confluent_kafka import Producer

from support.checker import caught_up, check, positions
from support.machine import Machine
from support.services import MakeTopic
from support.traffic import SMALL, Traffic
from support.waiting import wait_for

pytestmark = pytest.mark.system

HOSTILE = {0: 100, 1: 2, 2: 1}
"""Of how many records of each partition one is hostile; partition 3 has none."""
COUNTS = {0: 1000, 1: 1000, 2: 600, 3: 200}
STOPPED = {1: 499, 2: 250}
"""Where partitions stop by default: with their 250th dead letter among 1,000 records."""


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic()) as made:
        yield made


def send(machine: Machine, traffic: Traffic) -> None:
    """The corpus of hostile messages again and again, among valid orders."""
    producer = Producer({"bootstrap.servers": machine.settings.kafka_bootstrap, "enable.idempotence": True})
    hostile = cycle(SMALL)
    for partition, count in COUNTS.items():
        for number in range(count):
            bad = partition in HOSTILE and number % HOSTILE[partition] == 0
            value = next(hostile) if bad else traffic.new().text
            producer.produce(machine.settings.kafka_topic, value, None, partition)
    assert producer.flush(30) == 0


def stand(machine: Machine) -> dict[int, int]:
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        return positions(connection)


def told(machine: Machine) -> list[str]:
    """The partitions that the metrics call stopped."""
    lines = httpx2.get(f"{machine.url}/metrics", timeout=10).text.splitlines()
    return sorted(line for line in lines if line.startswith("orders_partition_stopped{"))


def expected(*partitions: int) -> list[str]:
    return [f'orders_partition_stopped{{partition="{n}",reason="dead_letters"}} 1.0' for n in partitions]


def resume(machine: Machine, *words: str, status: int = 0) -> list[str]:
    """What the command says, a line each."""
    done = machine.command("resume", *words)
    assert (done.returncode, done.stderr) == (status, b"")
    return done.stdout.decode().splitlines()


def test_partitions_above_the_limit_stop_for_every_ingest_until_they_are_resumed(machine: Machine) -> None:
    """Takes over 10 s: partitions stop, ingests are killed, and all is resumed, one after the other."""
    traffic = Traffic(5, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
    send(machine, traffic)
    wait_for(lambda: stand(machine) == COUNTS | STOPPED, "two stop, two are read", 40)
    wait_for(lambda: told(machine) == expected(1, 2), "the metrics say so", 20)
    reason = httpx2.get(f"{machine.url}/readyz", timeout=10).json()["parts"]["assignment"]["reason"]
    assert "became dead letters: see `orders dead-letters list`" in reason

    for victim in ("ingest 0", "ingest 1"):
        machine.kill(victim)
        assert machine.await_end(victim, 20)
    machine.start("ingest 1")
    wait_for(lambda: told(machine) == expected(1, 2), "the one that has them all stops them too", 40)
    assert stand(machine) == COUNTS | STOPPED

    topic = machine.settings.kafka_topic
    first, again = resume(machine, "--partition", "1", status=1)
    assert first == f"{topic} continues: partition 1 at 499"
    assert again.startswith(f"{topic}/1 stopped again at 999: 250 of the last 1000 records ")
    assert stand(machine)[1] == 999, "250 dead letters later"
    machine.start("ingest 0")
    resume(machine, "--all", "--records", "600")
    caught_up(machine)
    wait_for(machine.is_ready, "all is well", 30)
    assert told(machine) == []
    check(machine, traffic.model(), {})
