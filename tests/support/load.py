"""Load on a machine beside a fault: a stream of records, POSTs that note what was promised, GETs that are in memory."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx2
import psycopg

from orders.kafka.topic import TopicView
from orders.memory.shared import Memory
from support.background import Background
from support.checker import caught_up, check, positions
from support.machine import Machine
from support.poster import TAKEN, Poster
from support.traffic import Traffic
from support.waiting import wait_for

KNOWN = "known"
EMPTIED_SECONDS = 15.0
"""What a restore takes here, and until serve has given up the connections that went silent."""


class Load:
    """What continues beside a fault; a GET of an order in memory must be answered with it, until memory is emptied."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self.machine = machine
        self.traffic = Traffic(seed, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
        self.poster = Poster(machine, self.traffic, TAKEN | {200})  # seen once, of a new order (known issues)
        self._http = httpx2.Client(base_url=machine.url, timeout=30)
        self.gets = 0
        self.slowest_get = 0.0

    def send(self) -> None:
        with suppress(
            AssertionError
        ):  # the brokers are unavailable for longer than it waits; they get it with the next
            self.traffic.send(20)

    def get(self) -> None:
        began = time.monotonic()
        answer = self._http.get(f"/orders/{KNOWN}")
        self.slowest_get = max(self.slowest_get, time.monotonic() - began)
        assert answer.status_code == 200 or self._was_emptied(), f"{answer.status_code} for an order in memory"
        self.gets += 1

    def _was_emptied(self) -> bool:
        """Whether the keeper has emptied memory a moment ago: what comes then is read from PostgreSQL, where it can."""
        with closing(Memory.open(Path(self.machine.settings.memory_path))) as memory:
            return memory._state().emptied_at > time.monotonic() - EMPTIED_SECONDS

    def reason(self, part: str) -> str:
        """What /readyz says of a part."""
        return str(self._http.get("/readyz").json()["parts"][part]["reason"])

    def missed(self) -> tuple[int, float]:
        """What a GET of an order that is not in memory is answered, and after how many seconds."""
        began = time.monotonic()
        return self._http.get("/orders/nowhere").status_code, time.monotonic() - began

    def catch_up(self, seconds: float) -> None:
        """Until all that is in the topic now is stored."""
        settings = self.machine.settings
        ends = TopicView(settings.kafka, settings.kafka_topic).look().ends
        with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:

            def reached() -> bool:
                places = positions(connection)
                return all(places.get(partition, 0) >= end for partition, end in ends.items())

            wait_for(reached, "what is in the topic is stored", seconds)

    def check(self) -> None:
        """Every row, dead letter, promise and GET is as the topic says, once all is consumed."""
        caught_up(self.machine)
        check(self.machine, self.traffic.model(), self.poster.promised)

    def is_readable(self, order_uid: str) -> bool:
        return httpx2.get(f"{self.machine.url}/orders/{order_uid}", timeout=10).status_code == 200

    def saved(self, count: int, seconds: float) -> None:
        """Until so many more POSTs are saved."""
        before = self.poster.answers[201]
        wait_for(lambda: self.poster.answers[201] >= before + count, "POSTs are saved", seconds)

    def check_promises(self) -> None:
        """Whatever was said to be saved is there."""
        assert [uid for uid in self.poster.promised if not self.is_readable(uid)] == []

    def check_nothing_is_claimed(self) -> None:
        """Of POSTs whose records nobody reads nothing is said but that they were accepted, or that they were not."""
        self.poster.begin_again()
        wait_for(lambda: self.poster.answers.total() >= 4, "more POSTs", 40)
        assert not self.poster.answers.keys() & {200, 201}

    @contextmanager
    def posting(self) -> Iterator[None]:
        """An order is in memory; then POSTs continue, and GETs of it, which must be answered."""
        assert self.poster.post(KNOWN) == 201
        wait_for(lambda: self.is_readable(KNOWN), "the known order")
        with Background(self.poster.step, every=0.05), Background(self.get, every=0.02):
            yield

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """The same with records of every kind beside them."""
        with self.posting(), Background(self.send, every=0.05):
            yield

    def close(self) -> None:
        self._http.close()
        self.poster.close()
