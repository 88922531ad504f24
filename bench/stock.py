"""What contests are fed with, made once: orders as rows, as served documents, and as a backlog in a topic."""

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, TopicPartition
from msgspec import Struct

from orders.decoder import decode
from orders.errors import StartError
from orders.kafka.producer import OrderProducer
from orders.kafka.topic import TopicView, create_topic
from orders.memory.shared import Put
from orders.order import Content, document
from orders.sample import samples

PARTITIONS = 4
SEED = 1
"""Of the backlog and of the rows: the same orders. What is in memory already has another."""
SEED_IN_MEMORY = 2
DELIVERY_SECONDS = 120.0
FETCH_SECONDS = 20.0

DbRow = tuple[Any, ...]
"""A row of the table `orders` as it is written, in the order of the columns."""


class Named(Struct):
    """The part of an order that names it."""

    order_uid: str


read_name = msgspec.json.Decoder(Named).decode


class Backlog(NamedTuple):
    """Orders that wait in a topic, where its partitions end, and the uids of the last order in each."""

    topic: str
    orders: int
    ends: Mapping[int, int]
    last: list[bytes]


def keyed(values: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Orders with their uids before them, as `orders send` sends them."""
    return ((read_name(value).order_uid.encode(), value) for value in values)


def contents(count: int, seed: int) -> Iterator[Content]:
    """Sample orders as the service's decoder reads them."""
    for value in samples(count, seed):
        content = decode(value)
        if not isinstance(content, Content):
            raise StartError("a sample order is refused by the decoder")
        yield content


class Stock:
    """What was made is kept: another contest finds it ready."""

    def __init__(self, kafka: Mapping[str, str]) -> None:
        self.kafka = kafka
        self._backlogs: dict[int, Backlog] = {}
        self._rows: list[DbRow] = []
        self._documents: list[Put] = []

    def backlog(self, count: int) -> Backlog:
        """A topic of 4 partitions with so many orders, each keyed by its uid."""
        if count not in self._backlogs:
            topic = self.topic()
            producer = OrderProducer(self.kafka, topic, DELIVERY_SECONDS)
            producer.send(keyed(samples(count, SEED)), lambda *_: None)
            producer.close()
            ends = TopicView(self.kafka, topic).look().ends
            self._backlogs[count] = Backlog(topic, count, ends, self._last(topic, ends))
        return self._backlogs[count]

    def topic(self) -> str:
        """A new topic without records."""
        name = f"bench-{secrets.token_hex(6)}"
        create_topic(self.kafka, name, PARTITIONS)
        return name

    def _last(self, topic: str, ends: Mapping[int, int]) -> list[bytes]:
        with self._consumer() as first:  # the first group of a Kafka waits until its own topics are made: not ours
            first.subscribe([topic])
            first.poll(FETCH_SECONDS)
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(topic, partition, end - 1) for partition, end in ends.items() if end])
            found = consumer.consume(sum(map(bool, ends.values())), FETCH_SECONDS)
        last = [key for message in found if isinstance(key := message.key(), bytes)]
        if len(last) < sum(map(bool, ends.values())):
            raise StartError("Kafka did not give the last records of the backlog in time")
        return last

    def _consumer(self) -> closing[Consumer]:
        config = {"group.id": f"bench-{secrets.token_hex(6)}", "auto.offset.reset": "earliest", **self.kafka}
        return closing(Consumer(config))

    def rows(self, count: int) -> list[DbRow]:
        """Rows of the backlog's orders, prepared as far as a client can: the values that are handed to psycopg."""
        if len(self._rows) < count:
            now = datetime.fromtimestamp(time.time(), UTC)
            topic_id = secrets.token_urlsafe(16)
            self._rows = [
                (*content.row, n, n, topic_id, n % PARTITIONS, n // PARTITIONS, now)
                for n, content in enumerate(contents(count, SEED), 1)
            ]
        return self._rows[:count]

    def documents(self, count: int) -> list[Put]:
        """Orders as they are served and put into memory, others than those of the backlog."""
        if len(self._documents) < count:
            made = enumerate(contents(count, SEED_IN_MEMORY), 1)
            self._documents = [Put(c.row.order_uid, n, document(n, c.text)) for n, c in made]
        return list(islice(self._documents, count))
