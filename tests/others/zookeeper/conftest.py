"""The session's Kafka is here one of ZooKeeper's time; modules of this folder run tests of other folders on it."""

import pytest

from support.shared import Shared
from support.zookeeper import OldKafka


@pytest.fixture(scope="session")
def kafka(shared_services: Shared) -> OldKafka:
    """A Kafka 3.9 with its ZooKeeper for the whole run."""
    return shared_services.service("kafka-of-zookeepers-time", OldKafka)


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka: OldKafka) -> str:
    """host:port of it; a fixture of the session's own, for pytest keeps those of a session whatever stands behind."""
    return kafka.bootstrap


@pytest.fixture
def protocol() -> str:
    """The group protocol that it speaks; KIP-848 is younger."""
    return "classic"
