"""Load on a machine, and who watches it meanwhile: what `checker` cannot see after the fact.

Answers are compared with PostgreSQL while it changes (9), the parts of a batch with their positions (3), the resident
memory of each process with its bound (7), every answer with what may be answered (10), and the time until consumption
continues (6).
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

import httpx2
import psutil
import psycopg

from orders.kafka.topic import TopicView
from support.background import Background
from support.checker import Breach, Broken, Checked, beyond, caught_up, check, positions
from support.poster import Poster
from support.traffic import Traffic
from support.waiting import wait_for

RECOVERY_SECONDS = 10.0
"""Within which consumption is back after a kill."""
PROCESS_BYTES = 160 * 2**20
"""What a process takes before it does anything, with the libraries that it stands on."""
LOOK = "-c statement_timeout=3000"


def bound(machine: Checked) -> int:
    """Bytes of resident memory that no process may exceed: itself, the map of shared memory, what it fetches and holds.

    A batch is held as bytes, as records, as rows, and as documents.
    """
    settings = machine.settings
    held = settings.kafka_queue_bytes + 4 * settings.batch_bytes
    return PROCESS_BYTES + 2 * settings.memory_bytes + held


class Database:
    """A connection of who watches: made when needed, and given up when it is lost."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    @contextmanager
    def asked(self) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
        """Raises `psycopg.Error` where PostgreSQL is unavailable."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=2, options=LOOK)
            yield self._connection
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Getter:
    """Compares GETs with PostgreSQL: where a row stays the same around a GET, the GET must say what it says."""

    def __init__(self, machine: Checked, traffic: Traffic, database: Database) -> None:
        self._traffic, self._database = traffic, database
        self._random = random.Random(traffic.seed)
        self._http = httpx2.Client(base_url=machine.url, timeout=10)
        self.compared = 0

    def step(self) -> None:
        order_uid = f"order-{self._random.randint(1, max(self._traffic.made, 1))}"
        with suppress(httpx2.TransportError, psycopg.Error):  # the worker was killed, or PostgreSQL is unavailable
            before = self._stored(order_uid)
            answer = self._http.get(f"/orders/{order_uid}")
            if answer.status_code not in {200, 404, 503}:
                raise Broken([Breach(10, f"GET of {order_uid} is {answer.status_code}")], self._traffic.seed)
            if answer.status_code != 503 and self._stored(order_uid) == before:
                self._compare(order_uid, answer, before)

    def _compare(self, order_uid: str, answer: httpx2.Response, stored: int | None) -> None:
        got = None if answer.status_code == 404 else answer.json()["order"]["payment"]["amount"]
        if got != stored:
            raise Broken([Breach(9, f"{order_uid}: {got} where PostgreSQL holds {stored}")], self._traffic.seed)
        self.compared += 1

    def _stored(self, order_uid: str) -> int | None:
        query = "select payment_amount from orders where order_uid = %s"
        with self._database.asked() as connection:
            row = connection.execute(query, (order_uid,)).fetchone()
        return None if row is None else int(str(row[0]))

    def close(self) -> None:
        self._http.close()


class Watched(Checked, Protocol):
    """What can be watched: it tells its processes by kind."""

    @property
    def pids(self) -> dict[str, int]: ...


class Guard:
    """Looks at what must hold at any moment: batches are whole, and processes stay small."""

    def __init__(self, machine: Watched, database: Database, seed: int) -> None:
        self._machine, self._database, self._seed = machine, database, seed
        self.largest: dict[str, int] = {}

    def step(self) -> None:
        breaches = [Breach(3, f"{where} lies beyond its position") for where in self._beyond()]
        breaches += [
            Breach(7, f"{kind} takes {size >> 20} MB, more than {bound(self._machine) >> 20} MB")
            for kind, size in self._sizes()
            if size > bound(self._machine)
        ]
        if breaches:
            raise Broken(breaches, self._seed)

    def _beyond(self) -> list[str]:
        with suppress(psycopg.Error), self._database.asked() as connection:
            return beyond(connection)
        return []

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for kind, pid in self._machine.pids.items():
            with suppress(psutil.Error):  # it was killed
                size = psutil.Process(pid).memory_info().rss
                self.largest[kind] = max(size, self.largest.get(kind, 0))
                yield kind, size


class Load(NamedTuple):
    """What continues beside a test."""

    traffic: Traffic
    poster: Poster
    getter: Getter


@contextmanager
def under_load(machine: Watched, seed: int, records: int = 30) -> Iterator[Load]:
    """Messages, POSTs, GETs and watchers beside the block; after it everything is consumed and checked."""
    traffic = Traffic(seed, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
    databases = Database(machine.settings.postgres_dsn), Database(machine.settings.postgres_dsn)
    poster, getter = Poster(machine, traffic), Getter(machine, traffic, databases[0])
    guard = Guard(machine, databases[1], seed)
    try:
        with (
            Background(lambda: traffic.send(records), every=0.05),
            Background(poster.step_or_break, every=0.03),
            Background(getter.step, every=0.01),
            Background(guard.step, every=0.5),
        ):
            yield Load(traffic, poster, getter)
        caught_up(machine)
        check(machine, traffic.model(), poster.promised)
    finally:
        for each in (poster, getter, *databases):
            each.close()


def recovery(machine: Checked, since: float, seed: int, most: float = RECOVERY_SECONDS) -> float:
    """Seconds from `since` until every partition is consumed beyond its end of now. Raises `Broken` after `most`.

    Traffic continues meanwhile: each partition gets records that nobody had read before.
    """
    ends = TopicView(machine.settings.kafka, machine.settings.kafka_topic).look().ends
    with psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection:

        def is_beyond() -> bool:
            stored = positions(connection)
            return all(stored.get(partition, 0) > end for partition, end in ends.items())

        wait_for(is_beyond, "every partition is consumed again", 60)
    took = time.monotonic() - since
    if took > most:
        raise Broken([Breach(6, f"consumption came back after {took:.1f} s")], seed)
    return took
