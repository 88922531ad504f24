"""Stored positions against what Kafka holds."""

import pytest

from orders.doctor.positions import lag, positions
from orders.kafka.admin import PartitionReplicas, TopicDescription

TOPIC = TopicDescription("now", {0: PartitionReplicas(5, 20, 1, 1), 1: PartitionReplicas(0, 7, 1, 1)}, (), frozenset())


@pytest.mark.parametrize("position", [5, 12, 20])
def test_a_position_at_or_between_the_ends_is_ok(position: int) -> None:
    assert positions({("now", 0): position}, TOPIC, "orders").state == "ok"


@pytest.mark.parametrize(
    ("position", "words", "page"),
    [
        (4, "retention has passed it", "#retention-has-passed-the-position"),
        (21, "the log was truncated", "#log-truncation"),
    ],
)
def test_a_position_outside_fails_with_the_page_to_read(position: int, words: str, page: str) -> None:
    found = positions({("now", 1): 3, ("now", 0): position}, TOPIC, "orders")
    assert found.state == "failed"
    assert found.found == f"the stored position of orders/0 is {position}, Kafka holds 5 to 20: {words}"
    assert found.advice.endswith(page)


def test_a_topic_that_was_recreated_fails_unless_its_own_positions_are_there_too() -> None:
    assert positions({("before", 0): 3}, TOPIC, "orders").advice.endswith("#the-topic-was-recreated")
    assert positions({("before", 0): 3, ("now", 0): 6}, TOPIC, "orders").state == "ok"
    assert positions({}, TOPIC, "orders").found.startswith("0 of 2 partitions were begun")


def test_lag_counts_what_is_held_and_not_stored_a_partition_without_position_from_its_start() -> None:
    assert lag({("now", 0): 18, ("before", 1): 7}, TOPIC).found == "9 messages"
    assert lag({}, TOPIC).found == "22 messages"


def test_without_either_side_nothing_is_said() -> None:
    assert positions(None, TOPIC, "orders").state == lag({}, None).state == "skipped"
