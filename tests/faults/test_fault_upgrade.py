"""A rolling upgrade, on real services: releases beside each other, and indexes that are built beside ingest."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from orders.embedded.postgres import PostgresService
from orders.postgres.connection import connect
from orders.postgres.indexes import IndexState, claim, connect_builder, names, states
from orders.postgres.migrations import migrate
from orders.sample import samples
from orders.search import statements
from orders.search.criteria import INDEXES, Criteria, Range
from orders.search.cursor import Position
from orders.search.finder import BY_INDEX
from orders.search.paging import Walk
from support.background import Background
from support.machine import Machine
from support.roles import execute
from support.schema import END_BUILDS, left_by, old_snapshot
from support.services import FAST, open_folder
from support.system import System, orders, running
from support.upgrades import FIRST_CREATED, SEARCHED, Rounds, code_of, finds, make_orders, waits
from support.waiting import wait_for

log = logging.getLogger(__name__)

BEFORE = "aa6b73c"
"""The last commit whose newest migration is 0006."""
MANY = 10_000_000
ROUND = 2_000
BYTES = 25 * 10**9
START_SECONDS = 20.0
BUILD_SECONDS = 1_800.0
BUFFERS = 200
"""What a page may touch at most."""


@pytest.fixture
def large_postgres() -> Iterator[PostgresService]:
    """One with room for millions of orders, which is not in memory."""
    place = Path(tempfile.gettempdir())
    if shutil.disk_usage(place).free < BYTES:
        pytest.skip(f"{place} has less than {BYTES / 10**9:.0f} GB free")
    with open_folder(place) as folder:
        service = PostgresService(folder / "postgres", FAST | {"max_wal_size": "8GB"})
        service.start()
        yield service
        service.stop()


def found(dsn: str) -> dict[str, IndexState]:
    with closing(connect(dsn, "test")) as connection:
        return states(connection, names())


def takes(system: System, seed: int) -> None:
    """It is ready for orders and takes one, which is readable in the end."""
    (order,) = samples(1, seed)
    assert system.request("POST", "/orders", order)[0] in (201, 202)
    uid = json.loads(order)["order_uid"]
    wait_for(lambda: system.request("GET", f"/orders/{uid}")[0] == 200, "it is readable", 60)


def is_older(system: System) -> bool:
    """Whether it knows no lists."""
    return system.request("GET", "/orders")[0] == httpx2.codes.METHOD_NOT_ALLOWED


def answers(url: str, dsn: str, order: Mapping[str, Any]) -> bool:
    """Whether every filter finds an order; one whose index is not valid is 503, whatever the others are."""
    waiting = [by for by in SEARCHED if waits(url, by, order)]
    states = found(dsn)
    assert [by for by in SEARCHED if by not in waiting and states[INDEXES[by]].state != "valid"] == []
    return not waiting


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_releases_are_replaced_one_by_one_and_back_while_orders_come(
    tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, topic: str
) -> None:
    """As docs/operations.md says it, with two replicas: nothing waits, and nothing is lost.

    Takes over two minutes: nine starts, and partitions that wait for a machine that is replaced.
    """
    addresses = {
        "ORDERS_POSTGRES_DSN": postgres_dsn,
        "ORDERS_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "ORDERS_KAFKA_TOPIC": topic,
        "ORDERS_KAFKA_GROUP": topic,
    }
    older = addresses | {"PYTHONPATH": str(code_of(BEFORE, tmp_path / "before"))}
    rounds = Rounds(postgres_dsn, kafka_bootstrap, topic, 50)
    first, second = tmp_path / "first", tmp_path / "second"
    with running(first, (), older) as one, running(second, (), older) as other:
        assert is_older(one)
        rounds.step()
        with Background(rounds.step, 0.05):
            takes(one, 1_000_001)
            migrated = orders(tmp_path, "migrate", "--pre", "--json", variables=addresses)
            assert json.loads(migrated.stdout) == {"applied": ["0007_search.sql"]}
            takes(one, 1_000_002)
            other.stop()
            with running(second, (), older) as again:  # as after a crash: it starts on the newer schema
                assert is_older(again)
                takes(again, 1_000_003)
                one.stop()
                with old_snapshot(postgres_dsn) as reader, running(first, (), addresses) as newer:
                    wait_for(lambda: found(postgres_dsn)[names()[0]].state == "building", "the first is built", 30)
                    assert all(waits(newer.url, by, rounds.sent[0]) for by in SEARCHED)
                    told = json.loads(orders(first, "status", "--json", variables=addresses).stdout)
                    assert [each["state"] for each in told["indexes"]][:2] == ["building", "missing"]
                    takes(newer, 1_000_004)
                    takes(again, 1_000_005)
                    reader.rollback()
                    wait_for(lambda: answers(newer.url, postgres_dsn, rounds.sent[0]), "filters answer", 60)
                    assert [by for by in SEARCHED if not finds(newer.url, by, rounds.sent[-1])] == []
                with running(first, (), older) as back:
                    assert is_older(back)
                    takes(back, 1_000_006)
                again.stop()
        with running(first, (), addresses) as newest, running(second, (), addresses):
            takes(newest, 1_000_007)
            assert [by for by in SEARCHED if not finds(newest.url, by, rounds.sent[-1])] == []
            verified = orders(first, "verify", "--json", variables=addresses)
            assert verified.returncode == 0, verified.stdout
            assert stored(postgres_dsn) == 50 * len(rounds.rates) + 7


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_ten_million_orders_get_their_indexes_beside_ingest(
    tmp_path: Path, large_postgres: PostgresService, kafka_bootstrap: str, topic: str
) -> None:
    """No start waits for them, a build that is ended is begun again, and a page by each touches few buffers.

    Takes 12 minutes: 10 million rows are made, and the builds read all of them.
    """
    dsn = large_postgres.dsn
    left_by(dsn)
    began = time.monotonic()
    make_orders(dsn, MANY)
    log.info("made the rows in %.0f s", time.monotonic() - began)
    rounds = Rounds(dsn, kafka_bootstrap, topic, ROUND)
    with closing(connect_builder(dsn)) as other:
        assert claim(other)  # until it is closed nobody builds
        began = time.monotonic()
        with Machine(tmp_path, dsn, kafka_bootstrap, topic) as machine:
            log.info("started in %.1f s", time.monotonic() - began)
            assert time.monotonic() - began < START_SECONDS
            for _ in range(6):
                rounds.step()
            before = list(rounds.rates[1:])
            log.info("orders a second before: %s", shown(before))
            assert all(waits(machine.url, by, rounds.sent[0]) for by in SEARCHED)
            other.close()
            began = time.monotonic()
            with Background(rounds.step, 0.001):
                begin_one_again(dsn, names()[1])
                restart(machine)
                await_all(dsn, began)
            log.info("orders a second meanwhile: %s", shown(rounds.rates[len(before) + 1 :]))
            for _ in range(6):
                rounds.step()
            log.info("orders a second afterwards: %s", shown(rounds.rates[-5:]))
            wait_for(lambda: not any(waits(machine.url, by, rounds.sent[0]) for by in SEARCHED), "filters answer")
            assert [by for by in SEARCHED if not finds(machine.url, by, rounds.sent[-1])] == []
    assert stored(dsn) == MANY + len(rounds.rates) * ROUND
    log.info("bytes: %s", {name: size(dsn, name) for name in ("orders", *names())})
    assert {name: touched for name, touched in buffers(dsn).items() if touched > BUFFERS} == {}


def shown(rates: list[float]) -> str:
    ranked = sorted(rates)
    return f"{len(ranked)} rounds, median {ranked[len(ranked) // 2]:.0f}, from {ranked[0]:.0f} to {ranked[-1]:.0f}"


def begin_one_again(dsn: str, index: str) -> None:
    """Ends the build of an index in its middle, as a restart of PostgreSQL would."""
    wait_for(lambda: is_halfway(found(dsn)[index]), "its middle", BUILD_SECONDS)
    execute(dsn, END_BUILDS)
    wait_for(lambda: found(dsn)[index].state == "invalid", "it is invalid")
    wait_for(lambda: found(dsn)[index].state == "building", "it is built again", 60)


def is_halfway(state: IndexState) -> bool:
    return state.phase.startswith("building index") and state.share > 0.3


def restart(machine: Machine) -> None:
    """Starts every kind of process beside a build; the index of it becomes valid although its builder is gone."""
    began = time.monotonic()
    assert migrate(machine.settings.postgres_dsn) == []
    for kind in ("keep", "serve", "ingest 0"):
        machine.kill(kind)
        machine.await_end(kind, 10)
        machine.start(kind)
    wait_for(machine.is_ready, "it is ready beside a build", 60)
    log.info("started again beside a build in %.1f s", time.monotonic() - began)


def await_all(dsn: str, began: float) -> None:
    """Waits until all indexes are valid, and logs when each was found so."""
    unbuilt = set(names())

    def look() -> bool:
        for name, each in found(dsn).items():
            if name in unbuilt and each.state == "valid":
                unbuilt.remove(name)
                log.info("%s is valid after %.0f s", name, time.monotonic() - began)
        return not unbuilt

    wait_for(look, "all are valid", BUILD_SECONDS)


def stored(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*)::int from orders").fetchone()
    return row[0] if row else 0


def size(dsn: str, name: str) -> int:
    """Bytes of a table without its indexes, or of an index."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select pg_table_size(%s::text::regclass)", (name,)).fetchone()
    return int(row[0]) if row else 0


def buffers(dsn: str) -> dict[str, int]:
    """What pages touch, the first and one in the middle of the list, by which filters they have."""
    created = FIRST_CREATED + 13 * MANY // 2 * 1_000_000
    within = Range("created", created - 10**13, created + 10**13)
    middle = Position(MANY // 2, "")
    timed = Position(MANY // 2, "", created)
    asked = {
        "all": (Criteria(), middle),
        "track_number": (Criteria("track_number", "WBILM" + f"{7919 * MANY // 2 % 1000000007:010d}"), middle),
        "customer_id": (Criteria("customer_id", "c000017"), middle),
        "transaction": (Criteria("transaction", f"pay{MANY // 2}"), middle),
        "phone": (Criteria("phone", "+972000000031"), middle),
        "nobody's phone": (Criteria("phone", "+1"), middle),
        "customer_id and created": (Criteria("customer_id", "c000017", within), middle),
        "created": (Criteria(range=within), timed),
        "received": (Criteria(range=Range("received", within.since, within.until)), timed),
    }
    with psycopg.connect(dsn) as connection:
        for name, value in BY_INDEX.items():
            connection.execute("select set_config(%s, %s, false)", (name, value))
        touched = {
            f"{name}, {place}": touches(connection, criteria, Walk("next", after if place == "deep" else None, 50))
            for name, (criteria, after) in asked.items()
            for place in ("first", "deep")
        }
    log.info("buffers: %s", touched)
    return touched


def touches(connection: psycopg.Connection, criteria: Criteria, walk: Walk) -> int:
    asked = statements.page(criteria, statements.DOCUMENT, walk)
    row = connection.execute(f"explain (analyze, buffers, format json) {asked.sql}".encode(), asked.values).fetchone()
    assert row
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
