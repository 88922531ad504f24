"""Indexes come into a database that is in use, by any builder and whatever ends a build; each in one place."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from orders import threads
from orders.errors import Misconfigured, Unavailable
from orders.postgres import indexes
from orders.postgres.connection import connect
from orders.postgres.indexes import Builder, IndexState, build, claim, connect_builder, due, names, states
from orders.postgres.migrations import MIGRATE, migrate, missing
from support.background import Background
from support.roles import execute, role
from support.schema import END_BUILDS, add_orders, left_by, old_snapshot
from support.system import NO_FILE
from support.waiting import wait_for

FIRST, SECOND = names()[:2]
ROWS = 2_000


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    """A database with orders, of the last release that had none of these indexes."""
    left_by(postgres_dsn)
    add_orders(postgres_dsn, 1, ROWS)
    migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def built(dsn: str) -> list[str]:
    """What one turn of a builder makes, nothing where there is another."""
    with closing(connect_builder(dsn)) as connection:
        return list(build(connection, lambda _: None)) if claim(connection) else []


def found(dsn: str) -> dict[str, IndexState]:
    with closing(connect(dsn, "test")) as connection:
        return states(connection, names())


def state(dsn: str, index: str = FIRST) -> str:
    return found(dsn)[index].state


def all_valid(dsn: str) -> bool:
    with closing(connect(dsn, "test")) as connection:
        return not due(connection)


def at(dsn: str, phase: str) -> None:
    """Waits until the build of the first index is there; a command that builds it takes seconds to start."""
    wait_for(lambda: found(dsn)[FIRST].phase == phase, phase, 40)


def files() -> list[str]:
    return [each.name for each in indexes.post()]


def test_a_new_database_has_them_from_the_start(postgres_dsn: str) -> None:
    # So somebody who tries the service never meets a filter that waits for its index.
    assert set(files()) <= set(migrate(postgres_dsn))
    assert all_valid(postgres_dsn)


def test_a_start_on_a_database_in_use_does_not_wait_for_them(dsn: str) -> None:
    assert migrate(dsn) == []
    assert {each.state for each in found(dsn).values()} == {"missing"}
    with closing(connect(dsn, "test")) as connection:
        assert [each.name for each in missing(connection)] == files()


def test_they_are_built_beside_writes_and_a_transaction_that_stays_open(dsn: str, pool: ThreadPoolExecutor) -> None:
    ids = iter(range(ROWS + 1, 10**6))

    def write() -> None:
        add_orders(dsn, n := next(ids), n)

    with Background(write, 0.001), old_snapshot(dsn) as reader:
        building = pool.submit(built, dsn)
        at(dsn, "waiting for old snapshots")
        assert found(dsn)[FIRST][:3] == (FIRST, "building", "waiting for old snapshots")
        written = next(ids)
        wait_for(lambda: next(ids) > written + 10, "writes continue")
        assert not building.done()
        reader.rollback()
        assert building.result(30) == files()
    assert all_valid(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("set enable_seqscan = off")
        query = "select count(*) from orders where date_created > '-infinity'"
        counted = connection.execute(query).fetchone()
        assert counted == connection.execute("select count(*) from orders").fetchone()


def test_another_role_sees_what_is_built_though_not_how_far(dsn: str, pool: ThreadPoolExecutor) -> None:
    with role(dsn) as (_, theirs), old_snapshot(dsn) as reader:
        building = pool.submit(built, dsn)
        at(dsn, "waiting for old snapshots")
        assert found(theirs)[FIRST] == IndexState(FIRST, "building")
        reader.rollback()
        building.result(30)


def test_a_build_that_is_ended_leaves_an_invalid_index_which_is_built_again(dsn: str, pool: ThreadPoolExecutor) -> None:
    with old_snapshot(dsn):
        building = pool.submit(built, dsn)
        at(dsn, "waiting for old snapshots")
        execute(dsn, END_BUILDS)
        with pytest.raises(Unavailable):
            building.result(30)
        wait_for(lambda: state(dsn) == "invalid", "its session is gone")
    assert built(dsn) == files()
    assert all_valid(dsn)


def test_a_builder_that_is_gone_keeps_others_out_until_postgresql_has_finished_for_it(dsn: str) -> None:
    # PostgreSQL notices that a client is gone once it has something to say to it.
    with old_snapshot(dsn) as reader:
        connection = connect_builder(dsn)
        assert claim(connection)
        connection.pgconn.send_query(indexes.post()[0].sql.encode())
        at(dsn, "waiting for old snapshots")
        connection.close()
        assert (state(dsn), built(dsn)) == ("building", [])
        reader.rollback()
    wait_for(lambda: state(dsn) == "valid", "it is finished")
    assert wait_for(lambda: built(dsn), "the next builder is let in") == files()


def test_of_two_builders_one_builds(dsn: str, pool: ThreadPoolExecutor) -> None:
    with old_snapshot(dsn) as reader:
        building = pool.submit(built, dsn)
        at(dsn, "waiting for old snapshots")
        assert built(dsn) == []
        reader.rollback()
        assert building.result(30) == files()


def test_one_that_was_dropped_by_hand_is_built_again(dsn: str) -> None:
    built(dsn)
    execute(dsn, "drop index orders_by_record_time")
    assert state(dsn, SECOND) == "missing"
    assert len(built(dsn)) == 1
    assert all_valid(dsn)


def test_one_that_somebody_builds_by_hand_is_left_to_them(dsn: str, pool: ThreadPoolExecutor) -> None:
    sql = indexes.post()[0].sql
    with old_snapshot(dsn) as reader:
        by_hand = pool.submit(execute, dsn, sql)
        at(dsn, "waiting for old snapshots")
        # The next one would wait for the lock that the hand holds on the table.
        with closing(connect_builder(dsn)) as connection:
            assert claim(connection)
            connection.execute("set lock_timeout = '100ms'")
            with pytest.raises(Unavailable):
                list(build(connection, lambda _: None))
        assert state(dsn) == "building"
        reader.rollback()
        by_hand.result(30)
    assert built(dsn) == files()


def test_a_role_that_does_not_own_the_table_is_reported_who_does(dsn: str) -> None:
    with role(dsn) as (name, theirs):
        execute(dsn, "grant select on migrations to {}", name)
        with pytest.raises(Misconfigured) as caught:
            built(theirs)
    assert str(caught.value) == f"the database lacks {', '.join(names())}, which this role may not build: {MIGRATE}"


# ---- orders migrate ----


def migrating(dsn: str, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "orders", "migrate", "--json", "--postgres-dsn", dsn, *options]
    return subprocess.Popen(command, env=os.environ | NO_FILE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(process: "subprocess.Popen[bytes]") -> list[str]:
    """What a command that ends well has applied."""
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    applied: list[str] = json.loads(out)["applied"]
    return applied


def test_the_command_builds_them_or_only_what_a_start_needs(dsn: str) -> None:
    assert said(migrating(dsn, "--pre")) == []
    assert said(migrating(dsn)) == files()
    assert said(migrating(dsn)) == []


def test_a_build_that_ctrl_c_ends_is_begun_again_by_the_next(dsn: str) -> None:
    with old_snapshot(dsn):
        process = migrating(dsn)
        try:
            at(dsn, "waiting for old snapshots")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == -signal.SIGINT
        finally:  # else it would wait for that snapshot, and this for it
            process.kill()
            process.communicate()
        wait_for(lambda: state(dsn) == "invalid", "its session is gone")
    assert said(migrating(dsn)) == files()


def test_the_command_waits_for_who_builds_and_shows_how_far_that_is(dsn: str, pool: ThreadPoolExecutor) -> None:
    shown: list[IndexState] = []
    with old_snapshot(dsn) as reader:
        building = pool.submit(built, dsn)
        at(dsn, "waiting for old snapshots")
        waiting = pool.submit(indexes.build_all, dsn, shown.append)
        wait_for(lambda: shown, "it shows the build of another")
        reader.rollback()
        assert building.result(30) + waiting.result(30) == files()
    assert {each.phase for each in shown} >= {"waiting for old snapshots"}
    assert all_valid(dsn)


# ---- the keeper's builder ----


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(indexes, "POLL_SECONDS", 0.1)


@pytest.mark.usefixtures("quick")
def test_two_keepers_build_all_once_and_again_what_is_dropped(dsn: str) -> None:
    stopped: list[bool] = []
    with capture_logs() as logs:
        running = [
            threads.start("indexes", Builder(lambda: connect_builder(dsn), lambda: bool(stopped)).run) for _ in range(2)
        ]
        wait_for(lambda: all_valid(dsn), "all are built", 30)
        execute(dsn, "drop index orders_by_record_time")
        wait_for(lambda: all_valid(dsn), "it is built again", 30)
        stopped.append(True)
        for thread in running:
            thread.join(10)
    assert [each["index"] for each in logs if each["event"] == "index_build_started"] == [*names(), SECOND]
    assert [each["event"] for each in logs if each["log_level"] != "info"] == []


@pytest.mark.usefixtures("quick")
def test_a_keeper_that_may_not_build_says_so_once_and_continues_when_the_owner_has(dsn: str) -> None:
    stopped: list[bool] = []
    with role(dsn) as (name, theirs), capture_logs() as logs:
        execute(dsn, "grant select on migrations to {}", name)
        looks: list[str] = []

        def connected() -> object:
            looks.append("")
            return connect_builder(theirs)

        thread = threads.start("indexes", Builder(connected, lambda: bool(stopped)).run)  # type: ignore[arg-type] # it is a connection
        wait_for(lambda: len(looks) > 2, "it looks again")
        assert [each["event"] for each in logs] == ["indexes_wait"]
        built(dsn)
        wait_for(lambda: logs[-1]["event"] == "indexes_continue", "it continues")
        stopped.append(True)
        thread.join(10)
    assert logs[0]["log_level"] == "warning"
    assert MIGRATE in logs[0]["reason"]


@pytest.mark.usefixtures("quick")
def test_a_keeper_waits_out_an_outage(dsn: str) -> None:
    stopped: list[bool] = []
    addresses = iter([make_conninfo(dsn, port=1), dsn])
    with capture_logs() as logs:
        builder = Builder(lambda: connect_builder(next(addresses, dsn)), lambda: bool(stopped))
        thread = threads.start("indexes", builder.run)
        wait_for(lambda: all_valid(dsn), "all are built", 30)
        stopped.append(True)
        thread.join(10)
    assert [each["event"] for each in logs][:2] == ["indexes_wait", "index_build_started"]
