"""Keeps one memory true and full: restores it from PostgreSQL, and drops what other machines replaced.

LISTEN needs a direct connection to PostgreSQL; through a transaction pool notices are lost.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
import structlog
from psycopg.types.string import ByteaBinaryLoader

from orders.errors import OrdersError
from orders.memory.notices import KEEPER, KeeperNotice, KeeperState, changed_orders, encode
from orders.memory.shared import Memory, Put
from orders.metrics.kinds import Values
from orders.metrics.table import NOTICES, RESTORED, RESTORES, Restored, private, shared
from orders.order import LONGEST_UID, is_uid
from orders.outages import Outage
from orders.postgres.connection import Connection, connect, queries, snapshot, translated
from orders.settings import Settings
from orders.timing import Clock, backoff, monotonic

log = structlog.get_logger()

CHANNEL = "orders_changed"
LISTEN_SECONDS = 1.0
"""How long it listens at most before it looks after memory, and whether it is to stop."""
PRUNE_SECONDS = 60.0
PRUNED_AT_ONCE = 10_000
HEARTBEAT_SECONDS = 5.0
STATEMENT_SECONDS = 15.0
RESTORE_CHUNK = 500
RESTORE_ANSWER_SECONDS = 120.0
"""How long the restore waits for its next rows; notices are heard meanwhile."""
SAMPLED = 200
"""How many of the newest orders give the mean size of a document."""
FILE_BYTES_PER_BYTE = 1.4
"""What a byte of document takes in the file at most, measured: how many orders fit is reckoned with it."""
STREAMED = 100
"""Rows that psycopg makes at once of what PostgreSQL sends: one at a time, as from COPY, took a microsecond each."""


class Keeper:
    """One session with PostgreSQL at a time: listen first, then restore, then follow; again when it is lost."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        memory: Memory,
        stopping: Callable[[], bool],
        clock: Clock = monotonic,
        *,
        listen_seconds: float = LISTEN_SECONDS,
        values: Values | None = None,
    ) -> None:
        self._connect = connect
        self._memory = memory
        self._stopping = stopping
        self._clock = clock
        self._listen_seconds = listen_seconds
        self._values = values or private()
        self._identity: str | None = None
        """Which database memory was true to, and how far: all notices up to there were heard."""
        self._read: str | None = None
        """The same as last read; its notices may still be on their way."""
        self._waits = backoff()
        self._outage = Outage(clock)
        self._restored = 0
        self._skipped = 0
        self._pruned_at = 0.0
        self._beat_at = 0.0

    def run(self) -> None:
        """Keeps memory until `stopping`; an outage of PostgreSQL is waited out, memory serves on."""
        while not self._stopping():
            try:
                with self._connect() as connection, translated():
                    self._session(connection)
            except OrdersError as error:
                if self._outage.is_news(str(error)):
                    log.warning("keeper_waits", reason=str(error))
                self._post("waiting", self._restored, reason=str(error))
                self._idle(next(self._waits))

    def _idle(self, seconds: float) -> None:
        until = self._clock() + seconds
        while not self._stopping() and self._clock() < until:
            with suppress(OrdersError):
                self._look_after()
            time.sleep(min(0.2, seconds))

    def _session(self, connection: Connection) -> None:
        connection.execute(f"listen {CHANNEL}")
        if self._identity is None:
            self._refill(connection, "start")
        elif self._identity != self._read_identity(connection):
            self._refill(connection, "database")
        while not self._stopping():
            self._follow(connection)
            if self._memory.restore_wanted():
                self._refill(connection, "emptied")

    # -- follow --

    def _follow(self, connection: Connection) -> None:
        """Some notices, and what has to be done now and then."""
        self._hear(connection, self._listen_seconds)
        self._look_after()
        now = self._clock()
        if now - self._beat_at >= HEARTBEAT_SECONDS:
            self._identity, self._read = self._read, self._read_identity(connection)
            connection.execute(queries["free_notices"])
            self._beat_at = now
            self._waits = backoff()
            self._post("ready", self._restored)
        if now - self._pruned_at >= PRUNE_SECONDS and self._prune(connection):
            self._pruned_at = now
        self._continue()

    def _continue(self) -> None:
        """PostgreSQL does what it is asked for."""
        if (seconds := self._outage.end()) is not None:
            log.info("keeper_continues", seconds=seconds)

    def _prune(self, connection: Connection) -> bool:
        """Whether all old outcomes are gone; a part at a time, so that nothing waits long."""
        return connection.execute(queries["prune_outcomes"], {"most": PRUNED_AT_ONCE}).rowcount < PRUNED_AT_ONCE

    def _hear(self, connection: Connection, seconds: float) -> None:
        for notice in connection.notifies(timeout=seconds):
            self._take(notice.payload)

    def _take(self, payload: str) -> None:
        self._values.add(NOTICES, None)
        try:
            changed = changed_orders(payload)
        except (msgspec.MsgspecError, RecursionError):
            # A later release may say it otherwise; what it changed is not known, so nothing of memory is.
            log.warning("notice_unreadable")
            return self._memory.empty()
        if changed.memory != self._memory.identity:
            self._memory.raise_minimum_versions(changed.changes)
        return None

    def _look_after(self) -> None:
        self._memory.clear_dead_readers()
        self._memory.sweep()

    def _read_identity(self, connection: Connection) -> str:
        row = connection.execute(queries["identity"]).fetchone()
        return str(row[0]) if row else ""

    # -- restore --

    def _refill(self, listening: Connection, cause: Restored) -> None:
        self._values.add(RESTORES, cause)
        self._restore(listening)

    def _restore(self, listening: Connection) -> None:
        """Empties memory and fills it from one snapshot, oldest order first, while all else continues."""
        started = self._clock()
        self._identity = self._read = self._read_identity(listening)  # before memory is emptied: never ahead of it
        token = self._memory.begin_restore()
        log.info("restore_begins")
        with self._connect() as reading:
            reading.answer_seconds = RESTORE_ANSWER_SECONDS
            reading.meanwhile = lambda: self._hear(listening, 0)
            with snapshot(reading):
                reading.execute(queries["rows_at_once"])
                restored = self._fill(listening, reading, token)
        if restored is None:
            return
        self._memory.end_restore(token)
        log.info("restore_done", orders=restored, skipped=self._skipped, seconds=round(self._clock() - started, 2))
        self._restored = restored
        self._post("ready", restored)

    def _fill(self, listening: Connection, reading: Connection, token: float) -> int | None:
        """How many orders were read; None where memory was emptied meanwhile, or the process is to stop."""
        first, total = self._begin(reading)
        restored = self._skipped = 0
        self._post("restoring", restored, total)
        for chunk in chunks(self._storable(rows_from(reading, first, self._skip))):
            if self._stopping() or not self._memory.restore(chunk, token):
                return None
            self._continue()
            self._hear(listening, 0)  # what other machines replaced meanwhile must not stand until the end
            restored += len(chunk)
            self._values.add(RESTORED, None, len(chunk))
            self._post("restoring", restored, max(total, restored))
        return restored

    def _storable(self, puts: Iterator[Put]) -> Iterator[Put]:
        """Those whose uid a GET can ask for."""
        for put in puts:
            if not is_uid(put.order_uid):
                self._skip(put.order_uid)
            else:
                yield put

    def _skip(self, order_uid: str) -> None:
        """A row that somebody wrote by hand is named and left out; all others are restored."""
        self._skipped += 1
        log.warning("order_skipped", order_uid=order_uid[:LONGEST_UID])

    def _begin(self, reading: Connection) -> tuple[int, int]:
        """The id where the budget begins, and about how many orders there are from it on."""
        newest = list(rows_from(reading, self._newest(reading, SAMPLED)))
        mean = sum(len(put.document) for put in newest) / max(len(newest), 1)
        fitting = int(self._memory.stats().budget / (max(mean, 1) * FILE_BYTES_PER_BYTE))
        if first := self._newest(reading, fitting):
            return first, fitting
        estimated = reading.execute(queries["estimate_orders"]).fetchone()
        return 0, estimated[0] if estimated else 0

    def _newest(self, reading: Connection, count: int) -> int:
        """The id from which on there are `count` orders; 0 where there are not so many."""
        found = reading.execute(queries["newest_id"], {"newer": count}).fetchone()
        return found[0] + 1 if found else 0

    def _post(self, state: KeeperState, restored: int, total: int | None = None, reason: str = "") -> None:
        total = restored if total is None else total
        self._memory.post(KEEPER, encode(KeeperNotice(state, self._clock(), restored, total, reason)))


def unheard(_order_uid: str) -> None:
    """For who does not ask which orders were skipped."""


def rows_from(connection: Connection, first: int, skip: Callable[[str], None] = unheard) -> Iterator[Put]:
    """Orders from an id on, as they are served; `skip` gets the uid of one that has no document.

    Only SQL by hand writes such a row.
    """
    while True:
        last = None
        try:
            for put in streamed(connection, first):
                last = put.order_uid
                yield put
        except psycopg.DataError:
            first = yield from up_to_unreadable(connection, first, last, skip)
        else:
            return


def streamed(connection: Connection, first: int) -> Iterator[Put]:
    """Orders from an id on; what fails leaves the transaction as it was."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.adapters.register_loader("text", ByteaBinaryLoader)  # documents as the bytes that come: they are UTF-8
        rows = cursor.stream(queries["documents_from"], {"id": first}, binary=True, size=STREAMED)
        with closing(cast("Generator[tuple[Any, ...]]", rows)):
            yield from map(Put._make, rows)


def up_to_unreadable(
    connection: Connection, first: int, last: str | None, skip: Callable[[str], None]
) -> Generator[Put, None, int]:
    """Orders after `last`, one by one up to the one that cannot be read: it is within what is streamed at once.

    Returns the id to continue from.
    """
    where = {"id": first, "uid": last, "limit": 2 * STREAMED}
    following = connection.execute(queries["orders_after"], where).fetchall()
    for order_uid, order_id in following:
        put = readable(connection, order_uid)
        if put is None:
            skip(order_uid)
            return int(order_id) + 1
        yield put
    return int(following[-1][1]) + 1


def readable(connection: Connection, order_uid: str) -> Put | None:
    """One order as it is served, or None where its document cannot be made."""
    try:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.adapters.register_loader("text", ByteaBinaryLoader)
            row = cursor.execute(queries["document_of"], {"uid": order_uid}).fetchone()
    except psycopg.DataError:
        return None
    return Put._make(row) if row else None


def chunks(puts: Iterator[Put]) -> Iterator[list[Put]]:
    while chunk := list(islice(puts, RESTORE_CHUNK)):
        yield chunk


def keep(settings: Settings, stopping: Callable[[], bool]) -> None:
    """Runs the keeper of one memory until `stopping`."""
    memory = Memory.open(Path(settings.memory_path))
    values = shared(Path(settings.memory_path))
    try:
        Keeper(
            lambda: connect(settings.postgres_dsn, "keep", statement_seconds=STATEMENT_SECONDS),
            memory,
            stopping,
            values=values,
        ).run()
    finally:
        memory.close()
