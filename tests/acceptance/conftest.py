"""Systems started with `orders run` on the session's services: quicker than services of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from support.servers import Plain, Server
from support.services import Topics, fresh_database, open_folder, started_postgres
from support.system import System, running


@contextmanager
def addresses_of(postgres: PostgresService, kafka: KafkaService) -> Iterator[list[str]]:
    """Options that name the session's services, an empty database and an empty topic."""
    topics = Topics(kafka.bootstrap)
    with fresh_database(postgres) as dsn:
        topic = topics.make()
        named = {"postgres-dsn": dsn, "kafka-bootstrap": kafka.bootstrap, "kafka-topic": topic, "kafka-group": topic}
        yield [word for name, value in named.items() for word in (f"--{name}", value)]
    topics.delete()


@pytest.fixture
def addresses(postgres: PostgresService, kafka: KafkaService) -> Iterator[list[str]]:
    """Options for a system of the test's own."""
    with addresses_of(postgres, kafka) as options:
        yield options


@pytest.fixture
def other_addresses(postgres: PostgresService, kafka: KafkaService) -> Iterator[list[str]]:
    """The same for a second one."""
    with addresses_of(postgres, kafka) as options:
        yield options


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL whose roles are the module's own."""
    with started_postgres() as service:
        yield Plain(service)


@pytest.fixture(scope="module")
def system(postgres: PostgresService, kafka: KafkaService) -> Iterator[System]:
    """A system on the session's services, shared by the tests that leave it running."""
    with (
        addresses_of(postgres, kafka) as options,
        open_folder() as folder,
        running(folder / "data", options) as system,
    ):
        yield system
