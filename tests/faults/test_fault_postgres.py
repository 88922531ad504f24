"""What goes wrong with PostgreSQL under load, one after the other: it is waited out, and no dead letter comes of it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Event

import httpx2
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orders.embedded.postgres import PostgresService
from support.background import Background
from support.group import Group
from support.machine import Machine
from support.services import MakeTopic
from support.waiting import wait_for
from support.watching import recovery, under_load

pytestmark = pytest.mark.system
Connection = psycopg.Connection[tuple[object, ...]]
OURS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'orders %'"
CANCEL = """
do $$ begin
    for n in 1..200 loop
        perform pg_stat_clear_snapshot(), pg_sleep(0.0005);
        perform pg_cancel_backend(pid) from pg_stat_activity where application_name = 'orders ingest';
    end loop;
end $$
"""
RELOAD = "select pg_reload_conf()"


@pytest.fixture
def machine(
    tmp_path: Path, own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> Iterator[Machine]:
    with Machine(tmp_path, own_postgres.dsn, kafka_bootstrap, make_topic()) as made:
        yield made


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


@contextmanager
def out_of_connections(connection: Connection) -> Iterator[None]:
    """Somebody else takes every connection that there is, ours among them."""
    dsn = connection.info.dsn + f" password={connection.info.password}"
    with ExitStack() as taken:
        for _ in range(5):
            connection.execute(OURS)
            with suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(closing(psycopg.connect(dsn, connect_timeout=5)))
        yield


def dead_letters(connection: Connection) -> int:
    """Dead letters that blame PostgreSQL's refusal: the traffic has none that it would refuse."""
    return len(connection.execute("select 1 from dead_letters where reason like 'PostgreSQL%'").fetchall())


@pytest.mark.timeout(300)
def test_what_postgresql_cannot_do_for_a_while_is_waited_out(machine: Machine) -> None:
    """Takes half a minute: four faults under load, each until it is noticed and then until it has healed."""
    dsn = machine.settings.postgres_dsn
    with under_load(machine, 71), psycopg.connect(dsn, autocommit=True) as connection:
        for fault in (only_reading, table_missing, orders_locked, out_of_connections):
            with fault(connection):
                wait_for(lambda: "an ingest is" in assignment(machine), f"/readyz says why: {fault.__name__}", 40)
                assert httpx2.get(f"{machine.url}/livez", timeout=10).status_code == 200
            wait_for(machine.is_ready, f"it heals without a person: {fault.__name__}", 60)
        kill_backends(connection)
        wait_for(machine.is_ready, "it heals without a person: backends killed", 60)
        assert dead_letters(connection) == 0


def assignment(machine: Machine) -> str:
    """What /readyz says of the ingests."""
    parts = httpx2.get(f"{machine.url}/readyz", timeout=10).json()["parts"]
    return str(parts["assignment"]["reason"])


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.faults)])
@pytest.mark.timeout(300)
def test_postgresql_that_stops_at_once_under_load_costs_no_assignment_and_no_order(
    machine: Machine, own_postgres: PostgresService, seconds: int
) -> None:
    """Memory serves on, a POST is accepted or told to come again, /readyz says why, no partition changes hands.

    Takes 20 s: PostgreSQL is unavailable for 5 s under load, then starts and is caught up with.
    """
    known, group = "known-before", Group(machine)
    with under_load(machine, 72) as load, httpx2.Client(base_url=machine.url, timeout=20) as http:
        made = load.traffic.order(known, 1)
        assert http.post("/orders", content=made.text).status_code == 201
        load.poster.promised[known] = made.text
        with Background(group.look, every=0.3):
            wait_for(lambda: group.seen, "the group was seen", 20)
            os.kill(own_postgres.pid or 0, signal.SIGQUIT)
            wait_for(lambda: not own_postgres.running(), "PostgreSQL is gone", 20)
            wait_for(lambda: "an ingest is" in assignment(machine), "/readyz says why", 20)
            statuses: set[int] = set()
            with Background(lambda: statuses.add(http.get(f"/orders/{known}").status_code), every=0.1):
                Event().wait(seconds)
            own_postgres.start()
            wait_for(machine.is_ready, "it heals without a person", 60)
        assert statuses == {200}, "memory serves on"
        (members,) = group.seen
        assert members, "partitions stay where they are"
        with psycopg.connect(machine.settings.postgres_dsn) as connection:
            assert dead_letters(connection) == 0


ROLE = """
create role taken login password 'taken';
alter default privileges grant select, insert, update, delete on tables to taken;
alter default privileges grant usage on sequences to taken;
"""
RIGHTS = [
    "insert on orders",
    "select on orders",
    "insert on dead_letters",
    "select on positions",
    "update on positions",
]


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_each_permission_that_is_revoked_under_load_is_named_and_waited_for(
    tmp_path: Path, own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    dsn = own_postgres.dsn
    logins = {"ingest": {"ORDERS_POSTGRES_DSN": make_conninfo(dsn, user="taken", password="taken")}}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(ROLE)
        with (
            Machine(tmp_path, dsn, kafka_bootstrap, make_topic(), logins=logins) as machine,
            under_load(machine, 73),
        ):
            for right in RIGHTS:
                table = right.split()[-1]
                connection.execute(f"revoke {right} from taken".encode())
                wait_for(lambda: f"permission denied for table {table}" in assignment(machine), right, 40)  # noqa: B023 - called at once
                connection.execute(f"grant {right} to taken".encode())
                wait_for(machine.is_ready, f"it heals without a person: {right}", 60)
            assert dead_letters(connection) == 0


@contextmanager
def statements_cancelled(dsn: str) -> Iterator[None]:
    """Whatever an ingest asks is cut short."""
    with psycopg.connect(dsn, autocommit=True) as connection, Background(lambda: cancel_ours(connection), every=0.01):
        yield


def cancel_ours(connection: Connection) -> None:
    connection.execute(CANCEL)


@contextmanager
def positions_locked(dsn: str) -> Iterator[None]:
    """Somebody else's transaction holds the rows of `positions`, and does not end."""
    with psycopg.connect(dsn) as connection:
        connection.execute("select from positions for update")
        yield


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(statements_cancelled, "57014", id="cancelled"),
        pytest.param(positions_locked, "55P03", id="positions locked", marks=pytest.mark.faults),
    ],
)
def test_statements_that_run_out_of_time_are_made_again(
    machine: Machine, fault: Callable[[str], AbstractContextManager[None]], code: str
) -> None:
    """What runs too long, or waits too long for a lock, blames no message: the ingest waits and /readyz says why.

    Takes 10 s: the fault lasts until POSTs have met it, then a backlog is written.
    """
    dsn = machine.settings.postgres_dsn
    with under_load(machine, 74) as load, psycopg.connect(dsn, autocommit=True) as connection:
        wait_for(lambda: load.poster.promised, "POSTs are saved")
        with fault(dsn):
            wait_for(
                lambda: f"paused: PostgreSQL is unavailable or busy (SQLSTATE {code}" in assignment(machine),
                "/readyz says why",
                40,
            )
            assert httpx2.get(f"{machine.url}/livez", timeout=10).status_code == 200
        wait_for(machine.is_ready, "it heals without a person", 60)
        recovery(machine, time.monotonic(), 74)
        assert dead_letters(connection) == 0
