"""The topic as it is made, and what of one that is there is not as it was asked for."""

import pytest

from orders.doctor.creation import TopicRequest, config_of, unlike
from orders.doctor.kafka import DAY
from orders.kafka.admin import PartitionReplicas, TopicDescription

TOPIC = TopicDescription("id", {0: PartitionReplicas(0, 0, 1, 1)}, (), frozenset())


@pytest.mark.parametrize(("factor", "least"), [(1, "1"), (2, "1"), (3, "2"), (5, "4")])
def test_all_replicas_but_one_must_have_an_order(factor: int, least: str) -> None:
    assert config_of(factor, None) == {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
        "min.insync.replicas": least,
        "unclean.leader.election.enable": "false",
    }


def test_retention_is_the_brokers_unless_it_is_asked_for() -> None:
    assert config_of(3, 14)["retention.ms"] == str(14 * DAY)


def test_only_what_was_asked_for_is_compared() -> None:
    config = {"retention.ms": str(7 * DAY)}
    assert list(unlike(TOPIC, config, TopicRequest())) == []
    assert list(unlike(TOPIC, config, TopicRequest(1, 1, 7))) == []
    found = {check.name: check.found for check in unlike(TOPIC, config, TopicRequest(3, 2, 9))}
    assert found == {
        "asked: partitions": "the topic has 1, 3 were asked for",
        "asked: replicas": "each partition has 1, 2 were asked for",
        "asked: retention": "records are kept for 7 days, 9 days were asked for",
    }
