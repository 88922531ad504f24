"""A batch that takes longer than Kafka lets a member go without polling: its partitions move while it still writes.

While PostgreSQL is unavailable an ingest polls on with its partitions paused; no outage, however long, slows it. Only
what happens inside of one batch can: a statement that waits, or halves upon halves of a batch with refused values.

A classic member that is late commits offsets under the name that it has just given up: where the broker fences it for
that, it ends, and is started again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from confluent_kafka import Producer

from support.background import Background
from support.decided import all_decided_once
from support.group import Group
from support.machine import Machine
from support.restarting import RestartingMachine
from support.services import MakeTopic
from support.traffic import Traffic
from support.waiting import wait_for
from support.watching import recovery, under_load

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
Connection = psycopg.Connection[tuple[object, ...]]
REFUSED = 12
INTERVAL_SECONDS = 2.0
"""Far below what one statement may take."""
GATE = """
create function pass() returns trigger language plpgsql as $$
begin
    while not pg_try_advisory_xact_lock_shared(1) loop perform pg_sleep(0.05); end loop;
    return new;
end $$;
create trigger gate before update on positions for each row when (new.partition = 0) execute function pass();
"""
"""The last statement of a batch waits in partition 0, for as long as somebody holds the lock."""
WAITS = """
select pid from pg_stat_activity
where query like 'update positions set next_offset%' and state = 'active' and clock_timestamp() - query_start > '0.3 s'
"""
SLOW_REFUSAL = """
create function refuse() returns trigger language plpgsql as $$
begin
    perform pg_sleep(0.5);
    raise check_violation;
end $$;
create trigger refuse before insert on orders for each row
when (new.order_uid like 'refused-%') execute function refuse();
"""
"""A few orders that PostgreSQL alone refuses, slowly each time."""


@pytest.fixture
def machine(
    tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic, protocol: str
) -> Iterator[Machine]:
    """Two ingests that are soon too slow."""
    variables = {
        "ORDERS_KAFKA_PROTOCOL": protocol,
        "ORDERS_KAFKA_SESSION_TIMEOUT": "1",
        "ORDERS_KAFKA_MAX_POLL_INTERVAL_MS": str(int(INTERVAL_SECONDS * 1000)),
    }
    with RestartingMachine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), logins={"ingest": variables}) as made:
        wait_for(lambda: Group(made).is_shared(2), "both have partitions", 30)
        yield made


@contextmanager
def held(connection: Connection) -> Iterator[None]:
    """Batches of partition 0 are written, and cannot be committed."""
    connection.execute("select pg_advisory_lock(1)")
    yield
    connection.execute("select pg_advisory_unlock(1)")


def place(connection: Connection) -> tuple[object, ...]:
    return connection.execute("select next_offset from positions where partition = 0").fetchall()[0]


def waits(connection: Connection) -> int:
    """The session whose batch has waited for some time to move partition 0; 0: none does."""
    found = connection.execute(WAITS).fetchall()
    return int(str(found[0][0])) if found else 0


def owner(group: Group) -> str:
    """Who has partition 0; "": nobody."""
    return next((member for member, partition in group.held() if partition == 0), "")


def test_what_a_member_commits_after_its_partitions_moved_counts_and_is_read_by_nobody_again(machine: Machine) -> None:
    """It was first to lock its positions: the member that has its partitions now finds them moved, and goes there."""
    group = Group(machine)
    with under_load(machine, 91), psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(GATE)
        for _ in range(3):
            commit_late(connection, group)
            recovery(machine, monotonic(), 91, most=20)
            wait_for(lambda: machine.is_ready() and group.is_shared(2), "it comes back by itself", 30)
    all_decided_once(machine)


def commit_late(connection: Connection, group: Group) -> None:
    """The batch that waits commits after partition 0 has moved to the other member."""
    with held(connection):
        session = wait_for(lambda: waits(connection), "a batch that waits", 20)
        slow, before = owner(group), place(connection)
        wait_for(lambda: owner(group) not in {slow, ""}, "partition 0 moves to the other member", 14)
        assert waits(connection) == session, "the slow one still writes"
        assert place(connection) == before
    wait_for(lambda: place(connection) > before, "what it wrote counts")


def test_a_search_for_refused_values_that_outlasts_the_poll_interval_loses_and_doubles_nothing(
    machine: Machine,
) -> None:
    """It does not poll between its halves.

    Anyone who has the partitions next continues with what was not yet decided.
    """
    group = Group(machine)
    with psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(SLOW_REFUSAL)
        with under_load(machine, 92) as load, Background(group.look, every=0.3):
            wait_for(lambda: group.seen, "the group was seen", 20)
            send_refused(machine, load.traffic)
            wait_for(lambda: len(group.seen) > 1, "partitions move while a member searches", 30)
            wait_for(lambda: dead_letters(connection) == REFUSED, "a dead letter of each", 100)
            recovery(machine, monotonic(), 92, most=30)
            wait_for(lambda: machine.is_ready() and group.is_shared(2), "both have partitions again", 30)
            assert load.getter.compared
        assert dead_letters(connection) == REFUSED
    all_decided_once(machine)


def send_refused(machine: Machine, traffic: Traffic) -> None:
    """All in one partition, beside orders that are good."""
    producer = Producer({"bootstrap.servers": machine.settings.kafka_bootstrap})
    for number in range(REFUSED):
        made = traffic.order(f"refused-{number}", 1).text
        del traffic.texts[made]  # for the model it is an invalid message
        producer.produce(machine.settings.kafka_topic, made, b"refused", partition=0)
    assert producer.flush(20) == 0


def dead_letters(connection: Connection) -> int:
    """Dead letters that PostgreSQL's refusal made."""
    return len(connection.execute("select 1 from dead_letters where reason like 'PostgreSQL%'").fetchall())
