"""Brings the schema up to date: numbered SQL files, safe when several start at once and beside a system that runs.

A file may begin with a header of `-- name: value` lines:

phase            `pre` (the default): before new code runs, by `orders run` at its start, all missing ones in one
                 transaction. `post`: beside the running system; no start waits for it (`orders.postgres.indexes`)
transaction      `yes` (the default); `no`, which post files are: one `create index concurrently NAME on TABLE ...`
compatible-with  a file: releases whose newest one is at least that keep running, and restart, with this one applied

A library was left out: Alembic wants SQLAlchemy, dbmate is a foreign binary, and the need is one loop.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, TypeVar

from orders.errors import Forbidden, Misconfigured
from orders.postgres.connection import Connection, connect, queries, refuse_old, translated

T = TypeVar("T")
Phase = Literal["pre", "post"]

LOCK = 0x6F7264657273
"""Advisory lock that only one migration at a time holds: "orders" in ASCII."""

HISTORY = """
create table if not exists migrations (
    name text primary key, sha256 text not null, at timestamptz not null default now()
);
alter table migrations add column if not exists compatible_with text
"""
IS_PREPARED = """
select exists (select from pg_attribute where attrelid = to_regclass('migrations') and attname = 'compatible_with')
"""

NAMED = 3
"""Applied migrations that are named one by one."""
MIGRATE = "run `orders migrate` with the connection string of the role that owns the database"

HEADER = re.compile(r"--\s*([\w-]+)\s*:\s*(.*?)\s*")
PHASES: dict[str, Phase] = {"pre": "pre", "post": "post"}
TRANSACTIONS = {"yes": True, "no": False}
NAMES = ("phase", "transaction", "compatible-with")
FILE = re.compile(r"\d{4}_\w+\.sql")
CONCURRENTLY = "create index concurrently "
INDEX = re.compile(rf"{CONCURRENTLY}([a-z_][a-z0-9_]{{0,49}})\s+on\s+[a-z_][a-z0-9_]*\s[^;]+;?\s*")


class Migration(NamedTuple):
    """A file; `makes_index` is the name of the index that it makes beside the running system, if it is a post one."""

    name: str
    sql: str
    phase: Phase = "pre"
    compatible_with: str | None = None
    makes_index: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Applied(NamedTuple):
    """A migration that a database has; `compatible_with` is None where its release named none."""

    name: str
    sha256: str
    compatible_with: str | None = None


def parse(name: str, text: str) -> Migration:
    """A migration from its file. Raises `Misconfigured` where the header or the statement is not as above."""
    lines = text.splitlines()
    header = _header(name, lines)
    for line in lines[len(header) :]:
        found = HEADER.fullmatch(line)
        if found and found[1] in NAMES:
            raise _wrong(name, f"`{found[1]}` belongs at the beginning")
    phase = _choice(name, header, "phase", PHASES, "pre")
    if (phase == "pre") != _choice(name, header, "transaction", TRANSACTIONS, "yes"):
        raise _wrong(name, "`transaction` is `no` in post files, and in them alone")
    index = _index(name, lines) if phase == "post" else ""
    return Migration(name, text, phase, _compatible_with(name, header), index)


def _header(name: str, lines: Sequence[str]) -> dict[str, str]:
    """The lines before the first one that is no header line: a sentence of a comment has more than a word."""
    found: dict[str, str] = {}
    for line in lines:
        match = HEADER.fullmatch(line)
        if match is None:
            break
        if match[1] not in NAMES or match[1] in found:
            raise _wrong(name, f"`{match[1]}` is unknown or given twice")
        found[match[1]] = match[2]
    return found


def _choice(name: str, header: dict[str, str], key: str, values: dict[str, T], default: str) -> T:
    given = header.get(key, default)
    if given not in values:
        raise _wrong(name, f"`{key}` is {' or '.join(values)}")
    return values[given]


def _compatible_with(name: str, header: dict[str, str]) -> str | None:
    given = header.get("compatible-with")
    if given is not None and not (FILE.fullmatch(given) and given < name):
        raise _wrong(name, "`compatible-with` is the name of an earlier file")
    return given


def _index(name: str, lines: Sequence[str]) -> str:
    statement = "\n".join(line for line in lines if not line.startswith("--")).strip()
    found = INDEX.fullmatch(statement)
    if found is None:
        raise _wrong(name, f"a post file is one `{CONCURRENTLY}NAME on TABLE ...`")
    return found[1]


def _wrong(name: str, what: str) -> Misconfigured:
    return Misconfigured(f"migration {name}: {what}: restore the file")


@cache
def shipped() -> Sequence[Migration]:
    """The migrations of this release, in order. Raises `Misconfigured` where a file is not as it has to be."""
    folder = files("orders.postgres").joinpath("sql/migrations")
    found = [parse(f.name, f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".sql")]
    return tuple(sorted(found))


def migrate(dsn: str) -> list[str]:
    """Applies what a start needs and returns its names; only reads where nothing is missing.

    That is the pre files; in a database that is still empty the post ones too, which are done at once there.

    Raises `Misconfigured` when PostgreSQL is too old, an applied file was edited, the schema is newer than this
    release can run on, or the role may not apply what is missing.
    """
    with connect(dsn, "migrate", statement_seconds=600) as connection, translated():
        refuse_old(connection)
        wanted = needed(connection)
        return _apply(connection, wanted) if wanted else []


def _apply(connection: Connection, wanted: Sequence[Migration]) -> list[str]:
    try:
        with translated(), connection.transaction():
            connection.execute("set local lock_timeout = '60s'")
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            is_new = not history(connection)
            prepare_history(connection)
            due = missing(connection) if is_new else needed(connection)
            return [_apply_one(connection, migration) for migration in due]
    except Forbidden as error:
        names = ", ".join(migration.name for migration in wanted)
        raise Misconfigured(f"the database lacks {names}, which this role may not apply: {MIGRATE}") from error


def _apply_one(connection: Connection, migration: Migration) -> str:
    """In a transaction: an index of an empty table needs nothing else."""
    sql = migration.sql.replace(CONCURRENTLY, "create index ", 1) if migration.makes_index else migration.sql
    connection.execute(sql)
    record(connection, migration)
    return migration.name


def prepare_history(connection: Connection) -> None:
    """Makes the table of what was applied, as this release writes it."""
    if connection.execute(IS_PREPARED).fetchone() != (True,):
        connection.execute(HISTORY)


def record(connection: Connection, migration: Migration) -> None:
    """Notes that the database has it."""
    connection.execute(
        queries["add_migration"],
        {"name": migration.name, "sha256": migration.sha256, "compatible_with": migration.compatible_with},
    )


def describe(applied: Sequence[str]) -> str:
    """What was applied, for a person."""
    if len(applied) > NAMED:
        return f"schema: applied {len(applied)} migrations, {applied[0]} to {applied[-1]}"
    return f"schema: applied {', '.join(applied)}" if applied else "schema: up to date"


def needed(connection: Connection) -> list[Migration]:
    """Those of the missing ones that a start waits for. Raises as `missing`."""
    return [migration for migration in missing(connection) if migration.phase == "pre"]


def missing(connection: Connection) -> list[Migration]:
    """Migrations that the database lacks, of either phase. Raises `Misconfigured` where it holds others."""
    return unapplied(shipped(), history(connection))


def unapplied(known: Sequence[Migration], applied: Iterable[Applied]) -> list[Migration]:
    """Those of a release that a database lacks.

    Raises `Misconfigured` where it has one that the release does not know and that says not to be compatible with
    it, or one that differs from the release's.
    """
    ours = {migration.name: migration for migration in known}
    names = set[str]()
    for each in sorted(applied):
        names.add(each.name)
        if each.name not in ours:
            _require_compatible(each, newest=max(ours))
        elif ours[each.name].sha256 != each.sha256:
            raise Misconfigured(f"migration {each.name} differs from the one that was applied: restore the file")
    return [migration for migration in known if migration.name not in names]


def _require_compatible(unknown: Applied, newest: str) -> None:
    """One from between ours is of no release that is only newer."""
    if unknown.name < newest or unknown.compatible_with is None or unknown.compatible_with > newest:
        raise Misconfigured(
            f"the database has migration {unknown.name}, which this release does not know: install a newer release"
        )


def history(connection: Connection) -> list[Applied]:
    """What was applied, in no order."""
    if connection.execute("select to_regclass('migrations')").fetchone() == (None,):
        return []
    return [Applied(*row) for row in connection.execute(queries["applied_migrations"])]
