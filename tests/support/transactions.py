"""Records that come in transactions of their producer."""

from collections.abc import Iterable

from confluent_kafka import Producer

from support.machine import Machine


def in_a_transaction(machine: Machine, values: Iterable[bytes], key: bytes, *, kept: bool) -> None:
    """Sends them together, and commits or aborts."""
    kafka, topic = machine.settings.kafka, machine.settings.kafka_topic
    producer = Producer({**kafka, "transactional.id": topic, "partitioner": "murmur2_random"})  # as the service's own
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, key)
    assert producer.flush(20) == 0
    producer.commit_transaction(30) if kept else producer.abort_transaction(30)
