"""A consumer that only counts: what Kafka and its client give at most. Run as `python -m bench.counting JSON`."""

import sys
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.children import rest, say
from orders.kafka.consumer import CONSUME_MOST, consumer_config

QUEUE_BYTES = 16 * 2**20
"""As the service's own consumer has it."""


def main(given: dict[str, Any]) -> None:
    """Counts what the partitions hold up to their ends; they are assigned, so that none is counted twice."""
    ends = {int(partition): end for partition, end in given["ends"].items()}
    consumer = Consumer(
        consumer_config(
            kafka={"bootstrap.servers": given["kafka"]},
            group="bench-counting",
            member=f"bench-counting-{min(ends)}",
            protocol="classic",
            session_seconds=6,
            queue_bytes=QUEUE_BYTES,
        )
    )
    consumer.assign([TopicPartition(given["topic"], partition, OFFSET_BEGINNING) for partition in ends])
    say("partitions_assigned", partitions=list(ends))
    count, most = 0, sum(ends.values())
    while count < most:
        first = consumer.poll(1.0)
        if first is not None:
            count += 1 + len(consumer.consume(CONSUME_MOST, 0))
    say("counted", count=count)
    rest()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1]))
