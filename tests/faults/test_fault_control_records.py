"""Transactions of producers leave control records in the log, which nobody reads, and aborted records."""

import json
from pathlib import Path

import httpx2
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from orders.sample import samples
from support.checker import caught_up
from support.machine import Machine
from support.services import MakeTopic
from support.transactions import in_a_transaction
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
ORDERS = list(samples(3, seed=7))


def remove_all(machine: Machine) -> None:
    """What retention does to a topic where nothing new comes."""
    ends = [TopicPartition(machine.settings.kafka_topic, partition, -1) for partition in range(4)]
    admin = AdminClient({**machine.settings.kafka})
    for removed in admin.delete_records(ends).values():
        removed.result(20)


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "aborted"])
def test_where_control_records_end_a_partition_it_is_read_and_retention_beyond_them_stops_nothing(
    kept: bool, tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """The position reaches the end, also where only control records came since; no lag, and nothing lost."""
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), ingests=1) as machine:
        in_a_transaction(machine, ORDERS[:1], b"same", kept=True)
        caught_up(machine, 20)
        in_a_transaction(machine, ORDERS[1:2], b"same", kept=kept)
        caught_up(machine, 20)
        wait_for(lambda: lag(machine) == 0, "nothing is behind")
        assert machine.command("verify").returncode == 0
        machine.kill("ingest 0")
        assert machine.await_end("ingest 0", 10)
        remove_all(machine)
        machine.start("ingest 0")
        wait_for(machine.is_ready, "it continues", 30)
        in_a_transaction(machine, ORDERS[2:], b"same", kept=True)
        caught_up(machine, 20)
        assert [status(machine, value) for value in ORDERS] == [200, 200 if kept else 404, 200]


def status(machine: Machine, value: bytes) -> int:
    """Of a GET of this order."""
    order_uid = json.loads(value)["order_uid"]
    return httpx2.get(f"{machine.url}/orders/{order_uid}", timeout=10).status_code


def lag(machine: Machine) -> int | None:
    """How many messages /readyz says are not yet stored; None: it cannot tell."""
    told = httpx2.get(f"{machine.url}/readyz", timeout=10).json()["parts"]["lag"]["messages"]
    return None if told is None else int(told)
