"""At 30 seeded moments under load a process is killed; afterwards every row, dead letter and GET equals a model.

The stream holds duplicates, replacements, deletes, invalid messages and keyless ones; POSTs go on beside it. The
model is folded from the topic itself, by other code. While all this goes on, GETs are compared with PostgreSQL.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import psycopg
import pytest

from orders.keeper import rows_from
from orders.postgres import connect
from orders.topic import TopicView
from support.services import MakeTopic
from support.system import System
from support.traffic import Model, Traffic
from support.waiting import wait_for

MOMENTS = 30
POINTS = ["before copy", "after copy", "before commit", "after commit", "after fill"]
VICTIMS = ["ingest 0", "ingest 1", "keep", "serve"]


class Background:
    """Repeats something in a thread, `every` so many seconds, until told to stop; raises its error at the end."""

    def __init__(self, step: Callable[[], None], every: float) -> None:
        self._step, self._every = step, every
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self._step()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if self._error:
            raise self._error


class Watcher:
    """Compares GETs with PostgreSQL: where a row stays the same around a GET, the GET must say what it says."""

    def __init__(self, system: System, traffic: Traffic, seed: int) -> None:
        self._system, self._traffic = system, traffic
        self._random = random.Random(seed)
        self._http = httpx.Client(base_url=system.url, timeout=10)
        self._connection = psycopg.connect(system.settings.postgres_dsn, autocommit=True)
        self.compared = 0

    def step(self) -> None:
        order_uid = f"order-{self._random.randint(1, max(self._traffic.made, 1))}"
        before = self._stored(order_uid)
        with suppress(httpx.TransportError):  # the worker was killed
            answer = self._http.get(f"/orders/{order_uid}")
            if self._stored(order_uid) != before or answer.status_code == 503:
                return
            expected = (404, None) if before is None else (200, before)
            got = (answer.status_code, None if before is None else answer.json()["order"]["payment"]["amount"])
            assert got == expected, f"{order_uid}: {got} where PostgreSQL holds {before}"
            self.compared += 1

    def _stored(self, order_uid: str) -> int | None:
        query = "select payment_amount from orders where order_uid = %s"
        row = self._connection.execute(query, (order_uid,)).fetchone()
        return None if row is None else int(row[0])

    def close(self) -> None:
        self._http.close()
        self._connection.close()


class Poster:
    """POSTs orders of its own, and keeps what was promised."""

    def __init__(self, system: System, traffic: Traffic) -> None:
        self._traffic = traffic
        self._http = httpx.Client(base_url=system.url, timeout=15)
        self._count = 0
        self.promised: dict[str, bytes] = {}

    def step(self) -> None:
        self._count += 1
        made = self._traffic.order(f"post-{self._count}", 1)
        with suppress(httpx.TransportError):
            answer = self._http.post("/orders", content=made.text)
            assert answer.status_code in {201, 202, 503}, answer.text
            if answer.status_code == 201:
                self.promised[made.row.order_uid] = made.text

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def system(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[System]:
    made = System(tmp_path, postgres_dsn, kafka_bootstrap, make_topic())
    try:
        made.begin()
        yield made
    finally:
        made.end()


@pytest.mark.timeout(280)
def test_after_kills_at_seeded_moments_all_is_as_the_topic_says(system: System) -> None:
    traffic = Traffic(2026, system.settings.kafka_bootstrap, system.settings.kafka_topic)
    watcher, poster = Watcher(system, traffic, 7), Poster(system, traffic)
    try:
        with (
            Background(lambda: traffic.send(30), every=0.05),
            Background(poster.step, every=0.03),
            Background(watcher.step, every=0.01),
        ):
            for seed in range(MOMENTS):
                kill_at(system, seed)
        caught_up(system)
        check(system, traffic.model(), poster.promised)
    finally:
        watcher.close()
        poster.close()
    assert watcher.compared > MOMENTS
    assert poster.promised


def kill_at(system: System, seed: int) -> None:
    """Kills one process at the moment that the seed names, and starts it again."""
    chance = random.Random(seed)
    point = chance.choice([*POINTS, "any time"])
    victim = chance.choice(VICTIMS[:2] if point != "any time" else VICTIMS)
    if point == "any time":
        threading.Event().wait(chance.uniform(0.05, 0.3))
        system.kill(victim)
    else:
        system.order(victim).write_text(point)
    if not system.await_end(victim, 20):
        raise AssertionError(f"{victim} had no batch to die in {point}")
    system.start(victim)


def caught_up(system: System) -> None:
    """Until every partition's position is its end."""
    settings = system.settings
    view = TopicView(settings.kafka_bootstrap, settings.kafka_topic)
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        wait_for(lambda: positions(connection) == view.look().ends, "all is consumed", 60)


def positions(connection: "psycopg.Connection[tuple[int, int]]") -> dict[int, int]:
    return dict(connection.execute("select partition, next_offset from positions").fetchall())


def check(system: System, model: Model, promised: dict[str, bytes]) -> None:
    with connect(system.settings.postgres_dsn, "test") as connection:
        stored = {put.order_uid: put.document for put in rows_from(connection, 0)}
        letters = connection.execute('select partition, "offset", key, value from dead_letters').fetchall()
        ids = connection.execute("select count(*), count(distinct id), count(distinct version) from orders").fetchone()
    assert {order_uid: without_id(served) for order_uid, served in stored.items()} == model.orders
    assert sorted(letters) == sorted(model.letters)
    assert ids == (len(stored),) * 3
    assert {order_uid: model.orders.get(order_uid) for order_uid in promised} == promised
    with httpx.Client(base_url=system.url, timeout=10) as http:
        for order_uid in model.uids:
            answer = http.get(f"/orders/{order_uid}")
            assert (answer.status_code, answer.content) == expected(stored.get(order_uid)), order_uid


def without_id(served: bytes) -> bytes:
    head, _, rest = served.partition(b",")
    assert head.startswith(b'{"order":{"id":')
    return b"{" + rest[:-1]


def expected(served: bytes | None) -> tuple[int, bytes]:
    return (200, served) if served else (404, b'{"message":"Order not found"}')
