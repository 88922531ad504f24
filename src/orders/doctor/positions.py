"""Whether what PostgreSQL stores of the topic and what Kafka holds of it go together, and how far apart they are."""

from collections.abc import Mapping

from orders.doctor.check import Check, failed, ok, skipped
from orders.kafka.admin import PartitionReplicas, TopicDescription

Stored = Mapping[tuple[str, int], int]
PAGE = "docs/operations.md"


def positions(stored: Stored | None, topic: TopicDescription | None, name: str) -> Check:
    """Whether consumption can continue where it stands, in every partition; else where to read what may be done."""
    if stored is None or topic is None:
        return skipped("positions", "they can be determined when PostgreSQL and the topic can be read")
    ours = {
        partition: next_offset for (topic_id, partition), next_offset in stored.items() if topic_id == topic.topic_id
    }
    if stored and not ours:
        found = f"topic {name} was recreated: PostgreSQL holds positions of an older topic of that name"
        return failed("positions", found, f"choose where to begin: {PAGE}#the-topic-was-recreated")
    for number, position in sorted(ours.items()):
        if number in topic.partitions and (wrong := outside(f"{name}/{number}", position, topic.partitions[number])):
            return wrong
    return ok("positions", f"{len(ours)} of {topic.count} partitions were begun, each stands where Kafka has records")


def outside(place: str, position: int, held: PartitionReplicas) -> Check | None:
    """What is wrong with a position that Kafka does not hold; None for one that it does."""
    found = f"the stored position of {place} is {position}, Kafka holds {held.low} to {held.end}"
    if position < held.low:
        advice = f"choose where to continue: {PAGE}#retention-has-passed-the-position"
        return failed("positions", f"{found}: retention has passed it", advice)
    if position > held.end:
        return failed(
            "positions", f"{found}: the log was truncated", f"choose where to continue: {PAGE}#log-truncation"
        )
    return None


def lag(stored: Stored | None, topic: TopicDescription | None) -> Check:
    """Records that are in the topic and not yet in PostgreSQL."""
    if stored is None or topic is None:
        return skipped("lag", "it can be determined when PostgreSQL and the topic can be read")
    behind = sum(
        max(held.end - stored.get((topic.topic_id, number), held.low), 0) for number, held in topic.partitions.items()
    )
    return ok("lag", f"{behind} messages")
