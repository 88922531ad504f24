"""Indexes that are made beside the running system: how they are, and the one builder that makes them valid.

Each is a post file of `orders.postgres.migrations`. `create index concurrently` blocks neither reads nor writes, but
takes long, and waits for every transaction that was open when it began. What ends it leaves an invalid index, which
costs writes and helps nobody: it is dropped and built again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import structlog

from orders import threads
from orders.errors import Misconfigured, OrdersError
from orders.outages import Outage
from orders.postgres.connection import Connection, connect, queries, translated
from orders.postgres.migrations import MIGRATE, Migration, missing, prepare_history, record, shipped
from orders.settings import Settings
from orders.timing import backoff

log = structlog.get_logger()

State = Literal["valid", "building", "invalid", "missing"]

LOCK = 0x6F7264657274
"""Advisory lock of the one builder over all machines: "ordert" in ASCII."""
BUILD_SECONDS = 86_400.0
"""How long the answer to one statement may take. A machine that is gone is noticed by the kernel's time-outs."""
LOOK_SECONDS = 60.0
"""How often is looked whether all are valid: one that somebody drops is built again."""
RETRY_SECONDS = 600.0
"""The longest pause after one failed: each try reads the whole table, and a full disk is filled again by each."""
POLL_SECONDS = 2.0
"""The same while somebody else builds."""
SHOW_SECONDS = 0.5
"""How often a build is looked at that somebody waits for."""
JOIN_SECONDS = 1.0
APPLICATION, BUILDING = "indexes", "index "
"""What a builder's session is called, and while it builds, before the index: `index_states` knows it by this."""


class IndexState(NamedTuple):
    """How an index is; while it is built its phase, in PostgreSQL's words, and how far that is (`total` 0: unknown)."""

    name: str
    state: State
    phase: str = ""
    done: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """How far the phase is, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def post() -> Sequence[Migration]:
    """The post files of this release, in order."""
    return [migration for migration in shipped() if migration.phase == "post"]


def names() -> list[str]:
    """The indexes that this release ships so, in the order in which they are built."""
    return [migration.makes_index for migration in post()]


def states(connection: Connection, wanted: Sequence[str]) -> dict[str, IndexState]:
    """How these indexes are, by name. Raises our errors."""
    with translated():
        rows = connection.execute(queries["index_states"], {"names": list(wanted)}).fetchall()
    return {name: IndexState(name, *row) for name, *row in rows}


def connect_builder(dsn: str) -> Connection:
    """A connection whose statements take as long as they take. Raises `Unavailable` or `Misconfigured`.

    No lock times out either: after an hour of building one has to wait for somebody's old transaction, and would begin
    again. While a build waits for its lock of the table it keeps only VACUUM and its like waiting.
    """
    connection = connect(dsn, "indexes", statement_seconds=0)
    connection.answer_seconds = BUILD_SECONDS
    with translated():
        connection.execute("set lock_timeout = 0")
    return connection


def due(connection: Connection) -> list[Migration]:
    """The post files whose index is not valid, or not noted. Raises our errors."""
    with translated():
        unnoted = {migration.name for migration in missing(connection)}
        found = states(connection, names())
    return [each for each in post() if found[each.makes_index].state != "valid" or each.name in unnoted]


def claim(connection: Connection) -> bool:
    """Becomes the one builder of all machines until the connection is closed, or finds that there is one.

    It is asked for again and again: a session that waits in pg_advisory_lock holds a snapshot, and the build of the
    session that has the lock waits for that snapshot for ever. Nothing of a builder is in a transaction, for the same
    reason. Raises our errors; `Misconfigured` where the role does not own the tables.
    """
    if not owns_tables(connection):
        lacking = ", ".join(migration.makes_index for migration in due(connection))
        raise Misconfigured(f"the database lacks {lacking}, which this role may not build: {MIGRATE}")
    with translated():
        return connection.execute("select pg_try_advisory_lock(%s)", (LOCK,)).fetchone() == (True,)


def owns_tables(connection: Connection) -> bool:
    """Whether the role may build indexes. Raises our errors."""
    with translated():
        return connection.execute(queries["owns_tables"]).fetchone() == (True,)


def build(connection: Connection, begun: Callable[[str], None]) -> Iterator[str]:
    """Makes what is due valid, notes it and yields the files; `begun` is called with each index that is built.

    For who has claimed it. Raises our errors.
    """
    for migration in due(connection):
        if _make_valid(connection, migration, begun):
            _note(connection, migration)
            yield migration.name


def _make_valid(connection: Connection, migration: Migration, begun: Callable[[str], None]) -> bool:
    """False where somebody builds it by hand at this moment."""
    index = migration.makes_index
    state = states(connection, [index])[index].state
    if state in ("valid", "building"):
        return state == "valid"
    begun(index)
    with translated():
        _call(connection, f"{BUILDING}{index}")
        if state == "invalid":
            connection.execute(f"drop index concurrently {index}")
        connection.execute(migration.sql)
        _call(connection, APPLICATION)
    return True


def _note(connection: Connection, migration: Migration) -> None:
    """A lock of the history is not awaited for long: behind it wait all that only read it, as a start does."""
    with translated(), connection.transaction():
        connection.execute("set local lock_timeout = '3s'")
        prepare_history(connection)
        record(connection, migration)


def _call(connection: Connection, application: str) -> None:
    connection.execute("select set_config('application_name', %s, false)", (f"orders {application}",))


def build_all(dsn: str, show: Callable[[IndexState], None]) -> list[str]:
    """Builds all that is due, or waits until others have; gives the files. `show` hears how each build is meanwhile.

    What ends it, as Ctrl-C does, ends the build: the next one begins again. Raises our errors.
    """
    applied: list[str] = []
    with connect_builder(dsn) as connection, connect(dsn, "migrate") as watching:
        watch = Watch(watching, show)
        connection.meanwhile = watch.look
        while due(connection):
            if claim(connection):
                applied += build(connection, lambda _: None)
            watch.look()
            time.sleep(SHOW_SECONDS)
    return applied


class Watch:
    """Shows what is built, asked on a connection of its own: that of the builder is busy."""

    def __init__(self, connection: Connection, show: Callable[[IndexState], None]) -> None:
        self._connection = connection
        self._show = show
        self._looked = float("-inf")

    def look(self) -> None:
        """Shows it unless it was just shown."""
        if time.monotonic() - self._looked >= SHOW_SECONDS:
            self._looked = time.monotonic()
            for each in states(self._connection, names()).values():
                if each.state == "building":
                    self._show(each)


# ---- beside the keeper ----


class Builder:
    """Builds what is due, as long as the process lives; of several, on several machines, one does."""

    def __init__(self, connect: Callable[[], Connection], stopping: Callable[[], bool]) -> None:
        self._connect = connect
        self._stopping = stopping
        self._waits = backoff(1.0, RETRY_SECONDS)
        self._outage = Outage()

    def run(self) -> None:
        """Builds until `stopping`; outages, and what somebody has to correct, are waited out."""
        while not self._stopping():
            try:
                pause = self._look()
            except OrdersError as error:
                if self._outage.is_news(str(error)):
                    log.warning("indexes_wait", reason=str(error))
                pause = LOOK_SECONDS if isinstance(error, Misconfigured) else next(self._waits)
            self._idle(pause)

    def _look(self) -> float:
        """One turn; after how many seconds to take the next."""
        with self._connect() as connection:
            if due(connection) and claim(connection):
                for name in build(connection, self._begun):
                    log.info("index_built", migration=name)
            if due(connection):  # what failed here may fail there: that somebody else tries ends no pause
                return POLL_SECONDS
        self._waits = backoff(1.0, RETRY_SECONDS)
        if (seconds := self._outage.end()) is not None:
            log.info("indexes_continue", seconds=seconds)
        return LOOK_SECONDS

    def _begun(self, index: str) -> None:
        log.info("index_build_started", index=index)

    def _idle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and time.monotonic() < until:
            time.sleep(0.1)


@contextmanager
def building(settings: Settings, stopping: Callable[[], bool]) -> Iterator[None]:
    """Builds meanwhile, in a thread.

    A build that continues at the end is not awaited, nor cancelled: PostgreSQL finishes it, and the next one notes it.
    """
    builder = Builder(lambda: connect_builder(settings.postgres_dsn), stopping)
    thread = threads.start("indexes", builder.run)
    try:
        yield
    finally:
        thread.join(JOIN_SECONDS)
