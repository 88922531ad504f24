"""The embedded PostgreSQL: its data through every kind of end, and who may come in."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orders.embedded import account
from orders.embedded import postgres as embedded_postgres
from orders.embedded.postgres import PostgresService
from orders.errors import StartError
from support.services import FAST, open_folder
from support.standin import Lines
from support.waiting import wait_for


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder / "postgres"


@pytest.fixture
def service(directory: Path) -> Iterator[PostgresService]:
    postgres = PostgresService(directory, FAST)
    yield postgres
    postgres.stop()


def note(dsn: str) -> int:
    """Adds a row, and gives the number of rows that are there now."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (at timestamptz)")
        connection.execute("INSERT INTO notes VALUES (now())")
        row = connection.execute("SELECT count(*) FROM notes").fetchone()
    assert row is not None
    return int(row[0])


def test_data_and_address_live_through_a_stop_and_a_kill(service: PostgresService, directory: Path) -> None:
    """Stopped and started, killed with -9 and started, left running and started by another: all rows are there."""
    service.start()
    dsn, first = service.dsn, note(service.dsn)
    service.stop()
    service.start()
    second = note(dsn)
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    wait_for(lambda: not service.running(), "its end")
    assert service.ending == "signal SIGKILL"
    assert (directory / "data" / "postmaster.pid").exists()
    service.start()
    third = note(dsn)
    other, lines = PostgresService(directory, FAST), Lines()
    other.start(lines)
    assert (first, second, third, note(other.dsn)) == (1, 2, 3, 4)
    assert lines.told[0].startswith("ended a PostgreSQL that an earlier start left")
    other.stop()


def test_nobody_comes_in_without_the_password(postgres: PostgresService) -> None:
    for wrong in ("", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(postgres.dsn, password=wrong)


def test_the_password_can_be_read_by_nobody_else(service: PostgresService, directory: Path) -> None:
    service.start()
    assert (directory / "password").stat().st_mode & 0o077 == 0


def test_the_log_holds_no_values(service: PostgresService, directory: Path) -> None:
    """PostgreSQL's errors repeat rows and statements; ours keeps them out of its log, for they are personal data."""
    service.start()
    with psycopg.connect(service.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (name text PRIMARY KEY, age int CHECK (age > 0))")
        for statement in ("INSERT INTO people VALUES ('Secret', -1)", "INSERT INTO people VALUES ('Secret', 'Secret')"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
        with pytest.raises(psycopg.Error), connection.cursor().copy("COPY people FROM STDIN") as copy:
            copy.write(b"Secret\t-5\n")
    assert "check constraint" in (directory / "output.log").read_text()
    assert "Secret: " not in (directory / "output.log").read_text()
    assert "'Secret'" not in (directory / "output.log").read_text()


def test_what_is_no_cluster_is_one_sentence(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "KIND", embedded_postgres.KIND._replace(pause=0.02))
    service = PostgresService(directory, FAST)
    (directory / "data").mkdir(parents=True)
    with pytest.raises(StartError, match=r"PostgreSQL does not start: .*data"):
        service.start()
    assert not service.running()


def test_a_cluster_of_another_version_is_left_alone_and_the_choices_are_said(
    service: PostgresService, directory: Path
) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(StartError) as refused:
        service.start()
    assert str(refused.value) == (
        f"{directory}/data was made by PostgreSQL 15, and ours is 18, which cannot read it: take the data over as "
        "docs/operations.md says, or choose another directory with --data-dir"
    )
    assert (directory / "data").stat().st_uid == os.getuid()
    assert [path.name for path in (directory / "data").iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize("name", ["a$HOME", "a`b", 'a"b', "a\\b"])
def test_an_installation_that_initdb_cannot_call_is_one_sentence(name: str) -> None:
    # It runs `"/path/postgres" -V` through a shell.
    with pytest.raises(StartError, match=f"has {re.escape(name[1])} in its name, .*: move this installation"):
        embedded_postgres.refuse_unquotable(Path("/srv") / name / "initdb")
    embedded_postgres.refuse_unquotable(Path("/srv/мой заказ 'копия' (2)!/initdb"))


@pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere there is no /dev/shm")
def test_it_does_without_shared_memory_of_the_machine_and_with_it_on_the_same_data(
    service: PostgresService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's /dev/shm may be small or missing, at the first start or at a later one."""
    for number, (room, kind) in enumerate([(2**62, "mmap"), (0, "posix"), (2**62, "mmap")], 1):
        monkeypatch.setattr(embedded_postgres, "SHM_BYTES", room)
        service.start()
        with psycopg.connect(service.dsn) as connection:
            assert connection.execute("SHOW dynamic_shared_memory_type").fetchone() == (kind,)
        assert note(service.dsn) == number
        service.stop()


def test_a_place_without_shared_memory_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(embedded_postgres, "SHM", tmp_path / "missing")
    assert embedded_postgres.shared_memory() == {"dynamic_shared_memory_type": "mmap"}
    monkeypatch.setattr(sys, "platform", "darwin")
    assert embedded_postgres.shared_memory() == {}


@pytest.mark.root
def test_root_may_keep_it_where_nobody_else_may_go(
    service: PostgresService, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a directory like root's home it runs in one of two other ways, and each continues with the other's data."""
    directory.parent.chmod(0o700)
    service.start()
    assert note(service.dsn) == 1
    service.stop()
    _, enters, renamed = account._candidates()
    for number, way in enumerate((renamed, enters), 2):
        monkeypatch.setattr(account, "_candidates", lambda way=way: [way])
        try:
            service.start()
        except StartError:
            pytest.skip(f"{way.prefix[0]} is missing or forbidden here")
        assert note(service.dsn) == number
        service.stop()
