"""PostgreSQL comes back with less than was committed: an older copy of its data, a standby that lacks commits."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest

from orders.embedded.postgres import PostgresService
from orders.memory.shared import Memory
from support.backup import Backup
from support.checker import positions
from support.load import Load
from support.machine import Machine
from support.services import MakeTopic, open_folder
from support.standby import followed
from support.waiting import wait_for

pytestmark = pytest.mark.system
END_KEEPERS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'orders keep'"


@pytest.fixture
def machine(
    tmp_path: Path, own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> Iterator[Machine]:
    with Machine(tmp_path, own_postgres.dsn, kafka_bootstrap, make_topic()) as made:
        yield made


@pytest.fixture
def load(machine: Machine) -> Iterator[Load]:
    made = Load(machine, 81)
    yield made
    made.close()


class Restores:
    """Whether a machine's memory was emptied and filled again since a moment."""

    def __init__(self, machine: Machine) -> None:
        self._memory = Memory.open(Path(machine.settings.memory_path))
        self._before = 0.0

    def begin(self) -> None:
        self._before = self._memory._state().emptied_at

    def done(self) -> bool:
        return self._memory._state().emptied_at > self._before and not self._memory.restore_wanted()

    def close(self) -> None:
        self._memory.close()


@pytest.fixture
def restores(machine: Machine) -> Iterator[Restores]:
    made = Restores(machine)
    yield made
    made.close()


@pytest.mark.faults
def test_an_older_copy_of_the_data_that_is_put_back_is_brought_up_to_the_topic(
    machine: Machine, load: Load, restores: Restores, own_postgres: PostgresService
) -> None:
    """Also where all was read again, up to the same offsets, before the keeper could look."""
    with load.going_on():
        first, second = Backup(own_postgres), Backup(own_postgres)
        load.catch_up(30)
        restores.begin()
        first.put_back()
        wait_for(restores.done, "memory is filled again", 30)
        load.catch_up(30)
    load.check()
    know_all(machine, restores)

    machine.tell("keep", signal.SIGSTOP)
    restores.begin()
    second.put_back()
    load.catch_up(30)
    machine.tell("keep", signal.SIGCONT)
    wait_for(restores.done, "memory is filled again", 30)
    load.check()


def know_all(machine: Machine, restores: Restores) -> None:
    """The keeper loses its connection, finds positions that it does not know, and knows them from then on."""
    restores.begin()
    with psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(END_KEEPERS)
    wait_for(restores.done, "memory is filled again", 30)


def test_a_standby_that_takes_over_without_the_last_commits_is_brought_up_to_the_topic(
    tmp_path: Path, own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """What was saved, and is missing there, is read again: its positions came with its data.

    Takes over 10 s: a standby is made and promoted under load.
    """
    with ExitStack() as up:
        folder = up.enter_context(open_folder())
        standby, network = up.enter_context(followed(folder, own_postgres))
        machine = up.enter_context(Machine(tmp_path, standby.either, kafka_bootstrap, make_topic()))
        load, restores = Load(machine, 82), Restores(machine)
        up.callback(load.close)
        up.callback(restores.close)
        with load.going_on():
            load.saved(20, 20)
            standby.catch_up()
            network.be("cut")
            load.saved(20, 20)
            restores.begin()
            reached = places(own_postgres.dsn)
            psutil.Process(own_postgres.pid).send_signal(signal.SIGQUIT)
            wait_for(lambda: not own_postgres.running(), "its end")
            behind = places(standby.dsn)
            assert all(behind[partition] < offset for partition, offset in reached.items()), "commits are missing"
            standby.take_over()
            wait_for(restores.done, "memory is filled again", 30)
            load.catch_up(30)
            load.saved(20, 20)
        load.check()


def places(dsn: str) -> dict[int, int]:
    """Where the partitions are, by what a server holds."""
    with psycopg.connect(dsn) as connection:
        return positions(connection)
