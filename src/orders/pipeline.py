"""The write path's loop and, in `Writer.commit`, the order of its effects on one screen."""

import json
import secrets
import socket
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from orders import deadlines, decoder, sample
from orders.batcher import Batcher, Cause, halves, with_content
from orders.counts import Counts
from orders.errors import Away, Collided, OrdersError, PositionsMoved, Rejected, SetupWrong
from orders.fold import NO_LETTERS, fold, places_of, uids_of
from orders.kafka import consumer as kafka
from orders.kafka.topic import TopicView
from orders.limit import Limit
from orders.memory.shared import Change, Memory, Put
from orders.metrics.kinds import Values
from orders.metrics.table import BATCH_RECORDS, BATCHES, CONSUMED, private, shared
from orders.order import Content, document
from orders.outages import Outage
from orders.record import Batch, Entry, Invalid, Reached, Record, Stop
from orders.settings import Settings
from orders.store import Plan, Store, connect_writer, undone
from orders.timing import Clock, backoff, monotonic

log = structlog.get_logger()

POLL_SECONDS = 0.5
WATCH_SECONDS = 1.0
CHECK_SECONDS = 5.0
GROWING_SECONDS = 0.25
"""How long a round of a new partition may be due: the records of one that waits for others wait for theirs too."""
UNLIMITED = Limit(1, 0)


class SharedMemory(Protocol):
    """What the write path does to memory; the rule behind it is `memory`'s."""

    @property
    def identity(self) -> str: ...
    def mark(self, uids: Sequence[str], writer: int) -> None: ...
    def unmark(self, uids: Sequence[str], writer: int) -> None: ...
    def settle(self, changes: Sequence[Change], writer: int, as_of: float) -> None: ...
    def put(self, puts: Sequence[Put], as_of: float) -> int: ...
    def post(self, name: str, state: bytes) -> None: ...


def unobserved(_point: str) -> None:
    """Nobody watches the named points inside a batch; tests kill the process at them."""


class Doubt(NamedTuple):
    """A COMMIT that was sent at a time, without an answer: the orders that it marked, its mark, and its partitions."""

    uids: Sequence[str]
    mark: int
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

        Raises `Away`, `SetupWrong`, `Rejected` or `PositionsMoved`; then nothing is written, or, where the
        reply to COMMIT was lost, all is, and the positions say so. Where a partition reached its limit of dead
        letters, all up to there is written and the partition stopped: `PositionsMoved` too.
        """
        mark, marked = secrets.randbits(64), list[str]()
        sent_at = 0.0
        self._mark_doubt(batch)
        try:
            with self._counts.trying(), self._store.transaction(topic_id) as transaction:
                standings = transaction.lock(batch.spans)
                self._resolve_doubt(batch)
                batch, moved, stops = self._limit.check(batch, standings, self._store.topic)
                known = transaction.known(uids_of(batch.entries))
                replays = places_of(batch.entries)
                letters = transaction.letters(replays, list(known)) if replays else NO_LETTERS
                folded = fold(batch.entries, known, topic_id, letters)
                plan = transaction.number(folded)
                self._at("before copy")
                transaction.write(plan)
                transaction.advance(moved)
                transaction.stop(moved, stops)
                transaction.notify(self._memory.identity, plan.changes)
                self._at("after copy")
                marked_at = self._clock()
                marked = [order_uid for order_uid, _ in plan.changes]
                self._memory.mark(marked, mark)
                self._at("before commit")
                if self._clock() - marked_at > deadlines.MARK:
                    raise Away("this process was stopped for longer than its marks may stand")
                sent_at = self._clock()
        except OrdersError as error:
            if isinstance(error, PositionsMoved):
                self._resolve_doubt(batch)
            if marked and sent_at:  # nobody knows what became of COMMIT: the marks stay
                self._doubt = Doubt(marked, mark, frozenset(batch.spans), sent_at)
            elif marked:
                self._memory.unmark(marked, mark)
            raise
        self._at("after commit")
        self._fill(plan, mark, sent_at)
        self._counts.readable(plan)
        self._counts.committed(batch, folded.decided)
        self._at("after fill")
        if stops:
            raise PositionsMoved("; ".join(stop.reason for stop in stops.values()))

    def _mark_doubt(self, batch: Batch) -> None:
        """Sets the marks again of a COMMIT that PostgreSQL may still be executing: they must not expire before it has.

        Where its partitions are another ingest's by now, nobody here learns what became of it: marks end after `LIFE`.
        """
        doubt = self._doubt
        if doubt and doubt.partitions.isdisjoint(batch.spans) and self._clock() - doubt.sent_at > deadlines.LIFE:
            self._doubt = None
        elif doubt:
            self._memory.mark(doubt.uids, doubt.mark)

    def _resolve_doubt(self, batch: Batch) -> None:
        """Once the lock of one of its partitions was had: the transaction that held it is over."""
        if self._doubt and not self._doubt.partitions.isdisjoint(batch.spans):
            self._doubt = None

    def _fill(self, plan: Plan, mark: int, as_of: float) -> None:
        puts = [Put(n.write.row.order_uid, n.version, document(n.id, n.write.text)) for n in plan.writes]
        changed = {order_uid for order_uid, _ in plan.changes}
        self._memory.put([put for put in puts if put.order_uid not in changed], as_of)
        changes = [Change(*put) for put in puts if put.order_uid in changed]
        changes += [Change(gone.order_uid, gone.version, None) for gone in plan.gone]
        if changes:
            self._memory.settle(changes, mark, as_of)

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
        """A record failed alone, twice: it is bad if a probe passes, else the set-up is wrong."""
        if isinstance(reason, Collided):
            raise Away(str(reason)) from reason
        if not batch.entries:
            raise SetupWrong(f"PostgreSQL does not take a position: {reason}") from reason
        entry = batch.entries[0]
        if isinstance(entry.content, Invalid):
            raise SetupWrong(f"PostgreSQL does not take a dead letter: {reason}") from reason
        self._probe(topic_id)
        refused = Entry(entry.record, Invalid(str(reason), fault="postgres"), reply=entry.reply, replay=entry.replay)
        self.write(with_content(batch, refused), topic_id)

    def _probe(self, topic_id: str) -> None:
        """Writes an order that is beyond doubt, and takes it back; raises `SetupWrong` if it cannot be."""
        entry = probe_entry()
        try:
            with self._store.transaction(topic_id) as transaction, undone():
                transaction.write(transaction.number(fold([entry], {}, topic_id)))
                transaction.check()
        except Rejected as error:
            raise SetupWrong(f"PostgreSQL takes no order at all: {error}") from error


def probe_entry() -> Entry:
    """An order that nobody has, as if it came from a record."""
    content = decoder.decode(next(iter(sample.samples(1, 0))))
    if not isinstance(content, Content):
        raise TypeError("the sample is no valid order")
    row = content.row._replace(order_uid=f"probe~{secrets.token_hex(16)}")
    return Entry(Record(0, 0, None, None, None), Content(row, content.text))


class Stream(Protocol):
    """What the loop asks of Kafka."""

    topic_id: str

    @property
    def trouble(self) -> OrdersError | None: ...
    @property
    def partitions(self) -> list[int]: ...
    @property
    def stops(self) -> Mapping[int, Stop]: ...
    @property
    def is_growing(self) -> bool: ...
    def poll(self, wait: float) -> list[Record]: ...
    def reached(self) -> Mapping[int, Reached]: ...
    def hold(self) -> None: ...
    def go_on(self, places: Mapping[int, int]) -> None: ...
    def check(self) -> None: ...
    def replace(self) -> None: ...
    def mirror(self, offsets: Mapping[int, int]) -> None: ...
    def close(self) -> None: ...


class Ingest:
    """The loop: poll, decode, batch, write; on an outage hold, keep polling, and try again."""

    def __init__(
        self,
        name: str,
        batcher: Batcher,
        writer: Writer,
        memory: SharedMemory,
        clock: Clock = monotonic,
        *,
        at: Callable[[str], None] = unobserved,
        values: Values | None = None,
        read: Callable[[Record], Entry] = decoder.read,
    ) -> None:
        self._name = name
        self._read = read
        self._batcher = batcher
        self._writer = writer
        self._memory = memory
        self._clock = clock
        self._at = at
        self._values = values or private()
        self._held: OrdersError | None = None
        self._outage = Outage(clock)
        self._waits = backoff()
        self._retry_at = 0.0
        self._watched_at = self._checked_at = clock()
        self.stream: Stream

    # -- the consumer's owner --

    def placed(self, partition: int, position: int) -> None:
        self._batcher.place(partition, position)

    def lost(self, partitions: Iterable[int]) -> None:
        self._batcher.forget(partitions)

    @property
    def begins(self) -> Mapping[int, int]:
        return self._batcher.begins

    # -- the loop --

    def run(self, stopping: Callable[[], bool]) -> None:
        """Consumes until `stopping`; then writes what it holds and leaves the group."""
        try:
            while not stopping():
                self.step()
            self._flush("stop")
        finally:
            self.stream.close()

    def step(self) -> None:
        """One turn: at most half a second of waiting, at most one batch."""
        records = self.stream.poll(self._patience())
        now = self._clock()
        self._values.add(CONSUMED, None, len(records))
        self._batcher.add(map(self._read, records), now)
        if not records and not self._held:
            self._batcher.pass_over(self.stream.reached(), now)
        if cause := self._cause(now, dry=not records):
            self._flush(cause)
        self._watch()

    def _cause(self, now: float, *, dry: bool) -> Cause | None:
        if self._held:
            return "retry" if now >= self._retry_at else None
        return self._batcher.due(now, dry=dry)

    def _patience(self) -> float:
        if self._held:
            return min(max(self._retry_at - self._clock(), 0.0), POLL_SECONDS)
        return POLL_SECONDS if self._batcher.is_empty else 0.0

    def _flush(self, cause: Cause) -> None:
        batch = self._batcher.batch()
        try:
            if batch:
                self._count(batch, cause)
                self._writer.write(batch, self.stream.topic_id)
        except PositionsMoved as moved:
            self.stream.replace()
            if not (batch and batch.spans.keys() & self.stream.stops.keys()):  # else the stop that is logged says why
                log.warning("positions_moved", reason=str(moved))
        except (Away, SetupWrong) as error:
            return self._hold(error)
        else:
            self._batcher.written()
            if batch:
                self._at("before mirror")
                self.stream.mirror({partition: span.end for partition, span in batch.spans.items()})
        return self._go_on()

    def _count(self, batch: Batch, cause: Cause) -> None:
        if batch.entries:
            self._values.add(BATCHES, cause)
            self._values.observe(BATCH_RECORDS, None, len(batch.entries))

    def _hold(self, error: OrdersError) -> None:
        if self._held is None:
            self.stream.hold()
        self._held = error
        self._note()
        self._retry_at = self._clock() + next(self._waits)

    def _go_on(self) -> None:
        if self._held is None:
            return
        self._held = None
        self._waits = backoff()
        self.stream.go_on(self._batcher.places)
        self._note()

    @property
    def _trouble(self) -> OrdersError | None:
        return self._held or self.stream.trouble

    def _note(self) -> None:
        """Logs what is in the way, and that nothing is any more; that a partition stopped is logged by its consumer."""
        trouble = self._trouble
        if trouble is None or any(str(trouble).startswith(stop.reason) for stop in self.stream.stops.values()):
            if (seconds := self._outage.end()) is not None:
                log.info("consumption_goes_on", seconds=seconds)
        elif self._outage.is_news(str(trouble)):
            log.warning("consumption_held", reason=str(trouble))

    def _watch(self) -> None:
        """Looks after the topic, and tells the other processes how this one is."""
        now = self._clock()
        every = WATCH_SECONDS if self.stream.trouble else CHECK_SECONDS
        every = GROWING_SECONDS if self.stream.is_growing else every
        if now - self._checked_at >= every:
            self.stream.check()
            self._checked_at = self._clock()
            self._note()  # only now: what a poll tells may be a stop, whose sentence a check finds
        if now - self._watched_at >= WATCH_SECONDS:
            self._watched_at = now
            self._post()

    def _post(self) -> None:
        trouble = self._trouble
        state = "running" if trouble is None else "stopped" if isinstance(trouble, SetupWrong) else "paused"
        notice = {
            "partitions": self.stream.partitions,
            "state": state,
            "reason": str(trouble or ""),
            "stopped": {partition: stop.kind for partition, stop in self.stream.stops.items()},
            "at": self._clock(),
        }
        self._memory.post(self._name, json.dumps(notice).encode())


def member_id(settings: Settings, number: int) -> str:
    """The same for the same ingest of the same machine and data directory, so that it gets its partitions back."""
    place = zlib.crc32(str(settings.data).encode())
    return f"orders-{socket.gethostname()}-{place:08x}-{number}"


def ingest(
    settings: Settings,
    number: int,
    stopping: Callable[[], bool],
    at: Callable[[str], None] = unobserved,
) -> None:
    """Runs ingest process `number` until `stopping`; the composition root of the write path."""
    memory = Memory.open(Path(settings.memory_path))
    values = shared(Path(settings.memory_path))
    limits = {"statement_seconds": deadlines.STATEMENT, "transaction_seconds": deadlines.TRANSACTION}
    store = Store(lambda: connect_writer(settings.postgres_dsn, **limits), settings.kafka_topic)
    batcher = Batcher(settings.batch_records, settings.batch_bytes, settings.batch_age)
    limit = Limit(settings.dead_letter_window, settings.dead_letter_percent)
    writer = Writer(store, memory, at=at, limit=limit, values=values)
    read = partial(decoder.read, nesting=settings.order_nesting)
    loop = Ingest(f"ingest:{number}", batcher, writer, memory, at=at, values=values, read=read)
    config = kafka.consumer_config(
        kafka=settings.kafka,
        group=settings.kafka_group,
        member=member_id(settings, number),
        protocol=settings.kafka_protocol,
        session_seconds=settings.kafka_session_timeout,
        queue_bytes=settings.kafka_queue_bytes,
    )
    view = TopicView(settings.kafka, settings.kafka_topic)
    loop.stream = kafka.OrderConsumer(config, view, store, loop, settings.kafka_growth_seconds)
    try:
        loop.run(stopping)
    finally:
        store.close()
        memory.close()
