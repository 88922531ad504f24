"""The consumer group of a machine, as the broker tells it."""

from typing import Any

from confluent_kafka.admin import AdminClient

from support.machine import Machine


class Group:
    """The members of the machine's group with their partitions."""

    def __init__(self, machine: Machine) -> None:
        self._name = machine.settings.kafka_group
        self._admin = AdminClient({"bootstrap.servers": machine.settings.kafka_bootstrap})
        self.seen: set[frozenset[tuple[str, int]]] = set()

    def look(self) -> None:
        """A member that left, came or was moved makes one more set: with a new name, or with other partitions."""
        self.seen.add(self.held())

    def is_shared(self, members: int) -> bool:
        """Whether so many members have partitions."""
        return len({member for member, _ in self.held()}) == members

    def held(self) -> frozenset[tuple[str, int]]:
        """Members with their partitions."""
        told = self._told()
        return frozenset((m.member_id, p.partition) for m in told.members for p in m.assignment.topic_partitions)

    def is_of(self, protocol: str, members: int) -> bool:
        """Whether the broker takes the group for one of this protocol, classic or consumer, and so many share."""
        return str(self._told().type.name).lower() == protocol and self.is_shared(members)

    def _told(self) -> Any:
        return self._admin.describe_consumer_groups([self._name])[self._name].result(10)
