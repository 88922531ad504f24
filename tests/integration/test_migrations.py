"""Migrations bring any database to the shipped schema once, also when several start at the same moment."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orders.errors import Misconfigured
from orders.postgres.migrations import MIGRATE, migrate, shipped
from support.roles import role


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
    names = ", ".join(m.name for m in shipped())
    assert str(caught.value) == f"the database lacks {names}, which this role may not apply: {MIGRATE}"


def test_a_file_that_was_edited_after_it_was_applied_is_named(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("update migrations set sha256 = 'other'")
    with pytest.raises(Misconfigured, match=f"migration {shipped()[0].name} differs"):
        migrate(postgres_dsn)


def test_a_schema_newer_than_this_release_is_refused(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("insert into migrations (name, sha256) values ('9999_future.sql', '')")
    with pytest.raises(Misconfigured, match="does not know"):
        migrate(postgres_dsn)
