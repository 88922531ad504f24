"""The broker goes away, members of the group and partitions come and go, under load: nothing is lost or doubled."""

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from time import monotonic
from typing import NamedTuple

import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined] # public, not exported

from orders.embedded.kafka import KafkaService
from support.decided import all_decided_once
from support.group import Group
from support.load import Load
from support.machine import Machine
from support.restarting import RestartingMachine
from support.services import MakeTopic, Topics, open_folder
from support.waiting import wait_for

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

POST_MOST = 4.0 + 2.0
"""The machine's deadline for a POST, and what a loaded computer takes."""
HEALED_MOST = 30.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


class Place(NamedTuple):
    """Where a machine stands; `stack` ends what a test began."""

    folder: Path
    dsn: str
    bootstrap: str
    make_topic: MakeTopic
    stack: ExitStack


@pytest.fixture
def place(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic, stack: ExitStack) -> Place:
    return Place(tmp_path, postgres_dsn, kafka_bootstrap, make_topic, stack)


def begun(machine: Machine, stack: ExitStack) -> Load:
    stack.enter_context(machine)
    load = Load(machine, seed=8)
    stack.callback(load.close)
    return load


def still(seconds: float) -> None:
    """What lasts for so long."""
    Event().wait(seconds)


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.faults)])
def test_a_broker_that_goes_away_is_waited_for(
    tmp_path: Path, postgres_dsn: str, stack: ExitStack, seconds: float
) -> None:
    """Stopped, killed, or halted: no POST is promised falsely, memory serves on, and consumption continues by itself.

    Takes 40 s: three outages of 5 s each, and a broker's start after two of them.
    """
    kafka = KafkaService(stack.enter_context(open_folder()) / "kafka")
    stack.callback(kafka.stop)
    kafka.start()
    topic = Topics(kafka.bootstrap).make()
    load = begun(RestartingMachine(tmp_path, postgres_dsn, kafka.bootstrap, topic), stack)
    with load.going_on():
        for way in ("stopped", "killed", "halted"):
            load.poster.begin_again()
            without(kafka, way, seconds, load)
            healed = monotonic()
            wait_for(load.machine.is_ready, f"ready after it was {way}", HEALED_MOST)
            load.catch_up(HEALED_MOST)
            log.info("%s: healed in %.1f s, %s", way, monotonic() - healed, load.poster.answers)
            assert load.poster.slowest < POST_MOST
    load.check()
    all_decided_once(load.machine)


def without(kafka: KafkaService, way: str, seconds: float, load: Load) -> None:
    """The broker is unavailable for `seconds`, and `/readyz` says so."""
    assert kafka.pid is not None
    broker = psutil.Process(kafka.pid)
    {"stopped": kafka.stop, "killed": broker.kill, "halted": broker.suspend}[way]()
    wait_for(lambda: "Kafka" in load.reason("kafka"), "/readyz complains of Kafka", 10)
    assert load.missed()[0] == 404
    still(seconds)
    if way == "halted":
        return broker.resume()
    wait_for(lambda: not kafka.running(), "its end")
    return kafka.start()


@pytest.mark.parametrize("every", [1, pytest.param(2, marks=pytest.mark.faults)])
def test_members_that_come_and_go_lose_and_double_nothing(place: Place, protocol: str, every: float) -> None:
    """From one ingest to four and back to one, one at a time.

    Takes up to 20 s: six changes a second apart, a rebalance after each.
    """
    logins = {"ingest": {"ORDERS_KAFKA_PROTOCOL": protocol}}
    machine = Machine(place.folder, place.dsn, place.bootstrap, place.make_topic(), ingests=1, logins=logins)
    load = begun(machine, place.stack)
    others = [f"ingest {number}" for number in (1, 2, 3)]
    with load.going_on():
        for other in others:
            machine.start(other)
            still(every)
        load.catch_up(HEALED_MOST)
        for other in others:
            machine.tell(other, signal.SIGTERM)
            assert machine.await_end(other, 10)
            still(every)
            del machine._running[other]  # it was to end
        load.catch_up(HEALED_MOST)
    load.check()
    all_decided_once(load.machine)


def test_partitions_that_are_added_are_consumed_within_seconds(place: Place, protocol: str) -> None:
    """Takes up to 20 s: from a start to the last record of a load."""
    logins = {"ingest": {"ORDERS_KAFKA_PROTOCOL": protocol}}
    machine = Machine(place.folder, place.dsn, place.bootstrap, place.make_topic(), logins=logins)
    load = begun(machine, place.stack)
    admin = AdminClient({"bootstrap.servers": place.bootstrap})
    with load.going_on():
        added = admin.create_partitions([NewPartitions(machine.settings.kafka_topic, 8)])
        added[machine.settings.kafka_topic].result(10)
        began = monotonic()
        wait_for(lambda: places(place.dsn) == set(range(8)), "a position in each partition", HEALED_MOST)
        log.info("%s: consumed after %.1f s", protocol, monotonic() - began)
    load.check()
    all_decided_once(load.machine)


def places(dsn: str) -> set[int]:
    with psycopg.connect(dsn) as connection:
        return {row[0] for row in connection.execute("select partition from positions").fetchall()}


@pytest.mark.faults
def test_a_group_that_changes_its_protocol_one_ingest_after_the_other_loses_and_doubles_nothing(place: Place) -> None:
    """From the classic protocol to KIP-848 and back, under load.

    The broker may refuse a member of KIP-848 while the group still counts as a classic one, and not each time: such an
    ingest ends, and is started again until it is let in.
    """
    logins = {"ingest": {"ORDERS_KAFKA_PROTOCOL": "classic"}}
    machine = RestartingMachine(place.folder, place.dsn, place.bootstrap, place.make_topic(), logins=logins)
    load = begun(machine, place.stack)
    group = Group(machine)
    with load.going_on():
        for protocol in ("consumer", "classic"):
            logins["ingest"]["ORDERS_KAFKA_PROTOCOL"] = protocol
            for ingest in ("ingest 0", "ingest 1"):
                machine.tell(ingest, signal.SIGTERM)
                assert machine.await_end(ingest, 10)
                machine.start(ingest)
                still(2)
            wait_for(lambda: machine.is_ready() and group.is_of(protocol, 2), f"all is well by {protocol}", HEALED_MOST)  # noqa: B023 - called at once
            load.catch_up(HEALED_MOST)
    load.check()
    all_decided_once(load.machine)
