"""What Kafka's network threads met tells a misconfiguration from an outage; no broker is asked here."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from orders.errors import Misconfigured, OrdersError, Unavailable
from orders.kafka.errors import LastClientError, verdict

TIMED_OUT = KafkaException(KafkaError(KafkaError._TIMED_OUT))
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
UNTRUSTED = "h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: … (after 3ms)"
REQUIRED = "h:1/bootstrap: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert"
UNKNOWN = "h:1/1: Receive failed: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48"


@pytest.mark.parametrize(
    ("code", "text", "kind", "said"),
    [
        (
            KafkaError._AUTHENTICATION,
            "sasl_ssl://h:1/bootstrap: SASL authentication error: bad (after 3ms in state AUTH_REQ)",
            Misconfigured,
            "Kafka refused the login (SASL authentication error: bad): correct ORDERS_KAFKA_SASL_USERNAME and its",
        ),
        (KafkaError._SSL, UNTRUSTED, Misconfigured, "is not trusted: name its CA in ORDERS_KAFKA_SSL_CA_LOCATION"),
        (
            KafkaError._TRANSPORT,
            REQUIRED,
            Misconfigured,
            "Kafka refused our certificate (certificate required): give one",
        ),
        (KafkaError._TRANSPORT, UNKNOWN, Misconfigured, "Kafka refused our certificate (unknown ca): give one"),
        (
            KafkaError._TRANSPORT,
            "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            Unavailable,
            "Kafka is unavailable (Connect to 127.0.0.1:1 failed: Connection refused)",
        ),
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down", Unavailable, "Kafka is unavailable (no answer)"),
    ],
)
def test_the_cause_behind_a_time_out_is_reported(code: int, text: str, kind: type[OrdersError], said: str) -> None:
    met = LastClientError()
    met(KafkaError(code, text))
    met(DOWN)
    for ended in (TIMED_OUT, TimeoutError()):
        trouble = met.trouble(ended, "orders")
        assert type(trouble) is kind
        assert said in str(trouble)


def test_a_broker_that_answered_since_has_no_part_in_a_later_time_out() -> None:
    met = LastClientError()
    met(KafkaError(KafkaError._AUTHENTICATION, "refused"))
    met.forget()
    assert type(met.trouble(TIMED_OUT, "orders")) is Unavailable


def test_what_a_broker_answered_goes_before_what_the_threads_met() -> None:
    met = LastClientError()
    met(KafkaError(KafkaError._AUTHENTICATION, "refused"))
    unknown = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    assert "does not exist" in str(met.trouble(unknown, "orders"))


def test_a_lacking_permission_names_what_it_is_about() -> None:
    topic = verdict(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), "orders", permission="Write")
    group = verdict(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), "orders", group="readers")
    assert str(topic).startswith("no Write permission on topic 'orders'; kafka-acls.sh")
    assert str(topic).endswith("--operation Write --topic orders")
    assert str(group).endswith("--operation Read --group readers")
