"""The topic changes under a running machine that takes POSTs: it is recreated, or retention passes where it stands."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from orders.kafka.topic import create_topic
from support.load import Load
from support.machine import Machine
from support.services import MakeTopic
from support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic()) as made:
        yield made


@pytest.fixture
def load(machine: Machine) -> Iterator[Load]:
    made = Load(machine, 71)
    yield made
    made.close()


@pytest.fixture
def admin(machine: Machine) -> AdminClient:
    return AdminClient({**machine.settings.kafka})


def unwell(machine: Machine) -> dict[str, str]:
    """Which parts of /readyz are not well, and why."""
    parts = httpx2.get(f"{machine.url}/readyz", timeout=10).json()["parts"]
    return {name: part["reason"] for name, part in parts.items() if not part["ok"]}


def is_accepted(load: Load, order_uid: str) -> bool:
    """Whether a POST is told 202, and no more."""
    status = httpx2.post(
        f"{load.machine.url}/orders", content=load.traffic.order(order_uid, 1).text, timeout=30
    ).status_code
    assert status in {202, 503}
    return status == 202


def resume(load: Load, *options: str) -> None:
    """Lets consumption continue: what the topic has is stored, and POSTs are saved again."""
    resumed = load.machine.command("resume", *options)
    assert resumed.returncode == 0, resumed
    wait_for(lambda: load.is_readable("late"), "what Kafka has is stored", 60)
    load.poster.begin_again()
    wait_for(lambda: load.poster.answers[201], "POSTs are saved again", 40)


def check_is_well(load: Load) -> None:
    with suppress(AssertionError):  # what is not well is told below
        wait_for(lambda: not unwell(load.machine), "all is well", 40)
    assert unwell(load.machine) == {}
    load.check_promises()


def test_a_topic_recreated_under_load_stops_consumption_until_it_is_resumed(
    machine: Machine, load: Load, admin: AdminClient
) -> None:
    """GETs continue, what was saved stays, and what was accepted by the new topic is stored afterwards."""
    topic = machine.settings.kafka_topic
    with load.posting():
        load.saved(30, 10)
        admin.delete_topics([topic])[topic].result(10)
        wait_for(lambda: create_topic(machine.settings.kafka, topic, 4), "the new topic", 30)
        wait_for(lambda: "was recreated" in load.reason("assignment"), "/readyz says so", 60)
        load.check_nothing_is_claimed()
        wait_for(lambda: is_accepted(load, "late"), "serve has seen the new topic", 40)
        load.check_promises()
        resume(load, "--all", "--from", "beginning")
    check_is_well(load)


def test_retention_that_passes_the_position_under_load_stops_consumption_until_it_is_resumed(
    machine: Machine, load: Load, admin: AdminClient
) -> None:
    """It happens while no ingest runs. What is lost is named; what came after it is stored when somebody says so."""
    topic = machine.settings.kafka_topic
    with load.posting():
        load.saved(30, 10)
        for kind in ("ingest 0", "ingest 1"):
            machine.kill(kind)
            assert machine.await_end(kind, 20)
        load.check_nothing_is_claimed()
        for removed in admin.delete_records([TopicPartition(topic, n, -1) for n in range(4)]).values():
            removed.result(20)
        wait_for(lambda: is_accepted(load, "late"), "a POST is accepted", 40)
        for kind in ("ingest 0", "ingest 1"):
            machine.start(kind)
        wait_for(lambda: "retention has passed" in load.reason("assignment"), "/readyz says so", 60)
        load.check_promises()  # POSTs into a partition that lost nothing are saved
        resume(load, "--all", "--from", "beginning", "--skip")
    check_is_well(load)
