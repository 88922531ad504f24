"""A copy of each dead letter in a topic of its own, for tools that expect one; PostgreSQL stays the truth.

Made after the commit, partition by partition, up to the stored position: what lies below it is final. How far the
copies are is committed after Kafka has them: at least once, and in order.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import structlog

from orders import threads
from orders.errors import OrdersError, TooLarge
from orders.kafka.producer import Handing, Keyed, OrderProducer, fits, hand_over
from orders.outages import Outage
from orders.postgres.connection import Connection, connect, queries, translated
from orders.settings import Settings
from orders.timing import backoff

log = structlog.get_logger()

LOOK_SECONDS = 1.0
COPIED_AT_ONCE = 20
"""Dead letters in one transaction: with the largest that Kafka takes they fit into the producer's queue."""
DELIVERY_SECONDS = 5.0
"""How long copies may wait for their acknowledgement: PostgreSQL ends a transaction that is idle for 10 s."""
JOIN_SECONDS = 1.0
WHOLE_KEY_BYTES = 1_000
ID_HEADER = "orders-dead-letter"
"""The number of the dead letter."""
LEFT_OUT_HEADER = "orders-left-out"
"""There where value and headers were too large for Kafka: they are in PostgreSQL."""
PREFIX = "__connect.errors."
"""Kafka Connect's names (its DeadLetterQueueReporter); the values are text in UTF-8."""


class UncopiedDeadLetter(NamedTuple):
    """A dead letter as it is copied."""

    id: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    header_names: list[str]
    header_values: list[bytes | None]
    reason: str
    path: str


class Due(NamedTuple):
    """A partition whose dead letters are copied up to `begin`, and final up to `end`."""

    topic_id: str
    partition: int
    end: int


class CopyProducer(Handing, Protocol):
    """What takes the copies; `topic` is theirs."""

    topic: str


class Copier:
    """Copies the dead letters of one topic; several of them, on several machines, take turns."""

    def __init__(
        self, connect: Callable[[], Connection], producer: CopyProducer, topic: str, stopping: Callable[[], bool]
    ) -> None:
        self._connect = connect
        self._producer = producer
        self._topic = topic
        self._stopping = stopping
        self._waits = backoff()
        self._outage = Outage()

    def run(self) -> None:
        """Copies until `stopping`; an outage of either side is waited out."""
        while not self._stopping():
            try:
                with self._connect() as connection:
                    self._session(connection)
            except OrdersError as error:
                if self._outage.is_news(str(error)):
                    log.warning("copies_wait", reason=str(error))
                self._idle(next(self._waits))

    def _session(self, connection: Connection) -> None:
        while not self._stopping():
            copied = self.step(connection)
            self._waits = backoff()
            if (seconds := self._outage.end()) is not None:
                log.info("copies_continue", seconds=seconds)
            if copied:
                log.info("dead_letters_copied", count=copied)
            else:
                self._idle(LOOK_SECONDS)

    def _idle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and time.monotonic() < until:
            time.sleep(min(0.1, seconds))

    def step(self, connection: Connection) -> int:
        """Some of each partition; how many were copied. Raises `Unavailable` or `Misconfigured`."""
        names = {"target": self._producer.topic, "topic": self._topic}
        with translated():
            connection.execute(queries["begin_copies"], names)
            rows = connection.execute(queries["due_copies"], names).fetchall()
        return sum(self._copy(connection, Due._make(row)) for row in rows)

    def _copy(self, connection: Connection, due: Due) -> int:
        place = {"target": self._producer.topic, "topic_id": due.topic_id, "partition": due.partition}
        with translated(), connection.transaction():
            held = connection.execute(queries["hold_copies"], place).fetchone()
            if held is None:
                return 0  # another machine is at it
            bounds = place | {"begin": held[0], "end": due.end, "most": COPIED_AT_ONCE}
            found = [UncopiedDeadLetter(*row) for row in connection.execute(queries["dead_letters_between"], bounds)]
            self._produce(found)
            upto = found[-1].offset + 1 if len(found) == COPIED_AT_ONCE else due.end
            connection.execute(queries["advance_copies"], place | {"next_offset": upto})
        return len(found)

    def _produce(self, found: list[UncopiedDeadLetter]) -> None:
        """Brokers that refuse a batch for its size get each alone, all of them: in order."""
        failures = self._hand_over(list(map(copy_of, found)))
        if any(isinstance(each, TooLarge) for each in failures.values()):
            for refused in found:
                self._produce_alone(refused)
        elif failures:
            raise next(iter(failures.values()))

    def _produce_alone(self, refused: UncopiedDeadLetter) -> None:
        """Without its value where its topic does not take it."""
        failures = self._hand_over([copy_of(refused)])
        if isinstance(failures.get(0), TooLarge):
            failures = self._hand_over([reduced(refused)])
        if failures:
            raise failures[0]

    def _hand_over(self, copies: list[Keyed]) -> dict[int, OrdersError]:
        return hand_over(self._producer, copies, DELIVERY_SECONDS + 1) if copies else {}


def copy_of(refused: UncopiedDeadLetter) -> Keyed:
    """Key, value and headers of a copy; without value and headers where Kafka would not take them."""
    headers = [*zip(refused.header_names, refused.header_values, strict=True), *headers_of(refused)]
    if fits(refused.key, refused.value, headers):
        return refused.key, refused.value, headers
    return reduced(refused)


def reduced(refused: UncopiedDeadLetter) -> Keyed:
    """A copy without value and headers, and without a key that is long."""
    key = refused.key if len(refused.key or b"") <= WHOLE_KEY_BYTES else None
    return key, None, [*headers_of(refused), (LEFT_OUT_HEADER, b"key, value and headers that are too large for Kafka")]


def headers_of(refused: UncopiedDeadLetter) -> list[tuple[str, bytes]]:
    """What Kafka Connect would say of it, and its number here."""
    values = {
        PREFIX + "topic": refused.topic,
        PREFIX + "partition": str(refused.partition),
        PREFIX + "offset": str(refused.offset),
        PREFIX + "connector.name": "orders",
        PREFIX + "task.id": "0",
        PREFIX + "stage": "TASK_PUT",
        PREFIX + "class.name": "orders.pipeline.Writer",  # read by others: no path of ours, and never changed
        PREFIX + "exception.class.name": "orders.record.Invalid",
        PREFIX + "exception.message": f"{refused.path}: {refused.reason}" if refused.path else refused.reason,
        ID_HEADER: str(refused.id),
    }
    return [(name, text.encode()) for name, text in values.items()]


@contextmanager
def copying(settings: Settings, stopping: Callable[[], bool]) -> Iterator[None]:
    """Makes copies meanwhile, in a thread, where there is a topic for them. Raises `UsageError`."""
    if not settings.dead_letters_topic:
        yield
        return
    producer = OrderProducer(settings.kafka, settings.dead_letters_topic, DELIVERY_SECONDS)
    copier = Copier(lambda: connect(settings.postgres_dsn, "copies"), producer, settings.kafka_topic, stopping)
    thread = threads.start("copies", copier.run)
    try:
        yield
    finally:
        thread.join(JOIN_SECONDS)  # what it was at is rolled back, and copied by the next one
