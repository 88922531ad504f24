"""Connections that an event loop reads through: few, opened as they are needed, given up where no answer comes."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from orders import deadlines
from orders.errors import Busy, Rejected, Unavailable
from orders.postgres.connection import INTERVAL_SECONDS, conninfo, translated, verdict

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

CONNECT_SECONDS = 1.0
"""How long a read waits for a connection before PostgreSQL counts as unavailable."""
GIVE_UP_SECONDS = 2.0
"""After this the pool starts over: its own pauses between tries would grow with the outage."""

PooledConnection = psycopg.AsyncConnection[tuple[Any, ...]]
Rows = list[tuple[Any, ...]]


class QueryPool:
    """At most `connections` to PostgreSQL, each with a limit for its statements and `settings` of its session."""

    def __init__(
        self,
        dsn: str,
        application: str,
        connections: int,
        *,
        statement_seconds: float,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._seconds = statement_seconds
        self._settings = {
            "statement_timeout": f"{int(statement_seconds * 1000)}ms",
            "timezone": "UTC",
            **(settings or {}),
        }
        self._refused: psycopg.Error | None = None
        self._pool = AsyncConnectionPool(
            conninfo(dsn, application),
            connection_class=_noting(self._note, statement_seconds + deadlines.SILENT),
            min_size=1,
            max_size=connections,
            open=False,
            configure=self._configure,
            kwargs={"autocommit": True},
            reconnect_timeout=GIVE_UP_SECONDS,
            name=application,
        )

    async def open(self) -> None:
        """Starts; does not wait for PostgreSQL."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=1.0)

    async def rows(self, statement: LiteralString, values: Mapping[str, Any]) -> Rows:
        """What a statement returns. Raises `Unavailable`, `Misconfigured` or `Rejected`.

        Raises `Busy` where it took longer than it may.
        """
        with translated():
            try:
                return await self._ask(statement, values)
            except psycopg.errors.QueryCanceled as error:
                raise Busy(f"PostgreSQL did not answer within {self._seconds:g} s") from error
            except PoolTimeout as error:  # it only says that there is none; why, its last try to make one knows
                raise verdict(self._refused or error) from error

    async def _ask(self, statement: LiteralString, values: Mapping[str, Any]) -> Rows:
        """Asks again at once while all that is wrong is that the pool's connections have died unnoticed."""
        for _ in range(self._pool.max_size + 1):
            async with self._pool.connection(CONNECT_SECONDS) as connection:
                try:
                    cursor = await connection.execute(statement, values, binary=True)
                    return await cursor.fetchall()
                except psycopg.OperationalError:
                    if not connection.closed:
                        raise
        raise Unavailable("PostgreSQL cannot be reached")

    def _note(self, refused: psycopg.Error | None) -> None:
        self._refused = refused

    async def _configure(self, connection: PooledConnection) -> None:
        for name, value in self._settings.items():
            await connection.execute("select set_config(%s, %s, false)", (name, value))


def _noting(note: Callable[[psycopg.Error | None], None], answer_seconds: float) -> type[PooledConnection]:
    """Connections that report what each attempt to make one failed with, or None."""

    class Noting(psycopg.AsyncConnection[tuple[Any, ...]]):
        @classmethod
        async def connect(cls, conninfo: str = "", **given: Any) -> Self:
            try:
                made = await super().connect(conninfo, **given)
            except psycopg.Error as error:
                note(error)
                raise
            note(None)
            return made

        async def wait(
            self,
            gen: Generator[Any, Any, T],
            interval: float = INTERVAL_SECONDS,
            timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
        ) -> T:
            """Given up, and closed, where an answer does not come: else it would be one less for ever."""
            try:
                return await super().wait(gen, interval, timeout or answer_seconds)
            except psycopg.OperationalError as error:
                if error.sqlstate is None:
                    self.pgconn.finish()
                raise

    return Noting


async def each_apart(keys: list[K], ask: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> dict[K, V | Rejected]:
    """What is found of keys; a row that SQL by hand made unreadable stands alone, others are not refused with it."""
    try:
        return {**await ask(keys)}
    except Rejected as error:
        if len(keys) == 1:
            return {keys[0]: error}
    half = len(keys) // 2
    return await each_apart(keys[:half], ask) | await each_apart(keys[half:], ask)
