"""A plain service for the contest of ingest: poll, decode, INSERT, COMMIT, the next.

Run as `python -m bench.inserting JSON`. The client commits its offsets by itself, which costs nothing here.
"""

import sys
from typing import Any

import msgspec
import psycopg
from confluent_kafka import Consumer, TopicPartition

from bench.children import rest, say
from orders.decoder import decode
from orders.ingest.store import moment
from orders.order import Content

INSERT = """
insert into orders values (
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
    %s, %s, nextval('order_ids'), nextval('order_versions'), %s, %s, %s, %s
)
"""


def main(given: dict[str, Any]) -> None:
    """Writes `count` orders of a topic."""
    config = {"bootstrap.servers": given["kafka"], "group.id": given["dsn"], "auto.offset.reset": "earliest"}
    consumer = Consumer(config)
    consumer.subscribe([given["topic"]], on_assign=tell)
    with psycopg.connect(given["dsn"]) as connection:
        written = 0
        while written < given["count"]:
            message = consumer.poll(1.0)
            if message is None:
                continue
            content = decode(message.value() or b"")
            if isinstance(content, Content):
                origin = given["topic"], message.partition(), message.offset(), moment(message.timestamp()[1])
                connection.execute(INSERT, (*content.row, *origin))
                connection.commit()
                written += 1
    say("written")
    rest()


def tell(_: Consumer, partitions: list[TopicPartition]) -> None:
    """Polling begins."""
    say("partitions_assigned", partitions=[each.partition for each in partitions])


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1]))
