"""Single orders at a modest rate: from produce to readable, from POST to 201; and alone the two steps they stand on."""

import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from pathlib import Path
from threading import Event

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bench.children import Events, awaited
from bench.contest import Comparison, Contest, Contestant, Field, Figure, Values
from bench.ingest import ingests, is_assigned
from bench.measure import percentile
from bench.press import Pace, generated, only, posts
from bench.rows import copy_in
from bench.servers import Server, ours
from bench.services import Ground, database, memory
from bench.sizes import Sizes
from bench.stock import keyed
from orders.errors import OrdersError, StartError
from orders.kafka.producer import Delivered, OrderProducer
from orders.memory.shared import Memory
from orders.sample import samples

READABLE = "orders: produce to readable"
POSTED = "orders: POST to 201"
STEPS = "alone: produce, then COMMIT"
LOOK_SECONDS = 0.0002
GIVE_UP_SECONDS = 20.0
MOST_ORDERS = 50_000
"""Room in memory for the orders of all rounds."""
DELIVERY_SECONDS = 10.0
SHARES = {"p50": 0.5, "p99": 0.99}
SEEDS = count(1000)
"""Each run sends orders that were never there."""


def latencies(seconds: list[float]) -> Values:
    """What is told of many latencies, in milliseconds."""
    ordered = sorted(seconds)
    return {name: percentile(ordered, share) * 1e3 for name, share in SHARES.items()}


class Stream:
    """Orders that are produced at their moments, each looked for until it is readable."""

    def __init__(self, producer: OrderProducer, shared: Memory, orders: int, rate: float) -> None:
        self._producer = producer
        self._shared = shared
        self._records = keyed(samples(orders, next(SEEDS)))
        self._due = deque(number / rate for number in range(orders))
        self._waiting: dict[bytes, float] = {}
        self._begin = 0.0

    def run(self) -> list[float]:
        """Seconds from the moment at which an order was due to be produced until `Memory.get` found it."""
        end = time.monotonic() + self._due[-1] + GIVE_UP_SECONDS
        taken: list[float] = []
        self._begin = time.perf_counter()
        while self._due or self._waiting:
            self._send()
            taken += self._found()
            time.sleep(LOOK_SECONDS)
            if time.monotonic() > end:
                raise StartError(f"{len(self._waiting)} orders were produced and did not become readable")
        return taken

    def _send(self) -> None:
        while self._due and self._begin + self._due[0] <= time.perf_counter():
            key, value = next(self._records)
            self._waiting[key] = self._begin + self._due.popleft()
            self._producer.produce(key, value, (), unheard)

    def _found(self) -> list[float]:
        readable = [key for key in self._waiting if self._shared.get(key)]
        now = time.perf_counter()
        return [now - self._waiting.pop(key) for key in readable]


def unheard(_: Delivered | OrdersError) -> None:
    """An order that Kafka refuses does not become readable: that is looked at."""


@dataclass
class House:
    """One ingest and one worker that wait for orders, and how many come at what rate."""

    kafka: Mapping[str, str]
    topic: str
    shared: Memory
    folder: Path
    server: Server
    rate: float
    orders: int

    def run_produced(self) -> Values:
        """From produce to readable; a producer's first record waits for the brokers' greetings, and is not told."""
        producer = OrderProducer(self.kafka, self.topic, DELIVERY_SECONDS)
        try:
            producer.send(keyed(samples(1, next(SEEDS))), lambda *_: None)
            return latencies(Stream(producer, self.shared, self.orders, self.rate).run())
        finally:
            producer.close()

    def run_posted(self) -> Values:
        """From the moment at which a POST is due until its answer, 201."""
        requests = posts(list(samples(self.orders, next(SEEDS))))
        load = generated(self.folder, self.server.port, requests, Pace(self.orders / self.rate, self.rate))
        only(load, HTTPStatus.CREATED)
        return {name: load.latency[name] * 1e3 for name in SHARES}


class Steps:
    """A record produced and acknowledged; then a row by COPY, and COMMIT; one order after the other."""

    def __init__(self, ground: Ground, orders: int) -> None:
        self._ground = ground
        self._orders = orders

    def run(self) -> Values:
        """The two steps one after the other, with nothing else at work."""
        rows = [(secrets.token_hex(16), *row[1:]) for row in self._ground.stock.rows(self._orders)]
        topic = self._ground.stock.topic()
        producer = Producer({"enable.idempotence": True, "acks": "all", "linger.ms": 0, **self._ground.stock.kafka})
        with database(self._ground.postgres) as dsn, psycopg.connect(dsn) as connection:
            produce(producer, topic, b"", b"")
            taken = []
            for (key, value), row in zip(keyed(samples(self._orders, next(SEEDS))), rows, strict=True):
                began = time.perf_counter()
                produce(producer, topic, key, value)
                copy_in(connection, [row])
                taken.append(time.perf_counter() - began)
        return latencies(taken)


def produce(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    """Produces a record and waits for its acknowledgement."""
    done = Event()
    failed: list[KafkaError] = []

    def report(error: KafkaError | None, _: Message) -> None:
        failed.extend([error] if error else [])
        done.set()

    producer.produce(topic, value, key, on_delivery=report)
    while not done.is_set():
        producer.poll(DELIVERY_SECONDS)
    if failed:
        raise KafkaException(failed[0])


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """One ingest and one worker, on an empty topic; they do nothing while the two steps are measured."""
    orders = int(sizes.single_rate * sizes.single_seconds)
    topic = ground.stock.topic()
    with memory(ground.folder, [], MOST_ORDERS) as (path, shared), database(ground.postgres) as dsn, ExitStack() as up:
        events = Events()
        ingests(up, settings := ground.settings(dsn, topic, path), 1, events)
        awaited(events, is_assigned)
        server = up.enter_context(ours(settings, Events()))
        house = House(ground.stock.kafka, topic, shared, ground.folder, server, sizes.single_rate, orders)
        house.run_posted()  # warms up
        yield Field(
            [
                Contestant(READABLE, house.run_produced),
                Contestant(POSTED, house.run_posted),
                Contestant(STEPS, Steps(ground, orders).run),
            ],
            notes=[f"{sizes.single_rate:.0f} orders came each second, at fixed moments; alone one after the other"],
        )


CONTEST = Contest(
    name="single",
    title="Single orders, until they are readable or answered with 201",
    figures=(Figure("p50", "ms, p50", 2), Figure("p99", "ms, p99", 2)),
    open=enter,
    seconds=25,
    comparisons=(
        Comparison("p50", READABLE, STEPS),
        Comparison("p99", READABLE, STEPS),
        Comparison("p50", POSTED, STEPS),
        Comparison("p99", POSTED, STEPS),
    ),
)
