"""Real services for the tests: one PostgreSQL and one Kafka a run, a fresh database and fresh topics a test."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # public, not exported
from confluent_kafka.cimpl import NewTopic
from psycopg import sql

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from support.waiting import wait_for

FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
"""What a test's PostgreSQL may do without: it need not live through a power loss."""
REQUEST_SECONDS = 20.0
RAM = Path("/dev/shm")  # noqa: S108 - the folders made there have names of their own
RAM_BYTES = 8 * 2**30
"""So much must be free there: the long fault tests fill some of it."""


class MakeTopic(Protocol):
    """Makes an empty topic, with `config` in place of the brokers' defaults, and gives its name."""

    def __call__(self, partitions: int = 4, config: Mapping[str, str] | None = None) -> str: ...


def folder_of_folders() -> Path:
    """Where services keep their data: in memory where there is room, else where all temporary files are.

    Of a new database PostgreSQL makes 300 files, in 0.2 s of CPU on ext4 and in 0.006 s in memory.
    """
    return RAM if RAM.is_dir() and shutil.disk_usage(RAM).free >= RAM_BYTES else Path(tempfile.gettempdir())


@contextmanager
def open_folder(place: Path | None = None) -> Iterator[Path]:
    """A new folder that PostgreSQL's user can enter when the tests run as root, where services keep their data."""
    with tempfile.TemporaryDirectory(prefix="orders-test-", dir=place or folder_of_folders()) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextmanager
def fresh_database(postgres: PostgresService) -> Iterator[str]:
    """The URL of an empty database, which is dropped in the end, no matter who is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    _administer(postgres, sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
    try:
        yield postgres.dsn_of(name)
    finally:
        _administer(postgres, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def started_postgres() -> Iterator[PostgresService]:
    """A PostgreSQL of a test's own, which may be stopped."""
    with open_folder() as folder:
        service = PostgresService(folder / "postgres", FAST)
        service.start()
        yield service
        service.stop()


@contextmanager
def started_kafka() -> Iterator[KafkaService]:
    """A Kafka of a test's own, which may be stopped."""
    with open_folder() as folder:
        service = KafkaService(folder / "kafka")
        service.start()
        yield service
        service.stop()


def _administer(postgres: PostgresService, statement: sql.Composed) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(statement)


class Topics:
    """Topics of one test."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._names: list[str] = []

    def make(self, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Makes an empty topic and gives its name."""
        name = f"test-{secrets.token_hex(6)}"
        wanted = NewTopic(name, partitions, 1, config=dict(config or {}))
        made = self._admin.create_topics([wanted], operation_timeout=REQUEST_SECONDS)
        made[name].result(REQUEST_SECONDS)
        self._names.append(name)
        wait_for(lambda: self._is_led(name, partitions), "leaders of a topic that was made")
        return name

    def _is_led(self, name: str, partitions: int) -> bool:
        """Whether each partition answers: a broker that has made a topic may not know for a moment that it leads it."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the library leaves it untyped
        asked = self._admin.list_offsets({TopicPartition(name, p): latest for p in range(partitions)})
        return not any(answer.exception(REQUEST_SECONDS) for answer in asked.values())

    def delete(self) -> None:
        """Deletes all that were made and are still there."""
        left = [name for name in self._names if name in self._admin.list_topics(timeout=REQUEST_SECONDS).topics]
        deleted = self._admin.delete_topics(left, operation_timeout=REQUEST_SECONDS) if left else {}
        for each in deleted.values():
            each.result(REQUEST_SECONDS)
