"""Migrations bring any database to the shipped schema once, also when several start at the same moment."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from orders.errors import SetupWrong
from orders.migrations import migrate, shipped


def test_all_are_applied_once_and_a_second_start_finds_nothing_to_do(postgres_dsn: str) -> None:
    assert migrate(postgres_dsn) == [m.name for m in shipped()]
    assert migrate(postgres_dsn) == []


def test_two_that_start_at_once_apply_each_file_once(postgres_dsn: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(postgres_dsn), range(4)))
    assert sorted(name for names in applied for name in names) == [m.name for m in shipped()]


def test_a_file_that_was_edited_after_it_was_applied_is_named(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("update migrations set sha256 = 'other'")
    with pytest.raises(SetupWrong, match=f"migration {shipped()[0].name} differs"):
        migrate(postgres_dsn)


def test_a_schema_newer_than_this_release_is_refused(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("insert into migrations (name, sha256) values ('9999_future.sql', '')")
    with pytest.raises(SetupWrong, match="does not know"):
        migrate(postgres_dsn)
