"""A seeded stream of orders, and the model of what must have become of it: read back from the topic itself."""

import random
from collections.abc import Container, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple, cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from orders.order import Content, text
from support.entries import content
from support.hostile import NOT_JSON, WRONG_VALUES

Headers = tuple[tuple[str, bytes | None], ...]
SMALL = [h.value for h in (*NOT_JSON, *WRONG_VALUES) if 0 < len(h.value) < 5000]
"""Invalid messages that do not slow a stream down."""
SHARES = {"create": 45, "repeat": 15, "replace": 20, "delete": 8, "invalid": 7, "keyless": 5}


HEADERS: list[Headers] = [(), (("trace", b"00-4bf9"),), (("source", b"\xff\x00"), ("source", None), ("", b""))]
"""What invalid messages carry beside key and value."""


class Letter(NamedTuple):
    """An invalid message and where it lies in the topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Model(NamedTuple):
    """What the topic says: the canonical text of each order, and the messages that must be dead letters.

    `uids` are those of all orders that ever were, `neighbours` those whose last record lies beside an invalid message
    in the same partition, `texts` all that was sent.
    """

    orders: dict[str, bytes]
    dead_letters: set[Letter]
    uids: set[str]
    neighbours: AbstractSet[str] = frozenset()
    texts: Container[bytes] = frozenset()
    seed: int = 0


class Traffic:
    """Makes messages by seed; knows of every value whether it is an order."""

    def __init__(self, seed: int, bootstrap: str, topic: str) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self._bootstrap, self._topic = bootstrap, topic
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"}
        )
        self._amounts: dict[str, int] = {}
        self.made = 0
        self.texts: dict[bytes, str] = {}
        """The uid of every order that was made, by the text that was sent."""

    def send(self, count: int) -> None:
        """Produces `count` messages and waits for their acknowledgement."""
        kinds = self._random.choices(list(SHARES), list(SHARES.values()), k=count)
        for kind in kinds:
            key, value = self._make(kind)
            headers = self._random.choice(HEADERS) if kind == "invalid" else ()
            self._producer.produce(self._topic, value, key, headers=list(headers))
        assert self._producer.flush(60) == 0

    def _make(self, kind: str) -> tuple[bytes | None, bytes | None]:
        if kind == "invalid":
            return self._random.choice([None, b"some"]), self._random.choice(SMALL)
        if kind == "keyless":
            return None, self.new().text
        order_uid = self._random.choice(list(self._amounts)) if self._amounts and kind != "create" else None
        if order_uid is None:
            made = self.new()
            self._amounts[made.row.order_uid] = 1
            return made.row.order_uid.encode(), made.text
        if kind == "delete":
            return order_uid.encode(), None
        self._amounts[order_uid] += kind == "replace"
        return order_uid.encode(), self.order(order_uid, self._amounts[order_uid]).text

    def new(self) -> Content:
        """An order with a uid of its own: `order-` and its number, up to `made`."""
        self.made += 1
        return self.order(f"order-{self.made}", 1)

    def order(self, order_uid: str, amount: int) -> Content:
        row = content(order_uid, amount).row._replace(items=self._items(amount))
        made = Content(row, text(row))
        self.texts[made.text] = order_uid
        return made

    def _items(self, amount: int) -> str:
        item = (
            '{"chrt_id":%d,"track_number":"WBIL","price":453,"rid":"ab42","name":"Тушь","sale":30,"size":"0",'
            '"total_price":317,"nm_id":2389212,"brand":"Vivienne Sabo","status":202}'
        )
        return f"[{item % amount}]"

    def model(self) -> Model:
        """Folds the whole topic, record by record, as plainly as can be."""
        model = Model({}, set(), set(), set(), self.texts, self.seed)
        beside = Beside()
        for message in whole_topic(self._bootstrap, self._topic):
            order_uid = self._fold(message, model)
            beside.saw(message.partition() or 0, order_uid)
        return model._replace(neighbours=beside.neighbours)

    def _fold(self, message: Message, model: Model) -> str | None:
        """The uid of the order that the message is about; None: it is invalid."""
        key, value = bytes_of(message.key()), bytes_of(message.value())
        headers = cast("Headers", tuple(message.headers() or ()))
        order_uid = key.decode() if value is None and key else self.texts.get(value or b"")
        if order_uid is None:
            model.dead_letters.add(Letter(message.partition() or 0, message.offset() or 0, key, value, headers))
            return None
        model.uids.add(order_uid)
        if value is None:
            model.orders.pop(order_uid, None)
        elif not headers or order_uid not in model.orders:  # a POST's record has headers: it must be absent
            model.orders[order_uid] = value
        return order_uid


class Beside:
    """Notes whose last record lies directly before or after an invalid message of its partition."""

    def __init__(self) -> None:
        self.neighbours: set[str] = set()
        self._before: dict[int, str | None] = {}

    def saw(self, partition: int, order_uid: str | None) -> None:
        """`order_uid` None: an invalid message."""
        before = self._before.get(partition, "")
        if order_uid is None and before:
            self.neighbours.add(before)
        if order_uid is not None:
            self.neighbours.discard(order_uid)
            if before is None:
                self.neighbours.add(order_uid)
        self._before[partition] = order_uid


def bytes_of(value: str | bytes | None) -> bytes | None:
    assert not isinstance(value, str)
    return value


def whole_topic(bootstrap: str, topic: str) -> Iterator[Message]:
    """Every record of a topic that stands still, partition by partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "model", "enable.auto.commit": False})
    try:
        for partition in consumer.list_topics(topic, 10).topics[topic].partitions:
            place = TopicPartition(topic, partition, 0)
            low, high = consumer.get_watermark_offsets(place, 10)
            consumer.assign([TopicPartition(topic, partition, low)])
            yield from until(consumer, high, low)
    finally:
        consumer.close()


def until(consumer: Consumer, high: int, low: int) -> Iterator[Message]:
    offset = low - 1
    while offset < high - 1:
        for message in consumer.consume(500, 0.1):
            assert message.error() is None
            offset = message.offset() or 0
            yield message
