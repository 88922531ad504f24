"""PostgreSQL: connections with time-outs, named statements, and whose fault an error is."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, LiteralString, TypeVar, cast

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import make_conninfo
from psycopg.errors import Error

from orders import deadlines
from orders.errors import Collided, Forbidden, Misconfigured, OrdersError, Rejected, Unavailable
from orders.postgres.connect_errors import refusal

T = TypeVar("T")

OLDEST = 15
"""The oldest major version that the tests run on."""
WITH_TRANSACTION_TIMEOUT = 17_00_00
"""The `server_version_num` from which on there is `transaction_timeout`."""
INTERVAL_SECONDS = 0.1
"""How often a wait looks whether it was interrupted; psycopg's own value."""
NETWORK_SECONDS = 10
"""How long sent bytes may stay unacknowledged, and a peer whose machine is gone unnoticed."""

UNAVAILABLE = ("08", "53", "57", "40", "55P03", "58", "25")
"""SQLSTATE classes and codes of an outage (PostgreSQL manual, appendix A): nothing is wrong with what was sent."""
SETUP = ("42", "28", "3D", "3F", "0A", "26")
"""SQLSTATE classes of a misconfiguration: objects, permissions, logins, databases, schemas, features, statements."""
DAMAGED = "XX"
NOTICES = "async.c"
"""PostgreSQL's source file whose errors mean a full queue of notices: somebody listens and does not read."""
UNIQUE_VIOLATION, ORDERS_KEY = "23505", "orders_pkey"
"""What a transaction meets that did not see an order which another one was just making."""
FORBIDDEN = "42501"
REFUSED = "PostgreSQL refused it"
REFUSED_BY_DRIVER = "the PostgreSQL driver refused a value"
UNSTORABLE = "a value cannot be stored"
REFUSALS = (REFUSED, REFUSED_BY_DRIVER, UNSTORABLE)
"""How the reason of a dead letter begins that the decoder took and PostgreSQL refused."""
GRANTS = "docs/security.md#roles-and-grants has what each role needs"


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """Given up where an answer does not come: also a peer that takes all bytes and never answers is noticed.

    The kernel's time-outs see only a machine that is gone, not a proxy or a server that hangs.
    """

    answer_seconds = 60.0
    """The most that one step waits: for an answer, for the next rows of one, for bytes to be taken."""
    meanwhile: Callable[[], None] | None = None
    """What is done every `INTERVAL_SECONDS` while it waits for an answer."""

    def wait(self, gen: Generator[Any, Any, T], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> T:
        """As psycopg's; where it failed the connection is closed, or a rollback would wait as long again."""
        if timeout is not None:  # anyone who gives one, as who waits for notices, does not mind
            return super().wait(gen, interval, timeout)
        if self.meanwhile is not None:
            gen = _interspersed(gen, self.meanwhile)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:
                self.pgconn.finish()
            raise


def _interspersed(gen: Generator[Any, Any, T], meanwhile: Callable[[], None]) -> Generator[Any, Any, T]:
    """The steps of a wait, and something else wherever nothing came for an interval: psycopg says so by sending 0."""
    try:
        awaited = next(gen)
        while True:
            ready = yield awaited
            if not ready:
                meanwhile()
            awaited = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def _load(text: str) -> Mapping[str, LiteralString]:
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    bodies = (re.sub(r"^--.*\n?", "", body, flags=re.MULTILINE).strip() for body in parts[2::2])
    return cast("Mapping[str, LiteralString]", dict(zip(parts[1::2], bodies, strict=True)))


queries: Mapping[str, LiteralString] = _load(files("orders.postgres").joinpath("sql/queries.sql").read_text("utf-8"))
"""Statements of sql/queries.sql by name."""


def conninfo(dsn: str, application: str) -> str:
    """The connection string with our time-outs, except those that `dsn` sets itself; text travels as UTF-8."""
    ours: dict[str, str | int] = {
        "connect_timeout": int(deadlines.CONNECT),
        "tcp_user_timeout": NETWORK_SECONDS * 1000,
        "keepalives_idle": NETWORK_SECONDS,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "application_name": f"orders {application}",
    }
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise Misconfigured("the PostgreSQL connection string cannot be read; see ORDERS_POSTGRES_DSN") from error
    wanted = {name: value for name, value in ours.items() if name not in given}
    return make_conninfo(dsn, **wanted, client_encoding="UTF8")


def connect(dsn: str, application: str, *, statement_seconds: float = 30, transaction_seconds: float = 0) -> Connection:
    """A connection in autocommit, READ COMMITTED, whose statements, locks and idle transactions time out.

    Whole transactions do after `transaction_seconds` (0: never), where PostgreSQL is 17 or later.

    A process that was stopped, or a network that went silent, thus frees its locks within seconds; and an answer that
    does not come `deadlines.SILENT` after the server's own limit is not waited for.

    Raises `Unavailable` or `Misconfigured`.
    """
    with translated():
        connection = Connection.connect(conninfo(dsn, application), autocommit=True)
        connection.answer_seconds = statement_seconds + deadlines.SILENT
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        limits = {
            "statement_timeout": milliseconds(statement_seconds),
            "lock_timeout": milliseconds(deadlines.LOCK),
            "idle_in_transaction_session_timeout": milliseconds(deadlines.IDLE),
            "timezone": "UTC",  # the first and the last hours that a datetime holds exist in UTC only
            "plan_cache_mode": "force_custom_plan",  # a plan made on an empty table would scan it when it is full
        }
        if connection.info.server_version >= WITH_TRANSACTION_TIMEOUT:
            limits["transaction_timeout"] = milliseconds(transaction_seconds)
        for name, limit in limits.items():
            connection.execute("select set_config(%s, %s, false)", (name, limit))
        return connection


def milliseconds(seconds: float) -> str:
    """As PostgreSQL's settings take it."""
    return f"{int(seconds * 1000)}ms"


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All that is read inside is of one moment, however long it takes. Raises our errors."""
    with translated():
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            connection.execute("set local statement_timeout = 0")
            yield


def refuse_old(connection: Connection) -> None:
    """Raises `Misconfigured` where the server is older than what the tests run on."""
    ((number, version),) = connection.execute(
        "select current_setting('server_version_num')::int, current_setting('server_version')"
    )
    if number // 10_000 < OLDEST:
        raise Misconfigured(f"PostgreSQL {version} is too old: orders needs {OLDEST} or later")


def verdict(error: Error) -> OrdersError:
    """Ours for psycopg's: `Unavailable`, `Misconfigured`, or `Rejected` where what was sent may be the cause.

    Texts hold PostgreSQL's code and the kind of error, never the server's detail: it quotes values.
    """
    if error.sqlstate is not None:
        return verdict_of_server(error, error.sqlstate)
    if said := refusal(str(error)):
        return Misconfigured(f"no connection to PostgreSQL: {said}")
    if isinstance(error, psycopg.DataError | psycopg.ProgrammingError | psycopg.NotSupportedError):
        return Rejected(f"{REFUSED_BY_DRIVER} ({type(error).__name__})")
    return Unavailable("PostgreSQL cannot be reached")


def verdict_of_server(error: Error, state: str) -> OrdersError:
    """The same where PostgreSQL itself says what it is."""
    what = f"SQLSTATE {state}, {type(error).__name__}"
    if state == UNIQUE_VIOLATION and (error.diag.constraint_name or "").startswith(ORDERS_KEY):
        return Collided(f"another transaction made the same order ({what})")
    if state.startswith(UNAVAILABLE) or error.diag.source_file == NOTICES:
        return Unavailable(f"PostgreSQL is unavailable or busy ({what})")
    if state == FORBIDDEN:
        return Forbidden(f"PostgreSQL denies permission ({what}): {error.diag.message_primary}; {GRANTS}")
    if state.startswith(SETUP):
        return Misconfigured(f"PostgreSQL is misconfigured ({what}): {error.diag.message_primary}")
    if state.startswith(DAMAGED):
        return Misconfigured(f"PostgreSQL reports an internal error ({what}): see its log")
    return Rejected(f"{REFUSED} ({what})")


@contextmanager
def translated() -> Iterator[None]:
    """Raises our errors for psycopg's; a value that cannot be encoded is `Rejected`."""
    try:
        yield
    except Error as error:
        raise verdict(error) from error
    except (UnicodeError, OverflowError) as error:
        raise Rejected(f"{UNSTORABLE} ({type(error).__name__})") from error
