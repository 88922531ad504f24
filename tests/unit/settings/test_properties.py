"""Kafka properties: librdkafka's names, those that are refused, those that are secret."""

import runpy
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from orders.errors import UsageError
from orders.kafka.consumer import consumer_config
from orders.settings import load, property_variable
from orders.settings.properties import (
    REFUSALS,
    allowed_values,
    for_client,
    givable,
    is_path,
    is_secret,
    known,
)

TOOL = Path(__file__).parents[3] / "tools/kafka_properties.py"


def test_the_names_are_those_of_the_installed_librdkafka() -> None:
    # If this fails after `make lock`: run the tool, and look whether a new property breaks a promise.
    tool = runpy.run_path(str(TOOL))
    assert tool["LIST"].read_text() == tool["listing"]()


def test_every_property_that_is_not_refused_is_known_to_the_client_and_can_be_given_as_text() -> None:
    for name in givable():
        try:
            Producer({name: "?"})
        except KafkaException as error:
            text = error.args[0].str()
            assert "No such configuration property" not in text, name
            assert "dedicated" not in text, name
            assert "not settable" not in text, name


def test_every_property_has_a_variable_of_its_own() -> None:
    assert len({property_variable(name) for name in known()}) == len(known())
    assert property_variable("sasl.password") == "ORDERS_KAFKA_SASL_PASSWORD"
    assert property_variable("log_level") == "ORDERS_KAFKA_LOG_LEVEL"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("enable.auto.commit", "positions are committed in PostgreSQL, together with the orders; leave it out"),
        ("auto.offset.reset", "silently skips records"),
        ("acks", "what Kafka acknowledged must be in all in-sync replicas, once and in order; leave it out"),
        ("enable.idempotence", "once and in order"),
        ("partitioner", "one uid must go to one partition"),
        ("bootstrap.servers", "set kafka_bootstrap$"),
        ("session.timeout.ms", "set kafka_session_timeout$"),
        ("queued.max.messages.kbytes", "set kafka_queue_bytes$"),
        ("message.timeout.ms", "set post_deadline$"),
        ("plugin.library.paths", "foreign code"),
        ("dr_msg_cb", "only a program can give it"),
    ],
)
def test_what_the_promises_rest_on_is_refused_with_the_reason_and_what_to_do(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^{property_variable(name)} is refused: .*{why}"):
        load({property_variable(name): "hunter2"})


def test_every_refused_property_exists_with_all_its_aliases_and_one_reason() -> None:
    refused = [name for refusal in REFUSALS for name in refusal.names]
    assert len(set(refused)) == len(refused)
    assert set(refused) <= known().keys()
    for name, found in known().items():
        assert not found.alias_of or (name in refused) == (found.alias_of in refused), name


def test_no_property_that_ingest_sets_for_its_promises_can_be_given() -> None:
    # The client takes the last of two values, so a user's would win; what is left here is about speed alone.
    arguments = {"group": "g", "member": "m", "session_seconds": 6.0, "queue_bytes": 2**20}
    ours = {
        name
        for protocol in ("classic", "consumer")
        for name in consumer_config(kafka={}, protocol=protocol, **arguments)  # type: ignore[arg-type] # a dict of both kinds
    }
    assert ours & set(givable()) == {
        "client.id",
        "fetch.message.max.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "heartbeat.interval.ms",
        "queued.min.messages",
        "reconnect.backoff.max.ms",
        "socket.timeout.ms",
        "topic.metadata.refresh.interval.ms",
    }


def test_secrets_and_paths_by_their_names() -> None:
    assert sorted(filter(is_secret, known())) == [
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    ]
    assert sorted(filter(is_path, givable())) == [
        "https.ca.location",
        "sasl.kerberos.keytab",
        "sasl.oauthbearer.assertion.file",
        "sasl.oauthbearer.assertion.jwt.template.file",
        "sasl.oauthbearer.assertion.private.key.file",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.crl.location",
        "ssl.engine.location",
        "ssl.key.location",
        "ssl.keystore.location",
    ]


def test_a_client_gets_the_properties_of_its_kind() -> None:
    config = {"fetch.min.bytes": "1", "linger.ms": "2", "client.rack": "a", "error_cb": "ours"}
    assert for_client(config, "C").keys() == {"fetch.min.bytes", "client.rack", "error_cb"}
    assert for_client(config, "P").keys() == {"linger.ms", "client.rack", "error_cb"}


def test_what_a_property_may_be_is_reported_in_plain_words() -> None:
    assert allowed_values("socket.timeout.ms") == "from 10 to 300000"
    assert allowed_values("security.protocol") == "plaintext, ssl, sasl_plaintext or sasl_ssl"
    assert allowed_values("socket.keepalive.enable") == "true or false"
    assert allowed_values("sasl.username") == ""
