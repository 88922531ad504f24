"""Brings the schema up to date: numbered SQL files, one transaction, safe when several start at once.

A library was left out: Alembic wants SQLAlchemy, dbmate is a foreign binary, and the need is one loop.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from orders.errors import Forbidden, Misconfigured
from orders.postgres.connection import Connection, connect, refuse_old, translated

LOCK = 0x6F7264657273
"""Advisory lock that only one migration at a time holds: "orders" in ASCII."""

HISTORY = """
create table if not exists migrations (
    name text primary key, sha256 text not null, at timestamptz not null default now()
)
"""


MIGRATE = "run `orders migrate` with the connection string of the role that owns the database"


class Migration(NamedTuple):
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """The migrations of this release, in order."""
    folder = files("orders.postgres").joinpath("sql/migrations")
    found = [Migration(f.name, f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".sql")]
    return sorted(found)


def migrate(dsn: str) -> list[str]:
    """Applies what is missing and returns its names; only reads where nothing is.

    Raises `Misconfigured` when PostgreSQL is too old, an applied file was edited, the schema is newer than this
    release, or the role may not apply what is missing.
    """
    with connect(dsn, "migrate", statement_seconds=600) as connection, translated():
        refuse_old(connection)
        wanted = missing(connection)
        return _apply(connection, wanted) if wanted else []


def _apply(connection: Connection, wanted: list[Migration]) -> list[str]:
    try:
        with translated(), connection.transaction():
            connection.execute("set local lock_timeout = '60s'")
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(HISTORY)
            return [apply(connection, migration) for migration in missing(connection)]
    except Forbidden as error:
        names = ", ".join(migration.name for migration in wanted)
        raise Misconfigured(f"the database lacks {names}, which this role may not apply: {MIGRATE}") from error


def describe(applied: Sequence[str]) -> str:
    """What was applied, for a person."""
    return f"schema: applied {', '.join(applied)}" if applied else "schema: up to date"


def missing(connection: Connection) -> list[Migration]:
    """Migrations that the database lacks, after the check that it holds no others."""
    applied = dict(history(connection))
    known = {m.name: m.sha256 for m in shipped()}
    for name, sha256 in sorted(applied.items()):
        if name not in known:
            raise Misconfigured(
                f"the database has migration {name}, which this release does not know: install a newer release"
            )
        if known[name] != sha256:
            raise Misconfigured(f"migration {name} differs from the one that was applied: restore the file")
    return [m for m in shipped() if m.name not in applied]


def history(connection: Connection) -> list[tuple[str, str]]:
    """Names and SHA-256 of what was applied."""
    if connection.execute("select to_regclass('migrations')").fetchone() == (None,):
        return []
    return connection.execute("select name, sha256 from migrations").fetchall()


def apply(connection: Connection, migration: Migration) -> str:
    connection.execute(migration.sql)
    connection.execute("insert into migrations (name, sha256) values (%s, %s)", (migration.name, migration.sha256))
    return migration.name
