"""The records of the topic up to where PostgreSQL was, read by a consumer that belongs to no group and commits nothing.

Like `consumer` it knows the Kafka client.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orders.errors import Misconfigured, Unavailable
from orders.kafka import clients
from orders.kafka.consumer import BEYOND_ERRORS, CONSUME_MOST, UNREADABLE_ERRORS, record_of
from orders.kafka.errors import LastClientError, verdict
from orders.record import Record, Span
from orders.timing import Clock, monotonic

POLL_SECONDS = 0.5
SILENT_SECONDS = 30.0
"""How long Kafka may say nothing before it counts as unavailable."""
END = KafkaError._PARTITION_EOF  # noqa: SLF001 - a public name


def config_of(kafka: Mapping[str, str], group: str, queue_bytes: int) -> dict[str, Any]:
    """Properties of the consumer. The group's name is used because we have the right to it; no part is taken in it."""
    return {
        "client.id": "orders",
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "check.crcs": True,
        "queued.max.messages.kbytes": max(queue_bytes // 1024, 1),
        "fetch.message.max.bytes": 2**20,
        "fetch.queue.backoff.ms": 20,
        **kafka,
    }


class TopicReader:
    """Reads spans of a topic, those of all partitions side by side, each in its order."""

    def __init__(
        self, config: Mapping[str, Any], topic: str, spans: Mapping[int, Span], clock: Clock = monotonic
    ) -> None:
        self._last_error = LastClientError()
        self._consumer: Consumer = clients.consumer({**config, "error_cb": self._last_error})
        self._topic = topic
        self._left = {partition: span.end for partition, span in spans.items() if span.begin < span.end}
        self._clock = clock
        self._consumer.assign([TopicPartition(topic, each, spans[each].begin) for each in self._left])

    def __iter__(self) -> Iterator[list[Record]]:
        """Raises `Unavailable` or `Misconfigured`."""
        heard_at = self._clock()
        while self._left:
            messages = self._take()
            if messages:
                heard_at = self._clock()
            elif self._clock() - heard_at > SILENT_SECONDS:
                raise self._last_error.wrong() or Unavailable(f"Kafka is unavailable ({self._last_error.reason})")
            yield [record_of(message) for message in messages if self._is_wanted(message)]

    def _take(self) -> list[Message]:
        try:
            first = self._consumer.poll(POLL_SECONDS)
            return [] if first is None else [first, *self._consumer.consume(CONSUME_MOST, 0)]
        except KafkaException as error:
            raise verdict(error.args[0], self._topic, permission="Read") from None

    def _is_wanted(self, message: Message) -> bool:
        partition, offset = message.partition() or 0, message.offset() or 0
        error = message.error()
        if error is not None and error.code() != END:
            self._fail(error, partition, offset)
            return False
        end = self._left.get(partition)
        if end is None:
            return False
        if error is not None and offset < end:
            raise Unavailable(f"{self._topic}/{partition} became shorter while it was read: run this again")
        if offset >= end - 1:
            self._leave(partition)
        return error is None and offset < end

    def _fail(self, error: KafkaError, partition: int, offset: int) -> None:
        place = f"{self._topic}/{partition}"
        if error.code() in BEYOND_ERRORS:
            raise Unavailable(f"retention removed records of {place} while they were read: run this again")
        if error.code() in UNREADABLE_ERRORS:
            raise Misconfigured(f"what Kafka holds in {place} at offset {offset} cannot be read ({error.name()})")
        wrong = verdict(error, self._topic, permission="Read")
        if isinstance(wrong, Misconfigured):
            raise wrong

    def _leave(self, partition: int) -> None:
        del self._left[partition]
        self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def close(self) -> None:
        self._consumer.close()


def read(
    config: Mapping[str, Any],
    topic: str,
    spans: Mapping[int, Span],
    take: Callable[[Record], None],
    advance: Callable[[int], None],
) -> dict[int, int]:
    """Gives each record to `take`, and calls `advance` with how many more; how many there were in each partition.

    Raises `Unavailable` or `Misconfigured`.
    """
    counts = dict.fromkeys(spans, 0)
    reader = TopicReader(config, topic, spans)
    try:
        for records in reader:
            for record in records:
                counts[record.partition] += 1
                take(record)
            advance(len(records))
    finally:
        reader.close()
    return counts
