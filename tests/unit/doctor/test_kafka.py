"""What a topic must be like to keep orders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.doctor import kafka
from orders.doctor.kafka import (
    DAY,
    Hint,
    elections,
    fitness,
    group_permissions,
    message_size,
    partitions,
    replicas,
    retention,
    span,
    topic_permissions,
)
from orders.kafka.admin import PartitionReplicas, TopicDescription
from orders.settings import Settings

SETTINGS = Settings(kafka_bootstrap="broker:9092")
HINT = Hint(SETTINGS)
ALL = frozenset({"Describe", "Read", "Write"})
GOOD = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "2",
    "retention.bytes": "-1",
    "retention.ms": str(7 * DAY),
    "unclean.leader.election.enable": "false",
}


def topic(replicas: int = 3, in_sync: int = 3, leaderless: tuple[int, ...] = ()) -> TopicDescription:
    return TopicDescription(
        "id",
        {0: PartitionReplicas(0, 10, replicas, in_sync), 1: PartitionReplicas(0, 9, replicas, in_sync)},
        leaderless,
        ALL,
    )


def test_a_good_topic_is_ok_in_every_way() -> None:
    assert {check.state for check in fitness(topic(), GOOD, 3, SETTINGS)} == {"ok"}


def test_settings_that_we_may_not_read_are_skipped_with_the_permission_to_ask_for() -> None:
    _, skipped = fitness(topic(), None, 3, SETTINGS)
    assert skipped.state == "skipped"
    assert "DescribeConfigs" in skipped.found


def test_fewer_partitions_than_ingests_are_a_warning_and_one_without_a_leader_fails() -> None:
    assert partitions(topic(), Settings(ingest_processes=3)).state == "warning"
    found = partitions(topic(leaderless=(2, 5)), SETTINGS)
    assert (found.state, found.found) == ("failed", "orders has 4 partitions, and no broker leads 2, 5")


@pytest.mark.parametrize(
    ("copies", "in_sync", "least", "brokers", "state"),
    [
        (1, 1, 1, 1, "ok"),  # a single broker has no other place
        (1, 1, 1, 3, "warning"),
        (3, 3, 1, 3, "warning"),
        (2, 2, 1, 2, "warning"),
        (3, 2, 2, 3, "warning"),
        (3, 1, 2, 3, "failed"),
        (1, 1, 2, 1, "failed"),
        (3, 3, 2, 3, "ok"),
    ],
)
def test_replicas(copies: int, in_sync: int, least: int, brokers: int, state: str) -> None:
    config = {"min.insync.replicas": str(least)}
    assert replicas(topic(copies, in_sync), config, brokers, HINT).state == state


def test_the_hint_is_a_whole_command() -> None:
    assert replicas(topic(), {"min.insync.replicas": "1"}, 3, HINT).advice == (
        "kafka-configs.sh --bootstrap-server broker:9092 --alter --entity-type topics --entity-name orders "
        "--add-config min.insync.replicas=2"
    )


@pytest.mark.parametrize(
    ("config", "state"),
    [
        ({"cleanup.policy": "compact"}, "warning"),
        ({"cleanup.policy": "compact,delete"}, "warning"),
        ({"retention.bytes": "1000000"}, "warning"),
        ({"retention.ms": str(DAY - 1)}, "warning"),
        ({"retention.ms": str(DAY)}, "ok"),
        ({"retention.ms": "-1"}, "ok"),
    ],
)
def test_retention_says_how_long_ingest_may_be_down(config: dict[str, str], state: str) -> None:
    assert retention(GOOD | config, HINT).state == state
    assert "7 days" in retention(GOOD, HINT).found


def test_unclean_elections_and_small_messages_are_warnings() -> None:
    assert elections(GOOD | {"unclean.leader.election.enable": "true"}, HINT).state == "warning"
    assert message_size(GOOD | {"max.message.bytes": "1000012"}, HINT).state == "warning"


def test_a_lacking_permission_fails_with_the_command_and_brokers_that_tell_none_are_believed() -> None:
    closed = TopicDescription("id", {}, (), frozenset({"Describe", "Write"}))
    assert topic_permissions(closed, "orders").found == "this user lacks Read on topic orders"
    assert "--topic orders" in topic_permissions(closed, "orders").advice
    assert topic_permissions(TopicDescription("id", {}, (), frozenset()), "orders").state == "ok"
    assert group_permissions(frozenset({"Describe"}), "g").advice.endswith("--group g")
    assert group_permissions(frozenset(), "g").state == "ok"


@given(st.integers(min_value=0, max_value=10**15))
def test_a_span_is_short_and_not_far_from_what_it_says(milliseconds: int) -> None:
    number, unit = span(milliseconds).split()
    sizes = {"days": DAY, "hours": DAY // 24, "minutes": DAY // 1440, "seconds": 1000}
    assert float(number) * sizes[unit] == pytest.approx(milliseconds, rel=1e-3)
    assert span(-1) == "ever"
    assert kafka.span(7 * DAY) == "7 days"
