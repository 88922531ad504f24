"""An older copy of Kafka's data directory is put back under a running machine that takes POSTs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import psycopg
import pytest

from orders.embedded.kafka import KafkaService
from orders.kafka.topic import create_topic
from support.backup import Backup
from support.load import Load
from support.machine import Machine
from support.restarting import RestartingMachine
from support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
TOPIC = "orders"
WENT_BACK = "select partition from positions where stop = 'went_back' order by partition"


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, own_kafka: KafkaService) -> Iterator[Machine]:
    create_topic({"bootstrap.servers": own_kafka.bootstrap}, TOPIC, 4)
    with RestartingMachine(tmp_path, postgres_dsn, own_kafka.bootstrap, TOPIC) as made:
        yield made


@pytest.fixture
def load(machine: Machine) -> Iterator[Load]:
    made = Load(machine, 97)
    yield made
    made.close()


def is_alive(machine: Machine) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(f"{machine.url}/livez", timeout=10).status_code == 200
    return False


def stopped(machine: Machine) -> list[int]:
    """Partitions that are stopped because their log was truncated."""
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        return [partition for (partition,) in connection.execute(WENT_BACK).fetchall()]


def test_an_older_copy_of_kafkas_data_that_is_put_back_stops_consumption_until_it_is_resumed(
    machine: Machine, load: Load, own_kafka: KafkaService
) -> None:
    """GETs continue, what was saved stays, nothing is claimed of what goes where other records were lost.

    Kafka's clients have seen a later state of the cluster and wait for it: they are recreated with their processes.
    """
    with load.posting():
        load.saved(60, 60)
        backup = Backup(own_kafka)
        wait_for(machine.is_ready, "ready with the same data", 60)
        load.saved(200, 60)
        backup.put_back()
        wait_for(lambda: "cannot tell its offsets" in load.reason("assignment"), "/readyz says why", 30)
        load.check_nothing_is_claimed()
    for kind in machine.pids:
        machine.kill(kind)
        assert machine.await_end(kind, 20)
        machine.start(kind)
    wait_for(lambda: is_alive(machine), "serve listens", 30)
    wait_for(lambda: stopped(machine) == [0, 1, 2, 3], "every partition is stopped", 60)
    wait_for(lambda: "the log was truncated" in load.reason("assignment"), "/readyz says why", 30)
    load.check_promises()
    resumed = machine.command("resume", "--all", "--from", "beginning")
    assert resumed.returncode == 0, resumed
    wait_for(machine.is_ready, "all is well", 60)
    assert load.poster.post("after") == 201
    load.catch_up(30)
    load.check_promises()
    model = load.traffic.model()
    assert [uid for uid in model.orders if not load.is_readable(uid)] == [], "what Kafka holds is stored"
