"""Why no broker can be asked: told with the address, without waiting long."""

import socket

import pytest

from orders.errors import Unavailable
from orders.kafka.admin import Brokers, PartitionReplicas, TopicDescription
from orders.timing import monotonic
from support.machine import free_port

SECONDS = 1.5


def reason(address: str, **properties: str) -> str:
    """What is said of an address, within a bounded time."""
    began = monotonic()
    with pytest.raises(Unavailable) as told:
        Brokers({"bootstrap.servers": address, **properties}, SECONDS).count()
    assert monotonic() - began < SECONDS + 5
    start, end = f"Kafka cannot be reached at {address} (", "): start it, or correct its address"
    assert str(told.value).startswith(start)
    assert str(told.value).endswith(end)
    return str(told.value)[len(start) : -len(end)]


def test_a_port_where_nobody_listens_is_refused() -> None:
    port = free_port()
    assert reason(f"127.0.0.1:{port}") == f"Connect to 127.0.0.1:{port} failed: Connection refused"


def test_a_name_that_is_none_is_not_resolved() -> None:
    assert reason("nowhere.invalid:9092").startswith("Failed to resolve 'nowhere.invalid:9092'")


@pytest.mark.parametrize("setup", ["30000", "1000"], ids=["the client still waits", "the client gave up too"])
def test_one_who_never_answers_is_given_up(setup: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert reason(address, **{"socket.connection.setup.timeout.ms": setup}) == "no answer"


def test_a_topic_counts_partitions_without_a_leader_too_and_the_fewest_replicas() -> None:
    topic = TopicDescription(
        "id", {0: PartitionReplicas(0, 0, 3, 3), 2: PartitionReplicas(0, 0, 2, 2)}, (1,), frozenset()
    )
    assert (topic.count, topic.replicas) == (3, 2)
    assert TopicDescription("id", {}, (0,), frozenset()).replicas == 0
