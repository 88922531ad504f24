"""Databases as other releases leave them, and a release that is older than this one."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from orders.postgres.migrations import Migration, shipped
from support.earlier import HISTORY

OLDEST = "0006_new_partitions.sql"
"""The newest file of the last release that knew no post files: its history says nothing of compatibility."""


def left_by(dsn: str, newest: str = OLDEST) -> None:
    """Makes the schema as a release before post files did, up to a file."""
    with psycopg.connect(dsn) as connection:
        connection.execute(HISTORY)
        for each in shipped():
            if each.name <= newest:
                connection.execute(each.sql.encode())
                connection.execute("insert into migrations values (%s, %s)", (each.name, each.sha256))


def release(monkeypatch: pytest.MonkeyPatch, files: list[Migration]) -> None:
    """Has the code know these files alone, as another release would."""
    for module in ("migrations", "indexes"):
        monkeypatch.setattr(f"orders.postgres.{module}.shipped", lambda: files)


def add_orders(dsn: str, first: int, last: int) -> None:
    """Rows of `orders` with these ids."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into orders select 'u' || n, '', '', '', '', '', '', '', '', '', '', '', '', '', 0, 0, '', 0, 0, "
            "0, '[]', '', '', '', '', '', 0, now() - make_interval(secs => n), '', null, n, n, 't', 0, n, "
            "now() - make_interval(secs => n) from generate_series(%s::int, %s::int) n",
            (first, last),
        )


END_BUILDS = "select pg_terminate_backend(pid) from pg_stat_progress_create_index where datname = current_database()"
"""Ends the builds of one database: others on the same server have builders of their own."""


@contextmanager
def old_snapshot(dsn: str) -> Iterator[psycopg.Connection]:
    """A transaction that stays open, as a backup's does: a build that began later cannot end before it."""
    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select 1")  # locks nothing
        yield connection
