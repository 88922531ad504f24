"""The right to read: asked of the broker, because the client reports its lack to a consumer only once."""

from collections.abc import Iterable

import pytest
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined] # public, not exported

from orders.errors import Misconfigured
from orders.kafka.topic import TopicView


class Granted(TopicView):
    """A topic without partitions, of a broker that grants these permissions and is never asked."""

    def __init__(self, *permissions: AclOperation) -> None:
        super().__init__({"bootstrap.servers": "127.0.0.1:1"}, "orders")
        self._permissions = list(permissions)

    def _describe(self) -> tuple[str, list[int], list[AclOperation]]:
        return "id", [], self._permissions

    def _ends(self, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)


def test_without_the_permission_to_read_the_sentence_has_the_command() -> None:
    view = Granted(AclOperation.DESCRIBE, AclOperation.WRITE)
    with pytest.raises(
        Misconfigured, match=r"no Read permission on topic 'orders'; kafka-acls\.sh .* Read --topic orders"
    ):
        view.look("Read")
    assert view.look().topic_id == "id"


@pytest.mark.parametrize("permissions", [[AclOperation.READ], []], ids=["granted", "the broker does not report them"])
def test_with_the_permission_or_a_broker_that_tells_none_the_topic_is_read(permissions: list[AclOperation]) -> None:
    assert Granted(*permissions).look("Read").topic_id == "id"
