"""What a Kafka cluster reports about itself and one topic: replicas, configuration, offsets, our permissions.

Calls block for `REQUEST_SECONDS` and little more, unless another time is given. They raise `Unavailable` or
`Misconfigured`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, not exported
    AclOperation,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from msgspec import Struct

from orders.errors import Misconfigured, Unavailable
from orders.kafka import clients
from orders.kafka.errors import GROUP, UNKNOWN_TOPIC, LastClientError, no_permission, verdict
from orders.kafka.topic import identity

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

REQUEST_SECONDS = 3.0


class PartitionReplicas(NamedTuple):
    """Where a partition begins and ends (its next offset), and how many copies it has, of which `in_sync` are whole."""

    low: int
    end: int
    replicas: int
    in_sync: int


class TopicDescription(Struct, frozen=True):
    """A topic; partitions without a leader cannot be read and have no offsets.

    The names in `permissions` are as `kafka-acls.sh` has them; there are none where the brokers do not report it.
    """

    topic_id: str
    partitions: Mapping[int, PartitionReplicas]
    leaderless: Sequence[int]
    permissions: frozenset[str]

    @property
    def count(self) -> int:
        """How many partitions it has."""
        return len(self.partitions) + len(self.leaderless)

    @property
    def replicas(self) -> int:
        """Copies of the partition that has the fewest."""
        return min((each.replicas for each in self.partitions.values()), default=0)


class Brokers:
    """A Kafka cluster, reached by the properties `kafka`; `seconds` is how long a request may take."""

    def __init__(self, kafka: Mapping[str, str], seconds: float = REQUEST_SECONDS) -> None:
        self._seconds = seconds
        self._address = kafka["bootstrap.servers"]
        self._last_error = LastClientError()
        config: dict[str, Any] = {
            "client.id": "orders",
            "log_level": 0,  # what it would log comes as errors
            "reconnect.backoff.ms": 500,
            **kafka,
            "error_cb": self._last_error,
        }
        self._admin = clients.admin(config)

    def count(self) -> int:
        """How many brokers there are; `Unavailable` or `Misconfigured` says where none answers, why, and what to do."""
        try:
            asked = self._admin.describe_cluster(request_timeout=self._seconds)
            return len(asked.result(self._seconds + 1).nodes)
        except (KafkaException, TimeoutError):
            self._admin.poll(0)
            raise self._last_error.wrong() or Unavailable(
                f"Kafka cannot be reached at {self._address} ({self._last_error.reason}): start it, "
                "or correct its address"
            ) from None

    def topic(self, name: str) -> TopicDescription | None:
        """The topic of that name, None where there is none."""
        asked = self._admin.describe_topics(
            TopicCollection([name]), request_timeout=self._seconds, include_authorized_operations=True
        )
        try:
            found = asked[name].result(self._seconds + 1)
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and error.args[0].code() in UNKNOWN_TOPIC:
                return None
            raise _ours(error, name) from None
        led = [each for each in found.partitions if each.leader]
        lows, ends = (
            self._offsets(name, [each.id for each in led], spec) for spec in (OffsetSpec.earliest, OffsetSpec.latest)
        )
        partitions = {
            each.id: PartitionReplicas(lows[each.id], ends[each.id], len(each.replicas), len(each.isr)) for each in led
        }
        leaderless = [each.id for each in found.partitions if not each.leader]
        return TopicDescription(
            identity(found.topic_id, name), partitions, leaderless, _names(found.authorized_operations)
        )

    def _offsets(self, topic: str, partitions: list[int], spec: Callable[[], Any]) -> dict[int, int]:
        asked = {TopicPartition(topic, partition): spec() for partition in partitions}
        answers = self._admin.list_offsets(asked, request_timeout=self._seconds)
        return {place.partition: self._answer(future, topic).offset for place, future in answers.items()}

    def config(self, topic: str) -> dict[str, str] | None:
        """The topic's configuration, the brokers' defaults included; None where we have no right to it."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        asked = self._admin.describe_configs([resource], request_timeout=self._seconds)
        try:
            return {name: entry.value or "" for name, entry in self._answer(asked[resource], topic).items()}
        except Misconfigured:
            return None

    def group_permissions(self, group: str) -> frozenset[str]:
        """What we may do with a consumer group, whether there is one yet or not.

        Raises `Unavailable`, `Misconfigured`.
        """
        asked = self._admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=self._seconds
        )
        try:
            return _names(asked[group].result(self._seconds + 1).authorized_operations)
        except (KafkaException, TimeoutError) as error:
            raise _ours(error, "", group) from None

    def members(self, group: str) -> int | None:
        """How many members a consumer group has; None where that cannot be determined."""
        asked = self._admin.describe_consumer_groups([group], request_timeout=self._seconds)
        try:
            return len(asked[group].result(self._seconds + 1).members)
        except KafkaException as error:
            return 0 if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND else None
        except TimeoutError:
            return None

    def _answer(self, future: "Future[T]", topic: str) -> T:
        try:
            return future.result(self._seconds + 1)
        except (KafkaException, TimeoutError) as error:
            raise _ours(error, topic) from None


def _ours(error: Exception, topic: str, group: str = GROUP) -> Exception:
    if isinstance(error, KafkaException):
        return verdict(error.args[0], topic, group=group)
    return Unavailable("Kafka does not answer")


def require_group(kafka: Mapping[str, str], group: str) -> None:
    """Raises `Misconfigured` unless we may be a member of a consumer group, or that cannot be determined yet."""
    with suppress(Unavailable):  # a new cluster makes the groups' own topic when it is first asked
        permissions = Brokers(kafka).group_permissions(group)
        if permissions and "Read" not in permissions:
            raise no_permission("Read", "group", group)


def _names(operations: list[AclOperation] | None) -> frozenset[str]:
    return frozenset(each.name.title().replace("_", "") for each in operations or [])
