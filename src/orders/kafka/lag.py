"""How old the first record is that is not yet in PostgreSQL: it is read from Kafka, without a part in the group."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, Message, TopicPartition

from orders.kafka import clients
from orders.timing import monotonic

FETCH_BYTES = 2**16
"""Fetched of a partition at once: one record is wanted, and records come in the producer's batches."""


def times_of(
    kafka: Mapping[str, str], topic: str, group: str, places: Mapping[int, int], seconds: float
) -> dict[int, float]:
    """When the first records at or after `places` (offset by partition) were made, in seconds since 1970.

    Blocks for at most `seconds` and what it takes to close; what cannot be determined by then is left out. No part is
    taken in the group: its name is used because we have the right to it.
    """
    until = monotonic() + seconds
    found: dict[int, float | None] = {}
    with suppress(KafkaException), reading(kafka, topic, group, places) as consumer:
        while len(found) < len(places) and (left := until - monotonic()) > 0:
            message = consumer.poll(left)
            if message is not None:
                found.setdefault(message.partition() or 0, time_of(message))
    return {partition: time for partition, time in found.items() if time is not None}


@contextmanager
def reading(kafka: Mapping[str, str], topic: str, group: str, places: Mapping[int, int]) -> Iterator[Consumer]:
    """A consumer at these places. It is recreated each time: 7 ms, and no connection stays open."""
    config: dict[str, Any] = {
        "client.id": "orders",
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "fetch.message.max.bytes": FETCH_BYTES,
        "queued.min.messages": 1,
        "queued.max.messages.kbytes": 1,
        **kafka,
    }
    consumer = clients.consumer(config)
    try:
        consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in places.items()])
        yield consumer
    finally:
        consumer.close()


def time_of(message: Message) -> float | None:
    """None where a record has no time, or the message is an error."""
    kind, time = message.timestamp()
    return None if message.error() or kind == TIMESTAMP_NOT_AVAILABLE or time < 0 else time / 1000
