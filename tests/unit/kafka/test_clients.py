"""What librdkafka has against a user's properties is one sentence, without the values."""

import ast
import logging
from pathlib import Path

import pytest

from orders.errors import UsageError
from orders.kafka import clients
from orders.kafka.lag import reading

SECRET = "hunter2"
BROKERS = {"bootstrap.servers": "nowhere.invalid:1"}
TLS = {"security.protocol": "ssl"}
OIDC = {"security.protocol": "sasl_ssl", "sasl.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc"}


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        (
            {"socket.timeout.ms": SECRET},
            "ORDERS_KAFKA_SOCKET_TIMEOUT_MS (socket.timeout.ms) must be from 10 to 300000, says Kafka's client",
        ),
        ({"socket.timeout.ms": "9"}, "(socket.timeout.ms) must be from 10 to 300000,"),
        ({"security.protocol": SECRET}, "must be plaintext, ssl, sasl_plaintext or sasl_ssl,"),
        ({"socket.keepalive.enable": SECRET}, "must be true or false,"),
        ({"debug": f"all,{SECRET}"}, "ORDERS_KAFKA_DEBUG (debug) must be generic, broker,"),
        (TLS | {"ssl.providers": f"default,{SECRET}"}, 'Failed to load OpenSSL provider "…"'),
        ({"topic.blacklist": "^[hunter2"}, "Failed to parse pattern"),
        (
            {"security.protocol": "sasl_ssl", "sasl.mechanisms": "PLAIN", "sasl.username": "us"},
            "refuses its properties, which `orders config` shows: sasl.username and sasl.password must be set",
        ),
        ({"security.protocol": "sasl_ssl", "sasl.mechanisms": SECRET}, "Unsupported SASL mechanism: …"),
        (TLS | {"ssl.key.pem": SECRET}, "ssl.key.pem failed: not in PEM format?"),
        (
            TLS | {"ssl.ca.location": f"/{SECRET}"},
            "ORDERS_KAFKA_SSL_CA_LOCATION (ssl.ca.location) is not the path of a",
        ),
        ({"max.poll.interval.ms": "10"}, "`max.poll.interval.ms`must be >= `session.timeout.ms`"),
        (OIDC | {"sasl.oauthbearer.metadata.authentication.type": "aws_iam"}, "'sasl.oauthbearer.config' is missing"),
    ],
)
def test_what_the_client_refuses_is_said_without_values(properties: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        clients.check(BROKERS | properties)
    assert said in str(error.value)
    assert SECRET not in str(error.value)
    assert str(error.value).isprintable()


def test_a_keystore_that_its_password_does_not_open_is_named_without_the_password(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"no keystore")
    properties = TLS | {"ssl.keystore.location": str(tmp_path / "store"), "ssl.keystore.password": SECRET}
    with pytest.raises(UsageError, match=r"Error reading ssl\.keystore\.location PKCS#12 file: …") as error:
        clients.check(BROKERS | properties)
    assert SECRET not in str(error.value)


def test_good_properties_pass_and_no_client_complains_of_those_of_another_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "librdkafka")
    kafka = {"bootstrap.servers": "127.0.0.1:1", "fetch.min.bytes": "1", "linger.ms": "5", "client.rack": "a"}
    clients.check(kafka)
    consumer = clients.consumer(kafka | {"group.id": "g"})
    consumer.poll(0)
    consumer.close()
    clients.producer(kafka).poll(0)
    clients.admin(kafka).poll(0)
    assert "will be ignored" not in caplog.text


def test_a_search_of_the_usual_places_for_certificates_is_no_path() -> None:
    clients.check(BROKERS | {"ssl.ca.location": "probe"})


def test_an_embedded_kafka_has_no_tls_and_no_passwords() -> None:
    clients.check({"bootstrap.servers": "", "security.protocol": "PLAINTEXT"})
    with pytest.raises(UsageError, match=r"^ORDERS_KAFKA_SECURITY_PROTOCOL is for a Kafka of your own: give ORDERS"):
        clients.check({"bootstrap.servers": ""} | TLS)


MAKERS = {"Consumer", "DeserializingConsumer", "Producer", "SerializingProducer", "AdminClient"}
"""The classes of Kafka's clients."""
SOURCE = Path(clients.__file__).parent


def test_only_this_module_creates_clients() -> None:
    """Elsewhere a client would lack its logger, and its refusals would not be sentences."""
    others = [path for path in SOURCE.rglob("*.py") if path != Path(clients.__file__)]
    assert others
    assert [path.name for path in others if MAKERS & called_in(ast.parse(path.read_text("utf-8")))] == []


def called_in(tree: ast.Module) -> set[str]:
    """The last word of each call: `Consumer` of `confluent_kafka.Consumer(…)`."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    return names | {call.attr for call in calls if isinstance(call, ast.Attribute)}


def test_a_consumer_that_reads_times_leaves_out_properties_of_producers(caplog: pytest.LogCaptureFixture) -> None:
    """Its properties are the user's, of which librdkafka would log a warning each."""
    caplog.set_level(logging.DEBUG, "librdkafka")
    with reading({"bootstrap.servers": "127.0.0.1:1", "linger.ms": "5"}, "orders", "g", {0: 0}) as consumer:
        consumer.poll(0)
    assert "will be ignored" not in caplog.text
