"""PostgreSQL as ingest and keeper see it: their own statements, by name, on tables in this process.

Modelled: READ COMMITTED (a statement sees what is committed, and what its own transaction did), REPEATABLE READ for the
restore, row locks on positions and orders that are held until the end of a transaction, the key of `orders` and what
happens to two who insert the same, `on conflict do nothing`, COMMIT as one step that happens or does not, whether its
reply arrives or not, rollback when a session ends, the end of a session that idles in a transaction, notices that leave
with COMMIT to those who listen, sequences that never go back, a standby that lacks the last commits, one check
(`payment_amount <> 666`) that a valid order may break.

Not modelled: somebody who waits for a lock and gets it. Anyone who meets one is refused after the lock time-out, or the
holder's session has ended meanwhile (`contend`); to begin later is the third way, and happens by itself. Nor serving
during a failover by both servers, nor damage on disk, nor any statement that is not in `STATEMENTS`.

`tests/integration/test_simulated_postgres.py` runs one behaviour suite on this and on the real one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace, TracebackType
from typing import Any, NamedTuple, Self, cast

import psycopg
from psycopg import errors

from orders.order import Row, document, text
from orders.postgres.connection import ORDERS_KEY, Connection, queries

IDLE_SECONDS = 10.0
"""After so long in a transaction without a statement a session is ended, as `postgres.connect` asks for."""
WIDTH = len(Row._fields)
AMOUNT = Row._fields.index("payment_amount")
REFUSED_AMOUNT = 666

Place = tuple[str, int, int]
"""Topic id, partition, offset."""
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Stored:
    """A row of `orders`."""

    row: Row
    id: int
    version: int
    origin: Place
    time: int | None
    """Of its record, in milliseconds."""

    @cached_property
    def document(self) -> bytes:
        """What the view `documents` has of it."""
        return document(self.id, text(self.row))


class Beside(NamedTuple):
    """What stands in a row of `positions` beside the offset."""

    epoch: int | None = None
    refused: bytes = b""
    stop: str | None = None
    stop_reason: str | None = None
    below: int | None = None
    new_since: float | None = None


class Tables(NamedTuple):
    """What is committed. `reached` is no table: how far each partition ever came in the past of these tables."""

    orders: dict[str, Stored]
    positions: dict[tuple[str, int], int]
    beside: dict[tuple[str, int], Beside]
    dead_letters: dict[Place, tuple[Any, ...]]
    outcomes: dict[Place, tuple[Any, ...]]
    reached: dict[tuple[str, int], int]

    def copy(self) -> "Tables":
        return Tables(
            dict(self.orders),
            dict(self.positions),
            dict(self.beside),
            dict(self.dead_letters),
            dict(self.outcomes),
            dict(self.reached),
        )


class Past(NamedTuple):
    """The tables after a commit, and how far the sequences were."""

    tables: Tables
    sequences: dict[str, int]


class Killed(BaseException):
    """The sudden end of a process: no handler of ours catches it."""


class Server:
    """The committed tables, the sessions, and hooks through which a simulation interferes.

    `at(owner, point)` is called before each statement and around each COMMIT, and may raise; `contend(holder)` when a
    lock is met, and may end the holder's session; `committed()` after each COMMIT.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.tables = Tables({}, {}, {}, {}, {}, {})
        self.sequences = {"draw_ids": 0, "draw_versions": 0}
        self.past: list[Past] = []
        self.timeline = 1
        self.changes = 0
        """How often what is committed changed."""
        self.sessions: list[Session] = []
        self.is_read_only = False
        self.refuses_all = False
        self.at: Callable[[Session, str], None] = lambda _session, _point: None
        self.contend: Callable[[Session], None] = lambda _holder: None
        self.committed: Callable[[Sequence[str]], None] = lambda _notices: None
        self.connecting: Callable[[str], None] = lambda _owner: None

    def connect(self, owner: str) -> Connection:
        """A session, in the clothes of a psycopg connection."""
        self.connecting(owner)
        session = Session(self, owner)
        self.sessions.append(session)
        return cast("Connection", session)

    def commit(self, work: "Work") -> None:
        tables = self.tables.copy()
        for order_uid, stored in work.orders.items():
            if stored is None:
                tables.orders.pop(order_uid, None)
            else:
                tables.orders[order_uid] = stored
        tables.positions.update(work.positions)
        tables.beside.update(work.beside)
        tables.dead_letters.update(
            {place: row for place, row in work.dead_letters.items() if place not in tables.dead_letters}
        )
        tables.outcomes.update({place: row for place, row in work.outcomes.items() if place not in tables.outcomes})
        for place, position in work.positions.items():
            tables.reached[place] = max(position, tables.reached.get(place, 0))
        self.past.append(Past(self.tables, dict(self.sequences)))
        self.tables = tables
        self.changes += 1
        for session in self.sessions:
            if session.listening:
                session.notices.extend(work.notices)
        self.committed(work.notices)

    def end_sessions(self) -> None:
        """Every backend is gone, and with it every transaction."""
        for session in list(self.sessions):
            session.end()

    def fail_over(self, lost: int, ahead: int) -> None:
        """A standby takes over that lacks the last `lost` commits; its sequences may be some numbers ahead."""
        self.end_sessions()
        then = self.past[-lost]
        del self.past[-lost:]
        self.tables = then.tables
        self.sequences = {name: last + ahead for name, last in then.sequences.items()}
        self.timeline += 1
        self.changes += 1

    def is_locked(self, lock: object) -> bool:
        return any(session.work and lock in session.work.locks for session in self.sessions)

    def holder(self, lock: object, other_than: "Session") -> "Session | None":
        """Who holds a lock."""
        return next((s for s in self.sessions if s is not other_than and s.work and lock in s.work.locks), None)


class Work:
    """What a transaction has done so far, and the locks it holds."""

    def __init__(self) -> None:
        self.orders: dict[str, Stored | None] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.beside: dict[tuple[str, int], Beside] = {}
        self.dead_letters: dict[Place, tuple[Any, ...]] = {}
        self.outcomes: dict[Place, tuple[Any, ...]] = {}
        self.notices: list[str] = []
        self.locks: set[object] = set()


class SameOrderError(errors.UniqueViolation):
    """A second row under the key of `orders`."""

    @property
    def diag(self) -> Any:
        return SimpleNamespace(constraint_name=ORDERS_KEY, source_file=None)


class Answer:
    """A cursor after a query."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.rowcount = len(rows)

    def fetchall(self) -> Rows:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None


class Session:
    """One connection: psycopg's methods, as far as `store` and `keeper` call them."""

    def __init__(self, server: Server, owner: str) -> None:
        self.server = server
        self.owner = owner
        self.closed = False
        self.listening = False
        self.notices: deque[str] = deque()
        self.isolation_level: object = None
        self.work: Work | None = None
        self._last = server.clock()
        self.next_error: Exception | None = None
        """What the next statement ends with."""
        self._snapshot: Tables | None = None

    # -- the life of a session --

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        self.end()

    def end(self) -> None:
        """The server's side of it ends: what was not committed is undone."""
        self.work = None
        if self in self.server.sessions:
            self.server.sessions.remove(self)

    def lose_reply(self) -> None:
        """The connection breaks, and with it the reply that was on its way."""
        self.closed = True
        self.end()

    @property
    def is_alive(self) -> bool:
        idled = self.work is not None and self.server.clock() - self._last > IDLE_SECONDS
        if idled:
            self.end()
        return self in self.server.sessions

    def _enter(self, point: str) -> None:
        """Before anything is done: what happens meanwhile may end this session."""
        self.server.at(self, point)
        if not self.is_alive:
            self.closed = True
            raise errors.OperationalError("the connection is lost")
        self._last = self.server.clock()
        if self.next_error is not None:
            error, self.next_error = self.next_error, None
            raise error

    # -- transactions --

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.work is not None:  # a savepoint: nothing is written in one, so there is nothing to take back
            yield
            return
        self._enter("begin")
        self.work = Work()
        try:
            yield
        except psycopg.Rollback:
            self.work = None
        except Killed:
            raise  # nobody is left to roll back
        except BaseException:
            self.work = None
            raise
        else:
            self._commit()
        finally:
            self._snapshot = None

    def commit_so_far(self) -> None:
        """For a bug to be planted: a COMMIT in the middle of a transaction."""
        self.server.commit(self.working)
        self.work = Work()

    def _commit(self) -> None:
        self._enter("commit")
        work, self.work = self.work, None
        if work is not None:
            self.server.commit(work)
        self.server.at(self, "committed")
        if self.closed:
            raise errors.OperationalError("the reply to COMMIT is lost")

    # -- statements --

    def execute(self, query: str, parameters: Any = None, *, binary: bool = False) -> Answer:
        del binary
        name = NAMES.get(query, query.split(" ", maxsplit=1)[0])
        self._enter(name)
        rows = STATEMENTS[name](self, parameters)
        if self.work is not None and name in WRITES and self.server.is_read_only:
            raise errors.ReadOnlySqlTransaction
        return Answer(rows)

    @contextmanager
    def cursor(self) -> Iterator["Cursor"]:
        yield Cursor(self)

    def notifies(self, *, timeout: float) -> Iterator[SimpleNamespace]:
        """What was heard; a notice that is being worked on counts as not yet heard."""
        self._enter(f"notifies {timeout}")
        while self.notices:
            yield SimpleNamespace(payload=self.notices[0])
            self.notices.popleft()

    @property
    def seen(self) -> Tables:
        """What a statement sees of others' work."""
        if getattr(self.isolation_level, "name", "") != "REPEATABLE_READ" or self.work is None:
            return self.server.tables
        self._snapshot = self._snapshot or self.server.tables
        return self._snapshot

    def order(self, order_uid: str) -> Stored | None:
        own = self.work.orders if self.work else {}
        return own[order_uid] if order_uid in own else self.seen.orders.get(order_uid)

    def position(self, place: tuple[str, int]) -> int | None:
        own = self.work.positions if self.work else {}
        return own[place] if place in own else self.seen.positions.get(place)

    def beside(self, place: tuple[str, int]) -> Beside:
        own = self.work.beside if self.work else {}
        return own.get(place) or self.seen.beside.get(place, Beside())

    def lock(self, lock: object) -> None:
        """Takes a lock until the end of the transaction."""
        self.meet(lock)
        self.working.locks.add(lock)

    def meet(self, lock: object) -> None:
        """Needs a lock for one statement."""
        holder = self.server.holder(lock, self)
        if holder is not None:
            self.server.contend(holder)
            if holder.is_alive and holder.work:
                raise errors.LockNotAvailable

    @property
    def working(self) -> Work:
        if self.work is None:
            raise AssertionError("this statement needs a transaction")
        return self.work

    def insert_order(self, values: tuple[Any, ...]) -> None:
        row = Row._make(values[:WIDTH])
        order_id, version, *origin, at = values[WIDTH:]
        time = at and round(at.timestamp() * 1000)
        self.lock(("order", row.order_uid))
        if self.order(row.order_uid) is not None:
            raise SameOrderError
        if row[AMOUNT] == REFUSED_AMOUNT or self.server.refuses_all:
            raise errors.CheckViolation
        if self.server.is_read_only:
            raise errors.ReadOnlySqlTransaction
        self.working.orders[row.order_uid] = Stored(row, order_id, version, cast("Place", tuple(origin)), time)


class Copy:
    """A COPY that is being sent."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def set_types(self, types: Iterable[str]) -> None:
        del types

    def write_row(self, values: tuple[Any, ...]) -> None:
        self._session.insert_order(values)


class Cursor:
    """A cursor, for what is more than one query and its rows."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.adapters = SimpleNamespace(register_loader=lambda *_: None)

    @contextmanager
    def copy(self, query: str) -> Iterator[Copy]:
        self._session._enter(NAMES[query])
        yield Copy(self._session)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        for values in rows:
            self._session.execute(query, values)

    def stream(self, query: str, parameters: Any, *, binary: bool, size: int) -> Iterator[tuple[Any, ...]]:
        del binary, size
        for row in self._session.execute(query, parameters).fetchall():
            self._session._enter("stream")
            yield row


# -- the statements of sql/queries.sql --


def lock_positions(session: Session, asked: Mapping[str, Any]) -> Rows:
    places = [(asked["topic_id"], partition) for partition in sorted(asked["partitions"])]
    stored = [place for place in places if place in session.seen.positions]
    for place in stored:
        session.lock(place)
    return [(place[1], session.position(place), *standing(session.beside(place))) for place in stored]


def standing(beside: Beside) -> tuple[bool, int | None, bytes, int]:
    """Whether the partition is stopped, what may be read, what was refused lately, and from where that counts."""
    return beside.stop is not None, beside.below, beside.refused, 0


def seen_uids(session: Session, asked: Mapping[str, Any]) -> Rows:
    return [(order_uid,) for order_uid in sorted(asked["uids"].split(",")) if session.order(order_uid)]


def known_orders(session: Session, asked: Mapping[str, Any]) -> Rows:
    for order_uid in sorted(asked["uids"]):
        session.lock(("order", order_uid))
    found = [(order_uid, session.order(order_uid)) for order_uid in sorted(asked["uids"])]
    return [
        (uid, *stored.row, stored.id, stored.version, *stored.origin, stored.time) for uid, stored in found if stored
    ]


def draw(name: str) -> Callable[[Session, Mapping[str, Any]], Rows]:
    def drawn(session: Session, asked: Mapping[str, Any]) -> Rows:
        first = session.server.sequences[name] + 1
        session.server.sequences[name] += asked["count"]
        return [(first + number,) for number in range(asked["count"])]

    return drawn


def delete_orders(session: Session, asked: Mapping[str, Any]) -> Rows:
    for order_uid in asked["uids"]:
        session.lock(("order", order_uid))
        session.working.orders[order_uid] = None
    return []


def add_dead_letter(session: Session, values: Sequence[Any]) -> Rows:
    session.working.dead_letters.setdefault((values[1], values[2], values[3]), tuple(values))
    return []


def add_outcome(session: Session, values: Sequence[Any]) -> Rows:
    session.working.outcomes.setdefault((values[0], values[1], values[2]), tuple(values))
    return []


def advance_positions(session: Session, asked: Mapping[str, Any]) -> Rows:
    moves = zip(asked["partitions"], asked["offsets"], asked["epochs"], asked["refused"], strict=True)
    for partition, position, epoch, refused in moves:
        at = (asked["topic_id"], partition)
        session.lock(at)
        session.working.positions[at] = position
        session.working.beside[at] = session.beside(at)._replace(epoch=epoch, refused=refused)
    return []


def stop_partition(session: Session, values: Sequence[Any]) -> Rows:
    """Outside of a transaction it is one of its own."""
    stop, reason, topic_id, partition, position = values
    beside = session.beside((topic_id, partition))
    if session.position((topic_id, partition)) == position and beside.stop is None:
        work = session.work or Work()
        work.beside[topic_id, partition] = beside._replace(stop=stop, stop_reason=reason)
        if session.work is None:
            session.server.commit(work)
    return []


def notify_changes(session: Session, values: Sequence[Any]) -> Rows:
    session.working.notices.append(values[0])
    return []


def places_of_topic(session: Session, asked: Mapping[str, Any]) -> Rows:
    del asked
    found = ((place, position, session.beside(place)) for place, position in session.seen.positions.items())
    now = session.server.clock()
    return [
        (*place, position, each.epoch, each.stop, each.stop_reason, each.below, each.new_since and now - each.new_since)
        for place, position, each in found
    ]


def begin_positions(session: Session, asked: Mapping[str, Any]) -> Rows:
    if session.server.is_read_only:
        raise errors.ReadOnlySqlTransaction
    known, topic_id = session.server.tables.positions, asked["topic_id"]
    is_new = any(place[0] == topic_id for place in known)
    work = Work()
    for partition, position in zip(asked["partitions"], asked["offsets"], strict=True):
        if (topic_id, partition) not in known:
            work.positions[topic_id, partition] = position
            if is_new:
                work.beside[topic_id, partition] = Beside(below=position, new_since=session.server.clock())
    if work.positions:
        session.server.commit(work)
    return []


def open_partition(session: Session, asked: Mapping[str, Any]) -> Rows:
    if session.server.is_read_only:
        raise errors.ReadOnlySqlTransaction
    topic_id, tables = asked["topic_id"], session.server.tables
    place, end, is_last = (topic_id, asked["partition"]), asked["end"], asked["is_last"]
    session.meet(place)
    awaited = zip(asked["awaited"], asked["ends"], strict=True)
    beside = session.beside(place)
    if beside.below is None or (beside.below > end and not is_last):
        return []
    if any(tables.positions.get((topic_id, older), -1) < end for older, end in awaited):
        return []
    work = Work()
    work.beside[place] = beside._replace(below=None, new_since=None) if is_last else beside._replace(below=asked["end"])
    session.server.commit(work)
    return [()]


def newest_id(session: Session, asked: Mapping[str, Any]) -> Rows:
    ids = sorted((stored.id for stored in session.seen.orders.values()), reverse=True)
    return [(order_id,) for order_id in ids[asked["newer"] :][:1]]


def from_id(session: Session, asked: Mapping[str, Any]) -> list[tuple[str, Stored]]:
    found = [(uid, stored) for uid, stored in session.seen.orders.items() if stored.id >= asked["id"]]
    return sorted(found, key=lambda each: each[1].id)


def identity(session: Session, _asked: object) -> Rows:
    return [(f"1 {session.server.timeline} {sorted(session.seen.positions.items())}",)]


def listen(session: Session, _asked: object) -> Rows:
    session.listening = True
    return []


Statement = Callable[[Session, Any], Rows]

STATEMENTS: Mapping[str, Statement] = {
    "lock_positions": lock_positions,
    "seen_uids": seen_uids,
    "known_orders": known_orders,
    "draw_ids": draw("draw_ids"),
    "draw_versions": draw("draw_versions"),
    "delete_orders": delete_orders,
    "add_dead_letter": add_dead_letter,
    "add_outcome": add_outcome,
    "advance_positions": advance_positions,
    "notify_changes": notify_changes,
    "places_of_topic": places_of_topic,
    "stop_partition": stop_partition,
    "begin_positions": begin_positions,
    "open_partition": open_partition,
    "newest_id": newest_id,
    "estimate_orders": lambda session, _asked: [(len(session.seen.orders),)],
    "rows_at_once": lambda _session, _asked: [],
    "documents_from": lambda session, asked: [(u, s.version, s.document) for u, s in from_id(session, asked)],
    "identity": identity,
    "listen": listen,
    "free_notices": lambda _session, _asked: [(0.0,)],
    "prune_outcomes": lambda _session, _asked: [],
    "set": lambda _session, _asked: [],
}
WRITES = frozenset(
    {"lock_positions", "known_orders", "draw_ids", "draw_versions", "delete_orders", "add_dead_letter", "add_outcome"}
)
"""Statements that a server refuses which only reads; locking is one of them."""
NAMES: Mapping[str, str] = {query: name for name, query in queries.items()}
