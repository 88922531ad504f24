"""What goes wrong with PostgreSQL under load, one after the other: it is waited out, and no dead letter comes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import httpx
import psycopg
import pytest

from orders.embedded.postgres import PostgresService
from support.machine import Machine
from support.services import FAST, MakeTopic, open_folder
from support.waiting import wait_for
from support.watching import under_load

pytestmark = pytest.mark.system
Connection = psycopg.Connection[tuple[object, ...]]
OURS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'orders %'"
RELOAD = "select pg_reload_conf()"


@pytest.fixture
def postgres_of_its_own() -> Iterator[PostgresService]:
    with open_folder() as folder:
        service = PostgresService(folder / "postgres", FAST)
        service.start()
        yield service
        service.stop()


@pytest.fixture
def machine(
    tmp_path: Path, postgres_of_its_own: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> Iterator[Machine]:
    made = Machine(tmp_path, postgres_of_its_own.dsn, kafka_bootstrap, make_topic())
    try:
        made.begin()
        yield made
    finally:
        made.end()


def kill_backends(connection: Connection) -> None:
    for _ in range(20):
        connection.execute(OURS)
        Event().wait(0.1)


@contextmanager
def only_reading(connection: Connection) -> Iterator[None]:
    connection.execute("alter system set default_transaction_read_only = on")
    connection.execute(RELOAD)
    yield
    connection.execute("set default_transaction_read_only = off")
    connection.execute("alter system reset default_transaction_read_only")
    connection.execute(RELOAD)


@contextmanager
def table_missing(connection: Connection) -> Iterator[None]:
    connection.execute("alter table orders rename to orders_elsewhere")
    yield
    connection.execute("alter table orders_elsewhere rename to orders")


@contextmanager
def orders_locked(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("lock table orders in access exclusive mode")
        yield


def letters(connection: Connection) -> int:
    """Dead letters that blame PostgreSQL's refusal: the traffic has none that it would refuse."""
    return len(connection.execute("select 1 from dead_letters where reason like 'PostgreSQL%'").fetchall())


@pytest.mark.timeout(300)
def test_what_postgresql_cannot_do_for_a_while_is_waited_out(machine: Machine) -> None:
    dsn = machine.settings.postgres_dsn
    with under_load(machine, 71), psycopg.connect(dsn, autocommit=True) as connection:
        for fault in (only_reading, table_missing, orders_locked):
            with fault(connection):
                wait_for(lambda: "an ingest is" in assignment(machine), f"/readyz says why: {fault.__name__}", 40)
                assert httpx.get(f"{machine.url}/livez", timeout=10).status_code == 200
            wait_for(machine.is_ready, f"it heals without a person: {fault.__name__}", 60)
        kill_backends(connection)
        wait_for(machine.is_ready, "it heals without a person: backends killed", 60)
        assert letters(connection) == 0


def assignment(machine: Machine) -> str:
    """What /readyz says of the ingests."""
    parts = httpx.get(f"{machine.url}/readyz", timeout=10).json()["parts"]
    return str(parts["assignment"]["reason"])
