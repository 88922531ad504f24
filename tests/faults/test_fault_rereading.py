"""The whole topic read again from its first offset: rows, dead letters and outcomes stay as they are, ids and all."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from support.checker import caught_up, check
from support.machine import Machine
from support.services import MakeTopic
from support.traffic import Traffic

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

TABLES = ("select * from orders", "select * from dead_letters", "select * from outcomes")


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), ingests=1) as made:
        yield made


def held(machine: Machine) -> list[set[str]]:
    """All rows of each table, all columns."""
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        return [{str(row) for row in rows_of(connection, table)} for table in TABLES]


def rows_of(connection: "psycopg.Connection[tuple[Any, ...]]", table: str) -> list[tuple[Any, ...]]:
    return connection.execute(table.encode()).fetchall()


def test_the_topic_read_again_changes_nothing(machine: Machine) -> None:
    """It holds new, repeated, replaced and deleted orders, invalid messages, keyless ones, and records of POSTs."""
    traffic = Traffic(66, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
    promised: dict[str, bytes] = {}
    for number in range(5):
        traffic.send(200)
        made = traffic.order(f"post-{number}", 1)
        assert httpx2.post(f"{machine.url}/orders", content=made.text, timeout=20).status_code == 201
        promised[made.row.order_uid] = made.text
    caught_up(machine)
    before, model = held(machine), traffic.model()
    assert all(before), "each table has rows"
    machine.tell("ingest 0", signal.SIGTERM)
    assert machine.await_end("ingest 0", 20)
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        connection.execute("update positions set next_offset = 0")
    machine.start("ingest 0")
    caught_up(machine)
    assert held(machine) == before
    check(machine, model, promised)
