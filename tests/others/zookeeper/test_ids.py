"""A Kafka that gives topics no ids, as all did before 2.8: what it holds looks the same as a topic recreated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orders.errors import Misconfigured
from orders.kafka.admin import Brokers
from orders.kafka.topic import TopicView, create_topic
from support.zookeeper import OldKafka

pytestmark = pytest.mark.others


@pytest.fixture
def kafka_without_ids(tmp_path: Path) -> Iterator[str]:
    service = OldKafka(tmp_path, {"inter.broker.protocol.version": "2.7"})
    service.start()
    yield service.bootstrap
    service.stop()


def test_a_topic_without_an_id_is_refused_with_the_release_to_upgrade_to(kafka_without_ids: str) -> None:
    kafka = {"bootstrap.servers": kafka_without_ids}
    create_topic(kafka, "orders", 1)
    for look in (TopicView(kafka, "orders").look, lambda: Brokers(kafka).topic("orders")):
        with pytest.raises(Misconfigured, match=r"topic 'orders' has no id, .*: upgrade the brokers to Kafka 2\.8"):
            look()
