"""PostgreSQL: reachable, new enough, UTF-8, durable, our schema, permissions, room for our connections, in time."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, LiteralString

from msgspec import Struct

from orders.doctor.check import Case, Check, failed, ok, skipped, warning
from orders.errors import Misconfigured, OrdersError, UsageError
from orders.postgres import grants, indexes, migrations
from orders.postgres.connection import GRANTS, OLDEST, Connection, connect, queries, translated
from orders.settings import Settings, without_password
from orders.system.state import require

STATEMENT_SECONDS = 4
CLOCK_SECONDS = 2.0
"""How far the clocks may be apart: times of dead letters and orders come from both."""
KEEPER_CONNECTIONS = 4
"""It listens, reads for a restore, copies dead letters and builds indexes."""
UTF8 = "create the database with encoding 'UTF8' template template0"

FAILED = re.compile(r".* failed: (?:FATAL: +)?(.*)")

SERVER = """
select current_setting('server_version_num')::int / 10000, current_setting('server_version'),
       current_setting('server_encoding'),
       pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool,
       array(select name from unnest(array['fsync', 'full_page_writes', 'synchronous_commit']) as name
             where current_setting(name) = 'off'),
       extract(epoch from clock_timestamp())::float8,
       least(
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true)::int, 0),
           (select nullif(datconnlimit, -1) from pg_database where datname = current_database()),
           (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user)
       ),
       (select count(*)::int from pg_stat_activity
        where datid is not null and coalesce(application_name, '') not like 'orders %')
"""
PERMISSIONS = """
select coalesce(has_schema_privilege(current_schema(), 'create'), false), to_regclass('positions') is not null
"""


class ServerFacts(Struct, frozen=True):
    """What the server says of itself; `off` are those of its settings for durability that are off.

    `clock` is in seconds since the epoch, `room` the connections that there may be, `others` those that are not ours.
    """

    major: int
    version: str
    encoding: str
    read_only: bool
    off: list[str]
    clock: float
    room: int
    others: int


class Permissions(Struct, frozen=True):
    """Whether the role may make tables, whether ours are there, and what it lacks on them."""

    create: bool
    positions: bool
    lacking: list[str]


class PostgresChecks:
    """The look at one PostgreSQL; `positions` is what it stores of the topic, None if that could not be read."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._settings = case.settings
        self.positions: Mapping[tuple[str, int], int] | None = None

    def look(self) -> Iterator[Check]:
        try:
            require(self._settings, "postgres_dsn")
        except UsageError as error:
            yield skipped("PostgreSQL", str(error))
            return
        try:
            connection = connect(self._settings.postgres_dsn, "doctor", statement_seconds=STATEMENT_SECONDS)
        except OrdersError as error:
            yield self._refused(error)
            return
        with connection, translated():
            yield from self._look(connection)

    def _refused(self, error: OrdersError) -> Check:
        reason = why(error)
        if self._case.running and not self._case.alone.postgres_dsn and "password" in reason:
            return skipped(
                "PostgreSQL",
                "its password is known to the system that runs, not to this command",
                "give ORDERS_POSTGRES_DSN as that system has it",
            )
        if isinstance(error, Misconfigured):
            return failed("PostgreSQL", str(error))
        shown = without_password(self._settings.postgres_dsn)
        return failed("PostgreSQL", f"{shown} cannot be reached: {reason}", "start it, or correct ORDERS_POSTGRES_DSN")

    def _look(self, connection: Connection) -> Iterator[Check]:
        began = time.time()
        server = ServerFacts(*_row(connection, SERVER))
        middle = (began + time.time()) / 2
        yield reachable(server, without_password(self._settings.postgres_dsn))
        yield encoding(server)
        create, positions = _row(connection, PERMISSIONS)
        permissions = Permissions(create, positions, grants.lacking(connection, grants.WRITES))
        yield permissions_of(permissions)
        yield schema(connection, permissions)
        yield durability(server)
        yield connections(server, needed(self._settings))
        yield clock(server.clock - middle)
        self.positions = self._positions(connection) if permissions.positions else {}
        if self._settings.postgres_dsn_serve and permissions.positions:
            yield serving(self._settings.postgres_dsn_serve, grants.place(connection))

    def _positions(self, connection: Connection) -> dict[tuple[str, int], int] | None:
        topic = {"topic": self._settings.kafka_topic}
        with suppress(OrdersError), translated():  # a missing permission was reported already
            rows = connection.execute(queries["positions_of_topic"], topic).fetchall()
            return {(topic_id, partition): position for topic_id, partition, position in rows}
        return None


def _row(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    return connection.execute(query).fetchall()[0]


def why(error: OrdersError) -> str:
    """What kept a connection from being made, as far as libpq's words hold no part of the connection string."""
    said = str(error.__cause__)
    if "resolve" in said:
        return "the name of its host is not known"  # libpq would quote the name: a wrong URL has the password in it
    found = FAILED.match(said)
    return found[1] if found else "no answer"


# ---- what it means ----


def reachable(server: ServerFacts, address: str) -> Check:
    """That it answers, takes writes, and is not older than what the tests run on."""
    found = f"PostgreSQL {server.version} answers at {address}"
    if server.read_only:
        return failed("PostgreSQL", f"{found} and takes no writes", "name the primary in ORDERS_POSTGRES_DSN")
    if server.major < OLDEST:
        return failed("PostgreSQL", f"{found} and is too old", f"use {OLDEST} or later")
    return ok("PostgreSQL", found)


def encoding(server: ServerFacts) -> Check:
    if server.encoding == "UTF8":
        return ok("PostgreSQL encoding", "UTF8")
    return failed("PostgreSQL encoding", f"{server.encoding} does not hold every order", UTF8)


def permissions_of(permissions: Permissions) -> Check:
    """Whether the role may use what there is of the schema."""
    if permissions.lacking:
        return failed(
            "PostgreSQL permissions", f"the role lacks {'; '.join(permissions.lacking)}", f"grant them: {GRANTS}"
        )
    return ok("PostgreSQL permissions", f"the role may {'make and ' * permissions.create}use the tables")


def serving(dsn: str, written: grants.DatabaseIdentity) -> Check:
    """Whether the role of the serve processes comes in where the others write, and may read what it needs."""
    try:
        grants.require_serving(dsn, written)
    except OrdersError as error:
        return failed("PostgreSQL serve", str(error))
    return ok("PostgreSQL serve", f"the role of {without_password(dsn)} may read")


def schema(connection: Connection, permissions: Permissions) -> Check:
    """Whether the schema is that of this release, or the next start makes it so."""
    try:
        with translated():
            missing = migrations.needed(connection)
            waiting = [] if missing else [each.makes_index for each in indexes.due(connection)]
            may_build = not waiting or indexes.owns_tables(connection)
    except OrdersError as error:
        return failed("schema", str(error))
    if waiting:
        return unbuilt(", ".join(waiting), may_build=may_build)
    names = ", ".join(migration.name for migration in missing)
    if missing and not permissions.create:
        return failed("schema", f"it lacks {names}, which this role may not apply", migrations.MIGRATE)
    if missing and not permissions.positions:
        return ok("schema", "there is none yet: `orders run` makes it")
    return ok("schema", f"the next `orders run` brings it up to date ({names})" if missing else "up to date")


def unbuilt(names: str, *, may_build: bool) -> Check:
    """What it means that indexes are not valid yet: filters wait for them, and nothing else."""
    if may_build:
        return ok("schema", f"up to date, but for indexes that `orders run` builds beside its work ({names})")
    return warning("schema", f"it lacks indexes that this role may not build ({names})", migrations.MIGRATE)


def durability(server: ServerFacts) -> Check:
    """Whether what is committed outlives a power loss."""
    if not server.off:
        return ok("durability", "fsync, full_page_writes and synchronous_commit are on")
    return warning(
        "durability",
        f"{', '.join(server.off)} off: a power loss may take orders that returned 201, or break the database",
        "switch it on in postgresql.conf, or for the role",
    )


def needed(settings: Settings) -> int:
    """Connections of a whole system."""
    of_serve = settings.postgres_connections + settings.search_connections
    return settings.ingest_processes + settings.http_workers * of_serve + KEEPER_CONNECTIONS


def connections(server: ServerFacts, wanted: int) -> Check:
    left = server.room - server.others
    found = f"{left} of {server.room} are left by others, the system takes up to {wanted}"
    if left >= wanted:
        return ok("connections", found)
    advice = "raise max_connections or the role's limit, or lower --postgres-connections or --search-connections"
    return warning("connections", found, advice)


def clock(ahead: float) -> Check:
    """`ahead`: seconds by which PostgreSQL's clock is before ours."""
    if abs(ahead) <= CLOCK_SECONDS:
        return ok("clock", "PostgreSQL's and this machine's agree")
    found = f"PostgreSQL's is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    return warning("clock", found, "keep both by NTP: times of orders and dead letters come from both")
