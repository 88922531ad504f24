"""One batch, one transaction, then memory: in `Writer.commit`, the order of the effects on one screen."""

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

from orders import deadlines, decoder, sample
from orders.errors import Collided, Misconfigured, OrdersError, PositionsMoved, Rejected, Unavailable
from orders.ingest.batcher import halves, with_content
from orders.ingest.counters import Counts
from orders.ingest.dead_letter_limit import Limit
from orders.ingest.fold import NO_DEAD_LETTERS, fold, places_of, uids_of
from orders.ingest.store import Plan, Store, undone
from orders.memory.shared import Change, Put
from orders.metrics.kinds import Values
from orders.metrics.table import private
from orders.order import Content, document
from orders.record import Batch, Entry, Invalid, Record
from orders.timing import Clock, monotonic

log = structlog.get_logger()

UNLIMITED = Limit(1, 0)


class SharedMemory(Protocol):
    """What the write path does to memory; the rule behind it is `memory`'s."""

    @property
    def identity(self) -> str: ...
    def fence(self, uids: Sequence[str], writer: int) -> None: ...
    def unfence(self, uids: Sequence[str], writer: int) -> None: ...
    def settle(self, changes: Sequence[Change], writer: int, as_of: float) -> None: ...
    def put(self, puts: Sequence[Put], as_of: float) -> int: ...
    def post(self, name: str, state: bytes) -> None: ...


def unobserved(_point: str) -> None:
    """Nobody watches the named points inside a batch; tests kill the process at them."""


class Doubt(NamedTuple):
    """A COMMIT that was sent at a time, without an answer: the orders that it fenced, its fence, and its partitions."""

    uids: Sequence[str]
    fence: int
    partitions: frozenset[int]
    sent_at: float


class Writer:
    """Writes batches of one topic, whole or, where PostgreSQL refuses one, down to the record to blame."""

    def __init__(
        self,
        store: Store,
        memory: SharedMemory,
        clock: Clock = monotonic,
        at: Callable[[str], None] = unobserved,
        *,
        limit: Limit = UNLIMITED,
        values: Values | None = None,
    ) -> None:
        self._store = store
        self._limit = limit
        self._memory = memory
        self._clock = clock
        self._at = at
        self._counts = Counts(values or private(), clock)
        self._doubt: Doubt | None = None

    def commit(self, batch: Batch, topic_id: str) -> None:
        """One batch, one transaction, then memory.

        Raises `Unavailable`, `Misconfigured`, `Rejected` or `PositionsMoved`; then nothing is written, or, where the
        reply to COMMIT was lost, all is, and the positions say so. Where a partition reached its limit of dead
        letters, all up to there is written and the partition stopped: `PositionsMoved` too.
        """
        fence, fenced = secrets.randbits(64), list[str]()
        sent_at = 0.0
        self._fence_doubt(batch)
        try:
            with self._counts.trying(), self._store.transaction(topic_id) as transaction:
                standings = transaction.lock(batch.spans)
                self._resolve_doubt(batch)
                batch, moved, stops = self._limit.check(batch, standings, self._store.topic)
                known = transaction.known(uids_of(batch.entries))
                replays = places_of(batch.entries)
                dead_letters = transaction.dead_letters(replays, list(known)) if replays else NO_DEAD_LETTERS
                folded = fold(batch.entries, known, topic_id, dead_letters)
                plan = transaction.number(folded)
                self._at("before copy")
                transaction.write(plan)
                transaction.advance(moved)
                transaction.stop(moved, stops)
                transaction.notify(self._memory.identity, plan.changes)
                self._at("after copy")
                fenced_at = self._clock()
                fenced = [order_uid for order_uid, _ in plan.changes]
                self._memory.fence(fenced, fence)
                self._at("before commit")
                if self._clock() - fenced_at > deadlines.FENCE:
                    raise Unavailable("this process was stopped for longer than its fences may stand")
                sent_at = self._clock()
        except OrdersError as error:
            if isinstance(error, PositionsMoved):
                self._resolve_doubt(batch)
            if fenced and sent_at:  # nobody knows what became of COMMIT: the fences stay
                self._doubt = Doubt(fenced, fence, frozenset(batch.spans), sent_at)
            elif fenced:
                self._memory.unfence(fenced, fence)
            raise
        self._at("after commit")
        self._fill(plan, fence, sent_at)
        self._counts.readable(plan)
        self._counts.committed(batch, folded.decisions)
        self._at("after fill")
        if stops:
            raise PositionsMoved("; ".join(stop.reason for stop in stops.values()))

    def _fence_doubt(self, batch: Batch) -> None:
        """Sets the fences again of a COMMIT that PostgreSQL may still be executing: they must not expire before it has.

        Where its partitions are another ingest's by now, nobody here learns what became of it: fences end after `LIFE`.
        """
        doubt = self._doubt
        if doubt and doubt.partitions.isdisjoint(batch.spans) and self._clock() - doubt.sent_at > deadlines.LIFE:
            self._doubt = None
        elif doubt:
            self._memory.fence(doubt.uids, doubt.fence)

    def _resolve_doubt(self, batch: Batch) -> None:
        """Once the lock of one of its partitions was had: the transaction that held it is over."""
        if self._doubt and not self._doubt.partitions.isdisjoint(batch.spans):
            self._doubt = None

    def _fill(self, plan: Plan, fence: int, as_of: float) -> None:
        puts = [Put(n.write.row.order_uid, n.version, document(n.id, n.write.text)) for n in plan.writes]
        changed = {order_uid for order_uid, _ in plan.changes}
        self._memory.put([put for put in puts if put.order_uid not in changed], as_of)
        changes = [Change(*put) for put in puts if put.order_uid in changed]
        changes += [Change(gone.order_uid, gone.version, None) for gone in plan.gone]
        if changes:
            self._memory.settle(changes, fence, as_of)

    def write(self, batch: Batch, topic_id: str) -> None:
        """Writes a batch; a record that PostgreSQL refuses becomes a dead letter, its neighbours are stored."""
        try:
            self.commit(batch, topic_id)
        except Rejected as first:
            log.info("batch_rejected", records=len(batch.entries), reason=str(first))
            self._try(batch, topic_id)

    def _try(self, batch: Batch, topic_id: str) -> None:
        try:
            return self.commit(batch, topic_id)  # two ingests that met on one uid need no more than this
        except Rejected as again:
            if len(batch.entries) <= 1:
                return self._blame(batch, topic_id, again)
        for half in halves(batch):
            self.write(half, topic_id)
        return None

    def _blame(self, batch: Batch, topic_id: str, reason: Rejected) -> None:
        """A record failed alone, twice: it is bad if a probe passes, else something is misconfigured."""
        if isinstance(reason, Collided):
            raise Unavailable(str(reason)) from reason
        if not batch.entries:
            raise Misconfigured(f"PostgreSQL does not take a position: {reason}") from reason
        entry = batch.entries[0]
        if isinstance(entry.content, Invalid):
            raise Misconfigured(f"PostgreSQL does not take a dead letter: {reason}") from reason
        self._probe(topic_id)
        refused = Entry(entry.record, Invalid(str(reason), fault="postgres"), reply=entry.reply, replay=entry.replay)
        self.write(with_content(batch, refused), topic_id)

    def _probe(self, topic_id: str) -> None:
        """Writes an order that is beyond doubt, and takes it back; raises `Misconfigured` if it cannot be."""
        entry = probe_entry()
        try:
            with self._store.transaction(topic_id) as transaction, undone():
                transaction.write(transaction.number(fold([entry], {}, topic_id)))
                transaction.check()
        except Rejected as error:
            raise Misconfigured(f"PostgreSQL takes no order at all: {error}") from error


def probe_entry() -> Entry:
    """An order that nobody has, as if it came from a record."""
    content = decoder.decode(next(iter(sample.samples(1, 0))))
    if not isinstance(content, Content):
        raise TypeError("the sample is not a valid order")
    row = content.row._replace(order_uid=f"probe~{secrets.token_hex(16)}")
    return Entry(Record(0, 0, None, None, None), Content(row, content.text))
