"""One transaction of the write path: its steps on PostgreSQL, each one statement or one COPY.

Errors leave as ours: `Unavailable`, `Misconfigured`, `Rejected`, or `PositionsMoved`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
import structlog

from orders.errors import Misconfigured, OrdersError, PositionsMoved, Unavailable
from orders.ingest.fold import Created, Decision, Folded, Known, Origin, Replaced, ReplayedDeadLetters
from orders.memory.notices import ChangedOrders, encode
from orders.order import Row
from orders.postgres.connection import Connection, connect, queries, translated
from orders.record import (
    SETTLING,
    Moved,
    Position,
    RecordCoordinates,
    RefusalWindow,
    Replay,
    Round,
    Span,
    Stop,
)

log = structlog.get_logger()

COPY_TYPES = (
    *["text"] * 14,
    *["int8", "int8", "text", "int8", "int8", "int8"],
    *["text"] * 6,  # items among them: json's binary form is its text
    *["int8", "timestamptz", "text", "text"],
    *["int8", "int8", "text", "int4", "int8", "timestamptz"],
)
"""Outcomes of a replay that settle its dead letter."""
NEWER = "the stored order is newer than the dead letter"
UNMET = "the condition that the message carries does not hold"
NOTICE_CHANGES = 40
"""Most changes in one payload: 40 uids of 128 characters stay under the limit."""
LONGEST_REASON = 1_000
MOMENTS = 1_000
"""Timestamps that are remembered: many records of a batch have the same."""
FIRST_MOMENT = datetime.min.replace(tzinfo=UTC).timestamp() * 1000
LAST_MOMENT = datetime.max.replace(tzinfo=UTC).timestamp() * 1000


class Numbered(NamedTuple):
    """An order to be written, with the numbers drawn for it."""

    write: Created | Replaced
    id: int
    version: int


class Deletion(NamedTuple):
    """An order to be deleted, with the version of its deletion."""

    order_uid: str
    version: int


class Plan(NamedTuple):
    """A folded batch with its numbers: all that its transaction writes."""

    writes: list[Numbered]
    gone: list[Deletion]
    refused: list[Decision]
    replies: list[Decision]
    replays: list[Decision]

    @property
    def changes(self) -> list[tuple[str, int]]:
        """Known orders that change or go, with their new versions."""
        changed = [(n.write.row.order_uid, n.version) for n in self.writes if n.write.known]
        return changed + [(g.order_uid, g.version) for g in self.gone]


def connect_writer(dsn: str, *, statement_seconds: float, transaction_seconds: float) -> Connection:
    """A connection for a `Store`; ends other writers of this login whose transactions outlast `transaction_seconds`.

    Their process was stopped, or a network went silent, where PostgreSQL has no time-out, as in the middle of a COPY:
    they would hold their partitions for ever. Raises `Unavailable` or `Misconfigured`.
    """
    connection = connect(dsn, "ingest", statement_seconds=statement_seconds, transaction_seconds=transaction_seconds)
    try:
        with translated():
            ended = connection.execute(queries["end_overdue"], {"seconds": transaction_seconds}).fetchall()
    except OrdersError:
        connection.close()
        raise
    for _ in ended:
        log.warning("overdue_writer_ended")
    return connection


class Store:
    """The write side of PostgreSQL for one topic: one connection, made when needed and dropped on any failure."""

    def __init__(self, connect: Callable[[], Connection], topic: str) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self.topic = topic

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        try:
            with translated():
                yield connection
        except BaseException as error:
            if connection.closed or isinstance(error, Unavailable | Misconfigured):
                self.close()  # a new one may lead to a server that took over
            raise

    @contextmanager
    def transaction(self, topic_id: str) -> Iterator["Transaction"]:
        """Begins a transaction; leaving the block commits it, an exception rolls it back."""
        with self._connected() as connection, connection.transaction():
            yield Transaction(connection, self.topic, topic_id)

    def positions(self) -> dict[tuple[str, int], Position]:
        """Positions by (topic id, partition), of every topic that ever had this topic's name."""
        with self._connected() as connection:
            rows = connection.execute(queries["places_of_topic"], {"topic": self.topic}).fetchall()
        return {
            (topic_id, partition): Position(offset, epoch, None if kind is None else Stop(kind, reason), below, new_for)
            for topic_id, partition, offset, epoch, kind, reason, below, new_for in rows
        }

    def begin(self, topic_id: str, starts: Mapping[int, int]) -> None:
        """Gives partitions their first positions, unless they have one; those that come after others are new."""
        partitions, offsets = list(starts), list(starts.values())
        begun = {"topic": self.topic, "topic_id": topic_id, "partitions": partitions, "offsets": offsets}
        with self._connected() as connection:
            connection.execute(queries["begin_positions"], begun)

    def open(self, topic_id: str, partition: int, planned: Round) -> bool:
        """Lets a new partition be read as planned; False while the older ones are not stored up to there.

        It is one statement: a server that takes over and has this has the positions that it rests on.
        """
        awaited = {"awaited": list(planned.awaited), "ends": list(planned.awaited.values())}
        wanted = {"topic_id": topic_id, "partition": partition, "end": planned.end, "is_last": planned.is_last}
        with self._connected() as connection:
            return connection.execute(queries["open_partition"], wanted | awaited).rowcount > 0

    def stop(self, topic_id: str, partition: int, position: int, stop: Stop) -> None:
        """Says for every ingest that a partition is not to be read on, as long as it stands at `position`."""
        with self._connected() as connection:
            connection.execute(queries["stop_partition"], (*stop, topic_id, partition, position))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Transaction:
    """The steps of one batch, in the order in which `Writer.commit` takes them."""

    def __init__(self, connection: Connection, topic: str, topic_id: str) -> None:
        self._connection = connection
        self._topic = topic
        self.topic_id = topic_id

    def lock(self, spans: Mapping[int, Span]) -> dict[int, RefusalWindow]:
        """Holds the partitions; raises `PositionsMoved` where one is stopped, or not where its span begins.

        So it does where a span ends beyond what may be read of a new partition.
        """
        wanted = {"topic_id": self.topic_id, "partitions": list(spans)}
        rows = self._connection.execute(queries["lock_positions"], wanted).fetchall()
        places = {partition: (offset, stopped) for partition, offset, stopped, *_ in rows}
        if places != {partition: (span.begin, False) for partition, span in spans.items()}:
            raise PositionsMoved("another ingest has written these records, or stopped their partition")
        if any(below is not None and spans[partition].end > below for partition, _, _, below, *_ in rows):
            raise PositionsMoved("what may be read of a new partition was set back")
        return {partition: RefusalWindow(*standing) for partition, _, _, _, *standing in rows}

    def known(self, uids: Sequence[str]) -> dict[str, Known]:
        """Stored orders among `uids`, locked."""
        known: dict[str, Known] = {}
        seen = self._connection.execute(queries["seen_uids"], {"uids": ",".join(uids)}).fetchall() if uids else []
        uids = [order_uid for (order_uid,) in seen]
        while uids:
            rows = self._connection.execute(queries["known_orders"], {"uids": uids}, binary=True).fetchall()
            known |= {order_uid: known_of(values) for order_uid, *values in rows if values[0] is not None}
            uids = [order_uid for order_uid, *values in rows if values[0] is None]
        return known

    def dead_letters(self, places: Sequence[RecordCoordinates], uids: Sequence[str]) -> ReplayedDeadLetters:
        """The dead letters among `places`; and of those that were replayed into the orders `uids` the origins."""
        topic_ids, partitions, offsets = (list(each) for each in zip(*places, strict=True))
        wanted = {"topic_ids": topic_ids, "partitions": partitions, "offsets": offsets, "uids": list(uids)}
        found = self._connection.execute(queries["dead_letters_at"], wanted).fetchall()
        replayed = self._connection.execute(queries["replayed_into"], wanted).fetchall()
        return ReplayedDeadLetters(
            frozenset(map(RecordCoordinates._make, found)),
            {order_uid: Origin(*origin) for order_uid, *origin in replayed},
        )

    def number(self, folded: Folded) -> Plan:
        """Draws the ids and versions that a folded batch needs."""
        fresh = sum(isinstance(w, Created) for w in folded.writes)
        ids = iter(self._draw("draw_ids", fresh))
        versions = iter(self._draw("draw_versions", len(folded.writes) + len(folded.deletes)))
        writes = [
            Numbered(w, next(ids) if isinstance(w, Created) else w.known.id, above(next(versions), w.known))
            for w in folded.writes
        ]
        gone = [Deletion(d.known.row.order_uid, above(next(versions), d.known)) for d in folded.deletes]
        return Plan(writes, gone, folded.refused, folded.replies, folded.replays)

    def _draw(self, query: str, count: int) -> list[int]:
        if not count:
            return []
        return [number for (number,) in self._connection.execute(queries[query], {"count": count}).fetchall()]

    def write(self, plan: Plan) -> None:
        """Orders, dead letters and outcomes of a plan."""
        if plan.changes:
            uids = [order_uid for order_uid, _ in plan.changes]
            self._connection.execute(queries["delete_orders"], {"uids": uids})
        with self._connection.cursor() as cursor:
            if plan.writes:
                self._copy(cursor, plan.writes)
            if plan.refused:
                cursor.executemany(queries["add_dead_letter"], map(self._dead_letter, plan.refused))
            if plan.replies:
                cursor.executemany(queries["add_outcome"], self._outcomes(plan))
            for decision in plan.replays:  # after the dead letters: one may be replayed in the batch in which it came
                if decision.replay:
                    cursor.execute(queries["add_replay_outcome"], self._replayed(decision, decision.replay))

    def _copy(self, cursor: psycopg.Cursor[Any], writes: Iterable[Numbered]) -> None:
        with cursor.copy(queries["copy_orders"]) as copy:
            copy.set_types(COPY_TYPES)
            for (row, _, origin, _), order_id, version in writes:
                copy.write_row((*row, order_id, version, *origin[:3], moment(origin.time)))

    def _dead_letter(self, decision: Decision) -> tuple[object, ...]:
        record = decision.record
        names = [storable(name) for name, _ in record.headers]
        values = [value for _, value in record.headers]
        note = "header names that are not UTF-8 were lost" if record.headers_lost else None
        place = (self._topic, self.topic_id, record.partition, record.offset, moment(record.time))
        return (*place, record.key, record.value, names, values, *why(decision), note)

    def _outcomes(self, plan: Plan) -> list[tuple[object, ...]]:
        versions = {n.write.row.order_uid: n.version for n in plan.writes} | dict(plan.gone)
        return [
            (
                *(self.topic_id, d.record.partition, d.record.offset, d.outcome),
                *(d.order_uid, versions.get(d.order_uid or "")),
                *((storable(d.invalid.reason), storable(d.invalid.path)) if d.invalid else (None, None)),
            )
            for d in plan.replies
        ]

    def _replayed(self, decision: Decision, replay: Replay) -> dict[str, object]:
        reason, path = why(decision)
        return {
            "dead_letter_topic_id": replay.topic_id,
            "dead_letter_partition": replay.partition,
            "dead_letter_offset": replay.offset,
            "attempt": replay.attempt,
            "forced": replay.forced,
            "state": "replayed" if decision.outcome in SETTLING else None,
            "outcome": decision.outcome,
            "reason": reason,
            "path": path,
            "topic_id": self.topic_id,
            "partition": decision.record.partition,
            "offset": decision.record.offset,
        }

    def check(self) -> None:
        """Checks now what a COMMIT would check: constraints that are deferred."""
        self._connection.execute("set constraints all immediate")

    def advance(self, moved: Mapping[int, Moved]) -> None:
        """Moves the partitions to where the batch leaves them.

        One plain statement, after all that `executemany` did: psycopg's pipeline ends with a message after which
        PostgreSQL does not watch for an idle transaction; a process that is stopped before this statement holds its
        locks until the whole transaction times out (PostgreSQL 17 and later).
        """
        offsets, epochs, refused = (list(column) for column in zip(*moved.values(), strict=True))
        moves = {"partitions": list(moved), "offsets": offsets, "epochs": epochs, "refused": refused}
        self._connection.execute(queries["advance_positions"], moves | {"topic_id": self.topic_id})

    def stop(self, moved: Mapping[int, Moved], stops: Mapping[int, Stop]) -> None:
        """Stops partitions where the batch leaves them."""
        for partition, stop in stops.items():
            place = (self.topic_id, partition, moved[partition].offset)
            self._connection.execute(queries["stop_partition"], (*stop, *place))

    def notify(self, source: str, changes: Sequence[tuple[str, int]]) -> None:
        """Notifies the keepers of other machines what changed; `source` names the memory that knows already."""
        for start in range(0, len(changes), NOTICE_CHANGES):
            notice = ChangedOrders(source, list(changes[start : start + NOTICE_CHANGES]))
            self._connection.execute(queries["notify_changes"], (encode(notice).decode(),))


@contextmanager
def undone() -> Iterator[None]:
    """Ends the transaction around it without a commit, and without an error."""
    yield
    raise psycopg.Rollback


def known_of(values: Sequence[Any]) -> Known:
    width = len(Row._fields)
    return Known(Row._make(values[:width]), values[width], values[width + 1], Origin(*values[width + 2 :]))


def why(decision: Decision) -> tuple[str, str]:
    """Reason and path of what a record did not do; empty where it did."""
    if decision.invalid:
        return storable(decision.invalid.reason), storable(decision.invalid.path)
    if decision.outcome == "conflict":
        return NEWER if decision.newer else UNMET, ""
    return "", ""


def above(drawn: int, known: Known | None) -> int:
    """A drawn version, raised above the one that the row has."""
    return max(drawn, known.version + 1) if known else drawn


@lru_cache(MOMENTS)
def moment(milliseconds: int | None) -> datetime | None:
    """A record's timestamp; None where it is none that a `datetime` holds."""
    if milliseconds is None or not FIRST_MOMENT <= milliseconds < LAST_MOMENT:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def storable(text: str) -> str:
    """Text that PostgreSQL takes: no U+0000, no lone surrogates, of bounded length."""
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()[:LONGEST_REASON]
