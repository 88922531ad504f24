"""At 30 seeded moments under load a process is killed; afterwards every row, dead letter and GET equals a model.

The stream holds duplicates, replacements, deletes, invalid messages and keyless ones; POSTs go on beside it. The
model is folded from the topic itself, by other code. While all this goes on, GETs are compared with PostgreSQL.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from support.background import Background
from support.checker import caught_up, check
from support.machine import Machine
from support.services import MakeTopic
from support.traffic import Traffic

MOMENTS = 30
POINTS = ["before copy", "after copy", "before commit", "after commit", "after fill"]
VICTIMS = ["ingest 0", "ingest 1", "keep", "serve"]


class Watcher:
    """Compares GETs with PostgreSQL: where a row stays the same around a GET, the GET must say what it says."""

    def __init__(self, machine: Machine, traffic: Traffic, seed: int) -> None:
        self._system, self._traffic = machine, traffic
        self._random = random.Random(seed)
        self._http = httpx.Client(base_url=machine.url, timeout=10)
        self._connection = psycopg.connect(machine.settings.postgres_dsn, autocommit=True)
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

    def __init__(self, machine: Machine, traffic: Traffic) -> None:
        self._traffic = traffic
        self._http = httpx.Client(base_url=machine.url, timeout=15)
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
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    made = Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic())
    try:
        made.begin()
        yield made
    finally:
        made.end()


@pytest.mark.timeout(280)
def test_after_kills_at_seeded_moments_all_is_as_the_topic_says(machine: Machine) -> None:
    traffic = Traffic(2026, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
    watcher, poster = Watcher(machine, traffic, 7), Poster(machine, traffic)
    try:
        with (
            Background(lambda: traffic.send(30), every=0.05),
            Background(poster.step, every=0.03),
            Background(watcher.step, every=0.01),
        ):
            for seed in range(MOMENTS):
                kill_at(machine, seed)
        caught_up(machine)
        check(machine, traffic.model(), poster.promised)
    finally:
        watcher.close()
        poster.close()
    assert watcher.compared > MOMENTS
    assert poster.promised


def kill_at(machine: Machine, seed: int) -> None:
    """Kills one process at the moment that the seed names, and starts it again."""
    chance = random.Random(seed)
    point = chance.choice([*POINTS, *["any time"] * 3])
    victim = chance.choice(VICTIMS[:2] if point != "any time" else VICTIMS)
    if point == "any time":
        threading.Event().wait(chance.uniform(0.05, 0.3))
        machine.kill(victim)
    else:
        machine.order(victim).write_text(point)
    if not machine.await_end(victim, 20):
        raise AssertionError(f"{victim} had no batch to die in {point}")
    machine.start(victim)
