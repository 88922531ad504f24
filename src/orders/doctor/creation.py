"""`orders topics create`: makes the topic as orders need it, or says how the one that is there differs."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated

from msgspec import Meta, Struct

from orders.doctor.check import Check, warning
from orders.doctor.kafka import DAY, SAFE_REPLICAS, fitness, span
from orders.errors import Unavailable
from orders.kafka.admin import Brokers, TopicDescription
from orders.kafka.producer import MAX_MESSAGE_BYTES
from orders.kafka.topic import create_topic
from orders.settings import Settings
from orders.system.state import require

SEEN_TRIES, SEEN_SECONDS = 50, 5.0
"""How often and how long a new topic is looked for: brokers hear of it one by one."""


class TopicRequest(Struct, frozen=True):
    """What was asked for by options; None where it was not."""

    partitions: int | None = None
    replication_factor: int | None = None
    retention_days: int | None = None


class CreatedTopic(Struct, frozen=True):
    """The topic as it is now."""

    topic: Annotated[str, Meta(description="its name")]
    created: Annotated[bool, Meta(description="whether this command created it")]
    partitions: Annotated[int, Meta(description="how many partitions it has")]
    replication_factor: Annotated[int, Meta(description="how many replicas each has")]
    fits: Annotated[bool, Meta(description="whether no check is a warning or failed")]
    checks: Annotated[list[Check], Meta(description="what was checked of it")]


def create(settings: Settings, asked: TopicRequest) -> CreatedTopic:
    """Makes the topic unless it is there, and checks it. Raises `UsageError`, `Unavailable`, `Misconfigured`."""
    require(settings, "kafka_bootstrap")
    name, brokers = settings.kafka_topic, Brokers(settings.kafka)
    count = brokers.count()
    factor = asked.replication_factor or min(SAFE_REPLICAS, count)
    partitions = asked.partitions or settings.kafka_partitions
    created = create_topic(settings.kafka, name, partitions, factor, config_of(factor, asked.retention_days))
    topic = _seen(brokers, name)
    config = brokers.config(name)
    checks = [*fitness(topic, config, count, settings), *unlike(topic, config or {}, asked)]
    return CreatedTopic(
        topic=name,
        created=created,
        partitions=topic.count,
        replication_factor=topic.replicas,
        fits=all(check.state in {"ok", "skipped"} for check in checks),
        checks=checks,
    )


def _seen(brokers: Brokers, name: str) -> TopicDescription:
    """The topic, once all brokers know of it and lead its partitions."""
    for _ in range(SEEN_TRIES):
        with suppress(Unavailable):
            topic = brokers.topic(name)
            if topic and not topic.leaderless:
                return topic
        time.sleep(SEEN_SECONDS / SEEN_TRIES)
    raise Unavailable(f"the brokers do not lead all partitions of topic {name} yet: see `orders doctor` in a moment")


def config_of(replication_factor: int, retention_days: int | None) -> dict[str, str]:
    """The configuration that orders need; all else is as the brokers have it."""
    config = {
        "cleanup.policy": "delete",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "min.insync.replicas": str(max(1, replication_factor - 1)),
        "unclean.leader.election.enable": "false",
    }
    return config if retention_days is None else config | {"retention.ms": str(retention_days * DAY)}


def unlike(topic: TopicDescription, config: Mapping[str, str], asked: TopicRequest) -> Iterator[Check]:
    """What was asked for and is otherwise in a topic that was there."""
    if asked.partitions not in {None, topic.count}:
        yield warning(
            "asked: partitions",
            f"the topic has {topic.count}, {asked.partitions} were asked for",
            "leave them, or make another topic: with more partitions the records of one order would lie in two",
        )
    if asked.replication_factor not in {None, topic.replicas}:
        yield warning(
            "asked: replicas",
            f"each partition has {topic.replicas}, {asked.replication_factor} were asked for",
            "change them with kafka-reassign-partitions.sh",
        )
    kept = config.get("retention.ms")
    if asked.retention_days is not None and kept is not None and int(kept) != asked.retention_days * DAY:
        yield warning(
            "asked: retention",
            f"records are kept for {span(int(kept))}, {asked.retention_days} days were asked for",
            "change it with kafka-configs.sh",
        )


def text(found: CreatedTopic) -> str:
    """What was done, or that it was there."""
    made = "made" if found.created else "there already"
    return f"topic {found.topic}: {made}, partitions {found.partitions}, replication factor {found.replication_factor}"
