"""Disks that are full under load, PostgreSQL's and memory's: waited out, and it heals once there is room."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest

from orders.embedded.postgres import PostgresService
from support.background import Background
from support.disk import disk, fill, make_room
from support.group import Group
from support.load import Load
from support.machine import Machine
from support.services import FAST, MakeTopic, open_folder
from support.waiting import wait_for
from support.watching import recovery, under_load

pytestmark = pytest.mark.root
SPARE = 8
"""Files of the write-ahead log that are made beforehand, 16 MB each: with them only what tables need is missing."""


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder, disk(folder, "size=400m,mode=711") as made:
        yield made


@pytest.fixture
def own_postgres(place: Path) -> Iterator[PostgresService]:
    service = PostgresService(place / "postgres", FAST | {"min_wal_size": "192MB"})
    service.start()
    yield service
    service.stop()


def use_wal(dsn: str, files: int) -> None:
    """Continues to a new file of the write-ahead log so many times. Raises where PostgreSQL cannot make one."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(files):
            connection.execute("select pg_logical_emit_message(true, 'orders', 'some')")
            connection.execute("select pg_switch_wal()")
        connection.execute("checkpoint")


@pytest.mark.timeout(240)
def test_a_full_disk_of_postgresql_is_waited_out(
    tmp_path: Path, place: Path, own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """First statements fail; then the write-ahead log cannot be written, and PostgreSQL ends itself.

    Takes 20 s: the disk is filled twice under load, and PostgreSQL starts again.
    """
    dsn = own_postgres.dsn
    with Machine(tmp_path, dsn, kafka_bootstrap, make_topic()) as machine:
        load, group = Load(machine, 82), Group(machine)
        wait_for(lambda: group.is_shared(2), "each ingest has partitions", 30)
        use_wal(dsn, SPARE)
        with load.going_on(), Background(group.look, every=0.3):
            wait_for(lambda: group.seen, "the group was seen", 20)
            fill(place)
            wait_for(lambda: "SQLSTATE 53100" in load.reason("assignment"), "/readyz says why", 30)
            asked = load.poster.answers.total()
            wait_for(lambda: load.poster.answers.total() > asked, "a POST is answered", 30)
            make_room(place)
            wait_for(machine.is_ready, "it heals without a person", 60)
            load.catch_up(60)

            fill(place)
            with pytest.raises(psycopg.OperationalError):
                use_wal(dsn, 10 * SPARE)
            wait_for(lambda: not own_postgres.running(), "it ends itself: it cannot even recover", 30)
            wait_for(lambda: "cannot be reached" in load.reason("assignment"), "/readyz says why", 30)
            make_room(place)
            own_postgres.start()
            wait_for(machine.is_ready, "it heals with PostgreSQL", 60)
        load.check()
        load.close()
        assert load.poster.answers.keys() <= {201, 202, 503}
        assert load.gets, "memory serves on"
        (members,) = group.seen
        assert members, "partitions stay where they are"


@pytest.mark.faults
@pytest.mark.timeout(240)
def test_a_full_disk_of_memory_is_waited_out(
    place: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """GETs are compared with PostgreSQL all the time; no batch is committed whose changes cannot be fenced."""
    folder = place / "machine"
    folder.mkdir()
    with Machine(folder, postgres_dsn, kafka_bootstrap, make_topic()) as machine, under_load(machine, 83) as load:
        fill(place)
        wait_for(lambda: "the shared memory fails" in httpx2.get(f"{machine.url}/readyz").text, "/readyz says why", 60)
        compared = load.getter.compared
        wait_for(lambda: load.getter.compared > compared + 100, "GETs continue", 30)
        for kind in machine.pids:
            machine.kill(kind)
            assert machine.await_end(kind, 5)
            machine.start(kind)
        make_room(place)
        wait_for(machine.is_ready, "it heals without a person", 60)
        recovery(machine, time.monotonic(), 83)
