"""Orders to Kafka: one idempotent producer, used by POST and by `orders send`."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from orders import threads
from orders.errors import OrdersError, TooLarge, Unavailable
from orders.kafka import clients
from orders.kafka.errors import verdict

log = structlog.get_logger()

POLL_SECONDS = 0.1
BATCH_BYTES = 1_000_000
"""librdkafka's own default of batch.size."""
QUEUE_KILOBYTES = 32_768
"""Most that waits for the brokers: a bound of memory."""
MAX_MESSAGE_BYTES = 1_048_588
"""Kafka's own default limit; librdkafka's is smaller than the largest order with its headers."""
OVERHEAD_BYTES = 256
"""What Kafka's framing of one record takes at most, but for its headers' own."""
HEADER_BYTES = 10
"""What it takes of one header at most."""
OUTSTANDING = 10_000
"""Most messages that `send` has on the way."""
OUTSTANDING_BYTES = QUEUE_KILOBYTES * 1024 // 2
"""Most bytes of them: with its own overhead for each, Kafka's client has room for them."""

ENDED = frozenset(
    {
        KafkaError._FATAL,  # noqa: SLF001 - a public name
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - as above
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - as above
    }
)
"""What records hear of a producer that ended; why, was said before."""

Headers = Sequence[tuple[str, bytes | None]]


class Delivered(NamedTuple):
    """Where the brokers put a record."""

    partition: int
    offset: int


Report = Callable[[Delivered | OrdersError], None]
Pair = tuple[bytes | None, bytes | None]
"""Key and value of a record."""
Keyed = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a record."""


class Handing(Protocol):
    """What takes records and reports on them."""

    def produce(self, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: Report) -> None: ...
    def flush(self, timeout: float = -1) -> int: ...


def fits(key: bytes | None, value: bytes | None, headers: Headers) -> bool:
    """Whether the brokers take a record of this size, as they are set by default."""
    size = sum(len(name.encode()) + len(each or b"") + HEADER_BYTES for name, each in headers)
    return len(key or b"") + len(value or b"") + size + OVERHEAD_BYTES <= MAX_MESSAGE_BYTES


def is_size(error: KafkaError) -> bool:
    """Whether a record is refused for its size: by the brokers, or by the client before it asks any."""
    return bool(error.code() == KafkaError.MSG_SIZE_TOO_LARGE)


def hand_over(producer: Handing, records: Iterable[Keyed], seconds: float = -1) -> dict[int, OrdersError]:
    """Produces records and waits for their reports, for `seconds` at most; why some failed, by their number from 0.

    One that is `TooLarge` may be small: brokers refuse a batch whole. Alone it is judged for itself. Raises
    `Unavailable` where reports are missing.
    """
    failures: dict[int, OrdersError] = {}

    def reported(number: int, result: Delivered | OrdersError) -> None:
        if isinstance(result, OrdersError):
            failures[number] = result

    for number, record in enumerate(records):
        producer.produce(*record, partial(reported, number))
    if producer.flush(seconds):
        raise Unavailable("Kafka does not acknowledge what it was sent")
    return failures


class Room:
    """Bounds what is on the way, in records and in bytes; one record is let in whatever its size."""

    def __init__(self) -> None:
        self._records = self._bytes = 0
        self._changed = threading.Condition()

    def enter(self, size: int) -> None:
        """Waits until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(size))
            self._records += 1
            self._bytes += size

    def _has_room(self, size: int) -> bool:
        fits = self._records < OUTSTANDING and self._bytes + size <= OUTSTANDING_BYTES
        return fits or not self._records

    def leave(self, size: int) -> None:
        """A record has its report."""
        with self._changed:
            self._records -= 1
            self._bytes -= size
            self._changed.notify()


class OrderProducer:
    """Writes records to one topic, each exactly once and in order, or reports why not.

    `kafka` are the properties that lead to the brokers; `message_timeout` is how long, in seconds, a record may wait
    for its acknowledgement. `topic_bytes` is the topic's max.message.bytes where it is known: it bounds a batch of
    records, and brokers refuse a larger batch whole, with records that would pass alone. Thread-safe.
    """

    def __init__(
        self, kafka: Mapping[str, str], topic: str, message_timeout: float, *, topic_bytes: int | None = None
    ) -> None:
        self._config: dict[str, Any] = {
            "client.id": "orders",
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",  # as Java's producers: one key, one partition, no matter who sends
            "linger.ms": 2,
            "message.timeout.ms": int(message_timeout * 1000),
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": QUEUE_KILOBYTES,
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.propagation.max.ms": 1000,  # a topic that is unknown for so long does not exist
            "batch.size": min(topic_bytes or BATCH_BYTES, BATCH_BYTES),
            **kafka,
        }
        self.topic = topic
        self._topic_bytes = topic_bytes
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._ended: OrdersError | None = None
        """Why the last producer ended that did."""
        self._retired: list[Producer] = []
        """Those that ended and may have records without a report."""
        self._open = 0
        """Records without a report, of whichever producer."""
        self._reported = threading.Condition()
        self._closing = threading.Event()
        self._current()
        self._poller = threads.start("producer", self._poll)

    def produce(self, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: Report) -> None:
        """Hands a record over; `on_delivery` is called once, from another thread, with its place or why not.

        A `value` of None deletes. Raises `Unavailable`, `Misconfigured` or `TooLarge` if the record cannot be queued.
        """

        def report(error: KafkaError | None, message: Message) -> None:
            try:
                on_delivery(self._result(error, message))
            finally:
                self._count(-1)

        producer = self._current()
        self._count(1)
        try:
            producer.produce(self.topic, value, key, headers=list(headers), on_delivery=report)
        except BufferError:
            self._count(-1)
            raise Unavailable("Kafka takes records more slowly than they come") from None
        except KafkaException as error:
            self._count(-1)
            if is_size(error.args[0]):  # no broker was asked
                raise TooLarge(f"larger than the {MAX_MESSAGE_BYTES} bytes that Kafka's client sends at most") from None
            raise self._failed(error.args[0]) from None

    def _count(self, change: int) -> None:
        with self._reported:
            self._open += change
            self._reported.notify_all()

    def send(self, records: Iterable[Pair], on_result: Callable[[int, Delivered | OrdersError], None]) -> int:
        """Produces all records and waits for their acknowledgements; returns how many there were.

        `on_result` is called once for each, with its number from 0 and its place or why it is not in Kafka, from this
        thread or another. One that is too large is left out; after any other failure nothing more is sent, and the
        first is raised.
        """
        room = Room()
        failures: list[OrdersError] = []
        acknowledged = 0

        def reported(number: int, size: int, result: Delivered | OrdersError) -> None:
            nonlocal acknowledged
            if isinstance(result, Delivered):
                acknowledged += 1
            elif not isinstance(result, TooLarge):
                failures.append(result)
            on_result(number, result)
            room.leave(size)

        numbered = enumerate(records)
        while not failures and (following := next(numbered, None)) is not None:
            number, (key, value) = following
            size = len(key or b"") + len(value or b"")
            room.enter(size)
            report = partial(reported, number, size)
            try:
                self.produce(key, value, (), report)
            except OrdersError as error:
                report(error)
        self.flush()
        if failures:
            raise failures[0]
        return acknowledged

    def flush(self, timeout: float = -1) -> int:
        """Waits until every record has its report, for `timeout` seconds at most; returns how many have none.

        It counts them itself: Kafka's client raises a fatal error here, and knows nothing of the records of a producer
        that was replaced.
        """
        with self._reported:
            self._reported.wait_for(lambda: not self._open, None if timeout < 0 else timeout)
            return self._open

    def close(self, timeout: float = 1.0) -> None:
        """Flushes, then ends the thread; a record without its report by then may or may not arrive."""
        self.flush(timeout)
        self._closing.set()
        self._poller.join()
        self._producer = None

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._purge_retired()
            producer = self._producer
            if producer is None:  # it ended; the next record makes another, which may meet the same
                self._closing.wait(POLL_SECONDS)
                continue
            try:
                producer.poll(POLL_SECONDS)
            except KafkaException as error:  # a fatal one
                self._failed(error.args[0])

    def _purge_retired(self) -> None:
        """Records of producers that ended have their reports now: nobody would hear them later."""
        for producer in list(self._retired):
            with suppress(KafkaException):
                producer.purge()
                producer.flush(POLL_SECONDS)
            if not len(producer):
                self._retired.remove(producer)

    def _current(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = clients.producer(self._config)
            return self._producer

    def _result(self, error: KafkaError | None, message: Message) -> Delivered | OrdersError:
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            return Delivered(partition, offset)
        return self._failed(error) if error else Unavailable("Kafka acknowledged a record without an offset")

    def _failed(self, error: KafkaError) -> OrdersError:
        if error.fatal():
            # An idempotent producer that lost its place in the log (it was truncated) never recovers; the next one
            # does.
            if structlog.is_configured():  # a command has no log, and reports the error itself
                log.error("producer_fatal", reason=error.name())
            with self._lock:
                if self._producer is not None:
                    self._retired.append(self._producer)
                self._producer = None
                self._ended = verdict(error, self.topic, permission="Write")
        if error.code() in ENDED and self._ended:
            return self._ended
        ours = verdict(error, self.topic, permission="Write")
        return TooLarge(f"{ours} (it is {self._topic_bytes})") if self._topic_bytes and is_size(error) else ours
