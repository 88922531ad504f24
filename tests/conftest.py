"""Fixtures for all tests: real services, started when the first test asks for them; and which tests run."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orders import threads
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from support import installed, tiers
from support.services import FAST, MakeTopic, Topics, folder_of_folders, fresh_database, started_kafka, started_postgres
from support.shared import Shared

SHARED = pytest.StashKey[Shared]()
FOLDER = "shared_services"
"""The name under which workers get the folder of the services that they share."""

tiers.register_profiles()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--simulation-seed", type=int, help="play this schedule of tests/simulation alone")
    parser.addoption("--tier", choices=[tier.value for tier in tiers.Tier], help="run the tests of this tier alone")
    parser.addoption("--slowest", type=int, default=0, help="tell so many of the slowest tests, and the tiers' sums")


def pytest_report_header() -> str:
    """What the tests of tests/others/postgres run on."""
    return installed.told()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts background jobs so, and whatever tests start would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given = getattr(config, "workerinput", {}).get(FOLDER)
    folder = Path(given or tempfile.mkdtemp(prefix="orders-test-", dir=folder_of_folders()))
    folder.chmod(0o711)  # PostgreSQL's user enters it when the tests run as root
    if given is None:
        config.add_cleanup(lambda: shutil.rmtree(folder))
    config.stash[SHARED] = Shared(folder)
    if tiers.is_thorough(config):
        tiers.try_many_examples()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker is about to be started (a hook of xdist)."""
    node.workerinput[FOLDER] = str(node.config.stash[SHARED].folder)


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[SHARED].leave()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tiers.select(config, items)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    slowest = config.getoption("--slowest")
    if slowest:
        times = tiers.Times()
        for reports in terminalreporter.stats.values():
            for report in reports:
                if isinstance(report, pytest.TestReport):
                    times.add(report)
        terminalreporter.section(f"{slowest} slowest tests, and what the tiers took")
        terminalreporter.write_line("\n".join(times.lines(slowest)))


@pytest.fixture(autouse=True)
def process_ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A lost thread or task would end the process of the tests: it fails a test that does not expect it."""
    ends: list[str] = []
    monkeypatch.setattr(threads, "end_process", lambda: ends.append("the process would have ended"))
    yield ends
    assert ends == []


@pytest.fixture(scope="session")
def shared_services(pytestconfig: pytest.Config) -> Shared:
    """Services that all workers of the run use."""
    return pytestconfig.stash[SHARED]


@pytest.fixture(scope="session")
def postgres(shared_services: Shared) -> PostgresService:
    """A PostgreSQL for the whole run; no test stops it."""
    return shared_services.service("postgres", lambda folder: PostgresService(folder, FAST))


@pytest.fixture(scope="session")
def kafka(shared_services: Shared) -> KafkaService:
    """A Kafka for the whole run; no test stops it."""
    return shared_services.service("kafka", KafkaService)


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
