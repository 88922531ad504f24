"""Migrations bring any database to the shipped schema once, also when several start at the same moment."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orders.errors import Misconfigured
from orders.postgres.connection import connect
from orders.postgres.migrations import MIGRATE, Migration, history, migrate, shipped
from support.roles import role
from support.schema import OLDEST, left_by, release


def test_all_are_applied_once_and_a_second_start_finds_nothing_to_do(postgres_dsn: str) -> None:
    assert migrate(postgres_dsn) == [m.name for m in shipped()]
    assert migrate(postgres_dsn) == []


def test_two_that_start_at_once_apply_each_file_once(postgres_dsn: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(postgres_dsn), range(4)))
    assert sorted(name for names in applied for name in names) == [m.name for m in shipped()]


def test_a_schema_that_is_up_to_date_is_only_read(postgres_dsn: str) -> None:
    # So a role that may not make tables starts the system on it.
    migrate(postgres_dsn)
    reading = make_conninfo(postgres_dsn, options="-c default_transaction_read_only=on")
    assert migrate(reading) == []


def test_a_server_that_is_too_old_gets_no_schema(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # None so old is to be had: what counts as too old is moved instead.
    monkeypatch.setattr("orders.postgres.connection.OLDEST", 99)
    with pytest.raises(Misconfigured, match=r"^PostgreSQL \d+.* is too old: orders needs 99 or later$"):
        migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("select to_regclass('migrations')").fetchone() == (None,)


def test_a_role_that_may_not_make_tables_is_reported_who_has_to(postgres_dsn: str) -> None:
    with role(postgres_dsn) as (_, theirs), pytest.raises(Misconfigured) as caught:
        migrate(theirs)
    names = ", ".join(m.name for m in shipped() if m.phase == "pre")
    assert str(caught.value) == f"the database lacks {names}, which this role may not apply: {MIGRATE}"


def test_a_file_that_was_edited_after_it_was_applied_is_named(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("update migrations set sha256 = 'other'")
    with pytest.raises(Misconfigured, match=f"migration {shipped()[0].name} differs"):
        migrate(postgres_dsn)


def test_an_older_release_starts_on_a_newer_schema_that_says_to_be_compatible(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # During a rollout, and after one that was undone.
    migrate(postgres_dsn)
    release(monkeypatch, [m for m in shipped() if m.name <= OLDEST])
    assert migrate(postgres_dsn) == []


def test_an_older_release_says_which_file_it_is_not_compatible_with(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(postgres_dsn)
    release(monkeypatch, [m for m in shipped() if m.name < OLDEST])
    with pytest.raises(Misconfigured, match=f"has migration {OLDEST}, which this release does not know"):
        migrate(postgres_dsn)


def test_a_file_that_is_edited_is_refused_beside_newer_ones_too(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("update migrations set sha256 = 'other' where name = %s", (OLDEST,))
    release(monkeypatch, [m for m in shipped() if m.name <= OLDEST])
    with pytest.raises(Misconfigured, match=f"migration {OLDEST} differs"):
        migrate(postgres_dsn)


def test_a_history_from_before_compatibility_is_read_and_gets_its_column_with_the_next_file(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by(postgres_dsn)
    added = Migration("9999_added.sql", "create table added ()", compatible_with=OLDEST)
    release(monkeypatch, [*shipped(), added])
    assert added.name in migrate(postgres_dsn)
    with connect(postgres_dsn, "test") as connection:
        found = {each.name: each.compatible_with for each in history(connection)}
    assert found[added.name] == OLDEST
    assert found[OLDEST] is None


def test_a_schema_newer_than_this_release_is_refused(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("insert into migrations (name, sha256) values ('9999_future.sql', '')")
    with pytest.raises(Misconfigured, match="does not know"):
        migrate(postgres_dsn)
