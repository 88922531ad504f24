"""Brings the schema up to date: numbered SQL files, one transaction, safe when several start at once.

A library was left out: Alembic wants SQLAlchemy, dbmate is a foreign binary, and the need is one loop.
"""

import hashlib
from importlib.resources import files
from typing import NamedTuple

from orders.errors import SetupWrong
from orders.postgres import Connection, connect, translated

LOCK = 0x6F7264657273
"""Advisory lock that only one migration at a time holds: "orders" in ASCII."""

HISTORY = """
create table if not exists migrations (
    name text primary key, sha256 text not null, at timestamptz not null default now()
)
"""


class Migration(NamedTuple):
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """The migrations of this release, in order."""
    folder = files("orders").joinpath("sql/migrations")
    found = [Migration(f.name, f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".sql")]
    return sorted(found)


def migrate(dsn: str) -> list[str]:
    """Applies what is missing and returns its names.

    Raises `SetupWrong` when an applied file was edited, or the schema is newer than this release.
    """
    with connect(dsn, "migrate", statement_seconds=600) as connection, translated(), connection.transaction():
        connection.execute("set local lock_timeout = '60s'")
        connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(HISTORY)
        return [apply(connection, migration) for migration in missing(connection)]


def missing(connection: Connection) -> list[Migration]:
    """Migrations that the database lacks, after the check that it holds no others."""
    applied: dict[str, str] = dict(connection.execute("select name, sha256 from migrations").fetchall())
    known = {m.name: m.sha256 for m in shipped()}
    for name, sha256 in sorted(applied.items()):
        if name not in known:
            raise SetupWrong(f"the database has migration {name}, which this release does not know: upgrade it")
        if known[name] != sha256:
            raise SetupWrong(f"migration {name} differs from the one that was applied: restore the file")
    return [m for m in shipped() if m.name not in applied]


def apply(connection: Connection, migration: Migration) -> str:
    connection.execute(migration.sql)
    connection.execute("insert into migrations (name, sha256) values (%s, %s)", (migration.name, migration.sha256))
    return migration.name
