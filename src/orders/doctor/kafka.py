"""Kafka: reachable, the topic there and fit to keep orders, our permissions to it."""

from collections.abc import Iterator, Mapping

from orders.doctor.check import Case, Check, failed, ok, skipped, warning
from orders.errors import OrdersError, Unavailable, UsageError
from orders.kafka.admin import Brokers, TopicDescription
from orders.kafka.errors import acl
from orders.kafka.producer import MAX_MESSAGE_BYTES
from orders.settings import Settings
from orders.system.state import require

NEEDED = ("Describe", "Read", "Write")
SAFE_REPLICAS = 3
"""So many that one may be unavailable and every acknowledged order is still on two."""
DAY = 24 * 3600 * 1000
"""Milliseconds."""


class KafkaChecks:
    """The look at one cluster; `topic` is what it holds, None if that could not be determined."""

    def __init__(self, case: Case) -> None:
        self._settings = case.settings
        self.topic: TopicDescription | None = None

    def look(self) -> Iterator[Check]:
        try:
            require(self._settings, "kafka_bootstrap")
        except UsageError as error:
            yield skipped("Kafka", str(error))
            return
        brokers = Brokers(self._settings.kafka)
        try:
            count = brokers.count()
        except OrdersError as error:
            yield failed("Kafka", str(error))
            return
        yield ok("Kafka", f"{count} broker{'s' if count > 1 else ''} at {self._settings.kafka_bootstrap}")
        yield from self._look(brokers, count)

    def _look(self, brokers: Brokers, count: int) -> Iterator[Check]:
        name = self._settings.kafka_topic
        try:
            topic = brokers.topic(name)
        except OrdersError as error:
            yield failed("topic", str(error))
            return
        if topic is None:
            yield failed("topic", f"there is no topic {name}", "make it: `orders topics create`")
            return
        self.topic = topic
        yield from fitness(topic, brokers.config(name), count, self._settings)
        yield topic_permissions(topic, name)
        yield from self._group_permissions(brokers)

    def _group_permissions(self, brokers: Brokers) -> Iterator[Check]:
        group = self._settings.kafka_group
        try:
            yield group_permissions(brokers.group_permissions(group), group)
        except Unavailable as error:  # a new cluster makes the groups' own topic when it is first asked
            yield skipped("group", f"nothing is known of {group}: {error}", "ask again in a moment")
        except OrdersError as error:
            yield failed("group", str(error))


def fitness(
    topic: TopicDescription, config: Mapping[str, str] | None, count: int, settings: Settings
) -> Iterator[Check]:
    """Whether a topic keeps orders as they must be kept, in a cluster of so many brokers."""
    yield partitions(topic, settings)
    if config is None:
        advice = acl("DescribeConfigs", "topic", settings.kafka_topic)
        yield skipped("topic's settings", "this user may not read them (DescribeConfigs)", advice)
        return
    hint = Hint(settings)
    yield replicas(topic, config, count, hint)
    yield elections(config, hint)
    yield message_size(config, hint)
    yield retention(config, hint)


class Hint:
    """The command that changes the topic's configuration."""

    def __init__(self, settings: Settings) -> None:
        self._command = (
            f"kafka-configs.sh --bootstrap-server {settings.kafka_bootstrap} --alter --entity-type topics "
            f"--entity-name {settings.kafka_topic} --add-config"
        )

    def __call__(self, name: str, value: object) -> str:
        return f"{self._command} {name}={value}"


def partitions(topic: TopicDescription, settings: Settings) -> Check:
    """Enough partitions for the ingest processes, and each of them led by a broker."""
    found = f"{settings.kafka_topic} has {topic.count} partition{'s' if topic.count > 1 else ''}"
    if topic.leaderless:
        numbers = ", ".join(map(str, topic.leaderless))
        return failed("topic", f"{found}, and no broker leads {numbers}", "bring the brokers back that hold them")
    if topic.count < settings.ingest_processes:
        found += f", fewer than the {settings.ingest_processes} ingest processes, of which some will have none"
        return warning("topic", found, "lower --ingest-processes")
    return ok("topic", found)


def topic_permissions(topic: TopicDescription, name: str) -> Check:
    """Whether we may do with the topic what the service does."""
    lacking = [permission for permission in NEEDED if permission not in topic.permissions]
    if not topic.permissions or not lacking:
        return ok("topic permissions", "we may describe, read and write it")
    return failed(
        "topic permissions", f"this user lacks {', '.join(lacking)} on topic {name}", acl(lacking, "topic", name)
    )


def group_permissions(permissions: frozenset[str], name: str) -> Check:
    """Whether the ingest processes may be members of the group."""
    if not permissions or "Read" in permissions:
        return ok("group", f"we may join {name}")
    return failed("group", f"this user lacks Read on group {name}", acl("Read", "group", name))


def replicas(topic: TopicDescription, config: Mapping[str, str], brokers: int, hint: Hint) -> Check:
    """Whether acknowledged orders outlive the loss of a broker, and can be written at all."""
    least = int(config.get("min.insync.replicas", 1))
    whole = min((each.in_sync for each in topic.partitions.values()), default=0)
    found = f"{topic.replicas} of each partition, {whole} in sync, min.insync.replicas={least}"
    if whole < least:
        return failed("replicas", f"{found}: nothing can be written", "bring the other brokers back")
    if brokers > 1 and topic.replicas == 1:
        found += ": a broker that is lost takes its orders with it"
        return warning("replicas", found, "give it more with kafka-reassign-partitions.sh")
    if topic.replicas > 1 and least == 1:
        found += ": an acknowledged order may be on one broker alone"
        safe = topic.replicas >= SAFE_REPLICAS
        advice = hint("min.insync.replicas", 2) if safe else "give it 3 replicas, and then min.insync.replicas=2"
        return warning("replicas", found, advice)
    if whole < topic.replicas:
        return warning("replicas", f"{found}: some are behind", "bring the other brokers back")
    return ok("replicas", found)


def elections(config: Mapping[str, str], hint: Hint) -> Check:
    """Whether a replica that lacks acknowledged orders may become the leader."""
    if config.get("unclean.leader.election.enable") != "true":
        return ok("elections", "only a whole replica becomes the leader")
    return warning(
        "elections",
        "unclean.leader.election.enable=true: a replica that lacks acknowledged orders may become the leader",
        hint("unclean.leader.election.enable", "false"),
    )


def message_size(config: Mapping[str, str], hint: Hint) -> Check:
    """Whether the largest order fits."""
    most = int(config.get("max.message.bytes", MAX_MESSAGE_BYTES))
    if most >= MAX_MESSAGE_BYTES:
        return ok("message size", f"up to {most} bytes")
    return warning(
        "message size",
        f"up to {most} bytes: POST answers 503 for larger orders, which may have up to 1000000",
        hint("max.message.bytes", MAX_MESSAGE_BYTES),
    )


def retention(config: Mapping[str, str], hint: Hint) -> Check:
    """How long records wait for an ingest that does not run."""
    policy = config.get("cleanup.policy", "delete").split(",")
    if "compact" in policy:
        return warning(
            "retention",
            "cleanup.policy has compact: records without a key are refused, and a deletion that is not read within "
            f"{span(int(config.get('delete.retention.ms', DAY)))} is lost",
            hint("cleanup.policy", "delete"),
        )
    if int(config.get("retention.bytes", -1)) >= 0:
        found = f"a partition keeps {config['retention.bytes']} bytes: how long an outage may last cannot be determined"
        return warning("retention", found, hint("retention.bytes", -1))
    kept = int(config.get("retention.ms", -1))
    found = f"records are kept for {span(kept)}"
    if kept < 0:
        return ok("retention", found)
    found += ", and no longer may ingest be down"
    if kept >= DAY:
        return ok("retention", found)
    return warning("retention", found, hint("retention.ms", 7 * DAY))


def span(milliseconds: int) -> str:
    """A time for a person, in the largest unit of which there are two; below zero there is no end."""
    if milliseconds < 0:
        return "ever"
    for name, size in (("days", DAY), ("hours", DAY // 24), ("minutes", DAY // 1440)):
        if milliseconds >= 2 * size:
            return f"{milliseconds / size:.4g} {name}"
    return f"{milliseconds / 1000:g} seconds"
