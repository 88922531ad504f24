"""What contests stand on: real services, and databases and memories of their own."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
from psycopg import sql

from bench.stock import Stock
from orders.embedded import ports
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.errors import StartError
from orders.memory.shared import Memory, Put
from orders.postgres.migrations import migrate
from orders.settings import Settings
from orders.system.capacity import held_directory, remove_abandoned
from orders.system.machine import SHM
from orders.timing import monotonic

LOOPBACK = ports.LOOPBACK
MEMORY_PER_DOCUMENT = 3000
"""Bytes of memory's budget for each order that is to stay in it: about twice what one takes."""


@dataclass
class Ground:
    """The running services, a folder on disk, and the stock that contests share."""

    postgres: PostgresService
    kafka: KafkaService
    folder: Path

    @cached_property
    def stock(self) -> Stock:
        """Orders, made once."""
        return Stock({"bootstrap.servers": self.kafka.bootstrap})

    def postgres_pid(self) -> int:
        """The postmaster: all of PostgreSQL descends from it."""
        pid = self.postgres.pid
        if pid is None:
            raise StartError("PostgreSQL has ended; see whether the disk is full")
        return pid

    def settings(self, dsn: str, topic: str, memory: Path) -> Settings:
        """Settings of the service's processes: the shipped ones but for addresses, and a consumer group never used."""
        return Settings(
            data_dir=str(self.folder),
            http_port=free_port(),
            kafka_bootstrap=self.kafka.bootstrap,
            kafka_topic=topic,
            kafka_group=f"bench-{secrets.token_hex(6)}",
            postgres_dsn=dsn,
            memory_path=str(memory),
            log_format="json",
        )


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    return ports.free(1)[0]


@contextmanager
def ground(say: Callable[[str], None]) -> Iterator[Ground]:
    """PostgreSQL and Kafka as `orders run` starts them, in a new folder; nothing of it is left in the end."""
    with new_folder(Path(tempfile.gettempdir())) as folder, ExitStack() as stack:
        folder.chmod(0o711)  # PostgreSQL runs as another user where we are root
        postgres, kafka = PostgresService(folder / "postgres"), KafkaService(folder / "kafka")
        for service, called in ((postgres, "PostgreSQL"), (kafka, "Kafka")):
            say(f"starting {called}")
            stack.callback(service.stop)
            service.start()
        yield Ground(postgres, kafka, folder)


@contextmanager
def new_folder(base: Path) -> Iterator[Path]:
    """A folder that is removed in the end; those that a killed bench left go now."""
    remove_abandoned(base)
    folder, handle = held_directory(base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


# ---- databases and memories ----


@contextmanager
def database(postgres: PostgresService) -> Iterator[str]:
    """The URL of a new database with the shipped schema, after a checkpoint: each contestant finds the same."""
    name = f"bench_{secrets.token_hex(6)}"
    administer(postgres, sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        migrate(postgres.dsn_of(name))
        administer(postgres, sql.SQL("checkpoint"))
        yield postgres.dsn_of(name)
    finally:
        administer(postgres, sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def administer(postgres: PostgresService, statement: sql.SQL | sql.Composed) -> None:
    """Runs one statement as the superuser, outside of the databases that are measured."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def memory_path(folder: Path, budget: int) -> Iterator[Path]:
    """Where a shared memory may be made: in RAM where there is room for `budget` bytes, as `orders run` does it."""
    in_ram = SHM.is_dir() and shutil.disk_usage(SHM).free > budget
    with new_folder(SHM if in_ram else folder) as made:
        yield made / "memory"


@contextmanager
def memory(folder: Path, documents: Sequence[Put], room_for: int = 0) -> Iterator[tuple[Path, Memory]]:
    """A shared memory with documents in it, and room for as many more."""
    budget = max((len(documents) + room_for) * MEMORY_PER_DOCUMENT, 2**20)
    with memory_path(folder, budget) as path:
        made = Memory.create(path, budget)
        try:
            made.put(documents, monotonic())
            if made.stats().documents != len(documents):
                raise StartError("not all documents went into memory")
            yield path, made
        finally:
            made.close()
