"""An older copy of Kafka's data directory is put back under a running machine that takes POSTs."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from orders.embedded.kafka import KafkaService
from orders.topic import create_topic
from support.background import Background
from support.load import KNOWN, Load
from support.machine import Machine
from support.restarting import RestartingMachine
from support.services import started_kafka
from support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
TOPIC = "orders"
WENT_BACK = "select partition from positions where stop = 'went_back' order by partition"


@pytest.fixture
def own_kafka() -> Iterator[KafkaService]:
    """A Kafka that this test may break."""
    with started_kafka() as service:
        yield service


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


class Backup:
    """A copy of a broker's data, metadata and all, taken while it is stopped."""

    def __init__(self, kafka: KafkaService) -> None:
        self._kafka = kafka
        self._data = kafka._directory / "data"
        self._copy = self._data.with_name(secrets.token_hex(4))
        kafka.stop()
        subprocess.run(["cp", "-a", self._data, self._copy], check=True, timeout=60)
        kafka.start()

    def put_back(self) -> None:
        self._kafka.stop()
        self._data.rename(self._data.with_name(f"{self._copy.name}-newer"))
        self._copy.rename(self._data)
        self._kafka.start()


@contextmanager
def posting(load: Load) -> Iterator[None]:
    """POSTs all the time, and GETs of an order that is in memory, which must be answered."""
    assert load.poster.post(KNOWN) == 201
    wait_for(lambda: is_readable(load, KNOWN), "the known order")
    with Background(load.poster.step, every=0.05), Background(load.get, every=0.02):
        yield


def saved(load: Load, count: int) -> None:
    """Until so many more POSTs are saved."""
    before = load.poster.answers[201]
    wait_for(lambda: load.poster.answers[201] >= before + count, "POSTs are saved", 60)


def is_readable(load: Load, order_uid: str) -> bool:
    return httpx.get(f"{load.machine.url}/orders/{order_uid}", timeout=10).status_code == 200


def is_alive(machine: Machine) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{machine.url}/livez", timeout=10).status_code == 200
    return False


def stopped(machine: Machine) -> list[int]:
    """Partitions that are stopped because their log went back."""
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        return [partition for (partition,) in connection.execute(WENT_BACK).fetchall()]


def check_promises(load: Load) -> None:
    """Whatever was said to be saved is there."""
    assert [uid for uid in load.poster.promised if not is_readable(load, uid)] == []


def check_nothing_is_claimed(load: Load) -> None:
    load.poster.begin_anew()
    wait_for(lambda: load.poster.answers.total() >= 4, "more POSTs", 60)
    assert not load.poster.answers.keys() & {200, 201}


def test_an_older_copy_of_kafkas_data_that_is_put_back_stops_consumption_until_it_is_resumed(
    machine: Machine, load: Load, own_kafka: KafkaService
) -> None:
    """GETs go on, what was saved stays, nothing is claimed of what goes where other records were lost.

    Kafka's clients have seen a later state of the cluster and wait for it: they are made anew with their processes.
    """
    with posting(load):
        saved(load, 60)
        backup = Backup(own_kafka)
        wait_for(machine.is_ready, "ready with the same data", 60)
        saved(load, 200)
        backup.put_back()
        wait_for(lambda: "cannot tell its offsets" in load.reason("assignment"), "/readyz says why", 30)
        check_nothing_is_claimed(load)
    for kind in machine.pids:
        machine.kill(kind)
        assert machine.await_end(kind, 20)
        machine.start(kind)
    wait_for(lambda: is_alive(machine), "serve listens", 30)
    wait_for(lambda: stopped(machine) == [0, 1, 2, 3], "every partition is stopped", 60)
    wait_for(lambda: "the log went back" in load.reason("assignment"), "/readyz says why", 30)
    check_promises(load)
    resumed = machine.command("resume", "--all", "--from", "beginning")
    assert resumed.returncode == 0, resumed
    wait_for(machine.is_ready, "all is well", 60)
    assert load.poster.post("after") == 201
    load.catch_up(30)
    check_promises(load)
    model = load.traffic.model()
    assert [uid for uid in model.orders if not is_readable(load, uid)] == [], "what Kafka holds is stored"
