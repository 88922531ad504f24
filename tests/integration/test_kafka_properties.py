"""What a user gives as ORDERS_KAFKA_<PROPERTY> reaches librdkafka, beside a real Kafka."""

import pytest

from orders.errors import Unavailable
from orders.kafka.topic import TopicView
from orders.settings import load


def test_a_kafka_property_reaches_the_client(kafka_bootstrap: str, topic: str) -> None:
    # The embedded Kafka speaks no TLS: a client that does cannot reach it.
    given = {"ORDERS_KAFKA_BOOTSTRAP": kafka_bootstrap, "ORDERS_KAFKA_CLIENT_RACK": "a"}
    assert TopicView(load(given).kafka, topic).look().ends == dict.fromkeys(range(4), 0)
    with pytest.raises(Unavailable):
        TopicView(load(given | {"ORDERS_KAFKA_SECURITY_PROTOCOL": "ssl"}).kafka, topic).look()
