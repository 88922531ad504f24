"""Bugs that a write path may have, each planted into the real one: what the simulation must find.

Each is one that services of this kind do have, or that leaves out one of our own safeguards.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from orders import decoder
from orders.errors import OrdersError, PositionsMoved, Unavailable
from orders.ingest import fold
from orders.ingest.batcher import Batcher
from orders.ingest.fold import Folded
from orders.ingest.loop import Ingest
from orders.ingest.store import Plan, Store, Transaction
from orders.ingest.writer import Writer
from orders.kafka import growth
from orders.kafka.consumer import OrderConsumer
from orders.memory import coherence
from orders.memory.shared import Memory
from orders.order import Content
from orders.record import Batch, Entry, Invalid, Moved, Reached, Record, RefusalWindow, Round, Span, Tombstone
from support.simulation.actors import Door

Plant = Callable[[pytest.MonkeyPatch], None]


def nothing(*_: object) -> None:
    """In place of what is left out."""


def leave_out(owner: object, name: str) -> Plant:
    return lambda patch: patch.setattr(owner, name, nothing)


def always(owner: object, name: str, answer: object) -> Plant:
    return lambda patch: patch.setattr(owner, name, lambda *_: answer)


def positions_first(patch: pytest.MonkeyPatch) -> None:
    """The position is committed before the orders: whatever comes between loses them."""
    commit, lock, advance = Writer.commit, Transaction.lock, Transaction.advance

    def commit_twice(writer: Writer, batch: Batch, topic_id: str) -> None:
        with writer._store.transaction(topic_id) as transaction:
            lock(transaction, batch.spans)
            advance(transaction, {partition: Moved(span.end) for partition, span in batch.spans.items()})
        commit(writer, batch, topic_id)

    patch.setattr(Writer, "commit", commit_twice)
    patch.setattr(Transaction, "lock", lambda _transaction, spans: dict.fromkeys(spans, RefusalWindow()))
    patch.setattr(Transaction, "advance", nothing)


def in_two_transactions(patch: pytest.MonkeyPatch) -> None:
    """The position is committed after the orders, on its own."""
    advance = Transaction.advance

    def commit_and_advance(transaction: Transaction, moved: Mapping[int, Moved]) -> None:
        session: Any = transaction._connection
        session.commit_so_far()
        advance(transaction, moved)

    patch.setattr(Transaction, "advance", commit_and_advance)


def without_rows(patch: pytest.MonkeyPatch) -> None:
    """One order of a larger batch is left out."""
    write = Transaction.write

    def write_less(transaction: Transaction, plan: Plan) -> None:
        write(transaction, plan._replace(writes=plan.writes[: max(1, len(plan.writes) - 1)]))

    patch.setattr(Transaction, "write", write_less)


def without_dead_letters(patch: pytest.MonkeyPatch) -> None:
    """Invalid messages are skipped."""
    write = Transaction.write
    patch.setattr(Transaction, "write", lambda transaction, plan: write(transaction, plan._replace(refused=[])))


def refuse(writer: Writer, batch: Batch, topic_id: str) -> None:
    bad = tuple(Entry(entry.record, Invalid("batch failed"), reply=entry.reply) for entry in batch.entries)
    writer.commit(structs.replace(batch, entries=bad), topic_id)


def whole_batch_refused(patch: pytest.MonkeyPatch) -> None:
    """What PostgreSQL refuses once becomes dead letters, all of it."""
    patch.setattr(Writer, "_try", refuse)


def first_blamed(patch: pytest.MonkeyPatch) -> None:
    """The first record of a batch that fails is blamed, without a trial."""

    def blame(writer: Writer, batch: Batch, topic_id: str) -> None:
        good = [entry for entry in batch.entries if not isinstance(entry.content, Invalid)]
        if not good:
            raise Unavailable("nobody is left to blame")
        first = batch.entries.index(good[0])
        bad = Entry(good[0].record, Invalid("batch failed"), reply=good[0].reply)
        rest = batch.entries[first + 1 :]
        writer.write(structs.replace(batch, entries=(*batch.entries[:first], bad, *rest)), topic_id)

    patch.setattr(Writer, "_try", blame)


def outage_refused(patch: pytest.MonkeyPatch) -> None:
    """An outage is emptied into dead letters as soon as PostgreSQL answers again."""
    write = Writer.write

    def write_or_refuse(writer: Writer, batch: Batch, topic_id: str) -> None:
        try:
            write(writer, batch, topic_id)
        except Unavailable:
            refuse(writer, batch, topic_id)

    patch.setattr(Writer, "write", write_or_refuse)


def blamed_without_probe(patch: pytest.MonkeyPatch) -> None:
    """A misconfiguration that takes no order at all is taken for the records' fault."""
    patch.setattr(Writer, "_probe", nothing)


def memory_first(patch: pytest.MonkeyPatch) -> None:
    """Memory has the new bytes before COMMIT."""
    advance, commit, write = Transaction.advance, Writer.commit, Transaction.write
    writers: list[Writer] = []
    plans: list[Plan] = []

    def noted_commit(writer: Writer, batch: Batch, topic_id: str) -> None:
        writers.append(writer)
        try:
            commit(writer, batch, topic_id)
        finally:
            writers.pop()

    def noted_write(transaction: Transaction, plan: Plan) -> None:
        plans[:] = [plan]
        write(transaction, plan)

    def fill_and_advance(transaction: Transaction, moved: Mapping[int, Moved]) -> None:
        writers[-1]._fill(plans[0], 0, writers[-1]._clock())
        advance(transaction, moved)

    patch.setattr(Writer, "commit", noted_commit)
    patch.setattr(Transaction, "write", noted_write)
    patch.setattr(Transaction, "advance", fill_and_advance)


def unfenced_when_unknown(patch: pytest.MonkeyPatch) -> None:
    """A lost reply to COMMIT counts as a rollback."""
    fence, commit = Door.fence, Writer.commit
    fenced: dict[Writer, list[tuple[Sequence[str], int]]] = {}

    def noted_fence(door: Door, uids: Sequence[str], writer: int) -> None:
        fenced.setdefault(door, []).append((uids, writer))  # type: ignore[arg-type] # the door is as good a key
        fence(door, uids, writer)

    def commit_and_unfence(writer: Writer, batch: Batch, topic_id: str) -> None:
        try:
            commit(writer, batch, topic_id)
        except OrdersError:
            door: Any = writer._memory
            for uids, number in fenced.pop(door, []):
                door.unfence(uids, number)
            raise

    patch.setattr(Door, "fence", noted_fence)
    patch.setattr(Writer, "commit", commit_and_unfence)


def placed_by_the_group(patch: pytest.MonkeyPatch) -> None:
    """A partition continues from the offset that the group has."""
    look_at = OrderConsumer._find_positions

    def by_the_group(consumer: OrderConsumer, partitions: list[int]) -> dict[int, int]:
        client: Any = consumer._consumer
        return {n: client.offsets.get(n, offset) for n, offset in look_at(consumer, partitions).items()}

    patch.setattr(OrderConsumer, "_find_positions", by_the_group)


def resumed_without_seek(patch: pytest.MonkeyPatch) -> None:
    """After an outage the client continues by itself."""

    def resume(consumer: OrderConsumer, places: Mapping[int, int]) -> None:
        consumer._is_paused = False
        consumer._consumer.resume(consumer._named(places))

    patch.setattr(OrderConsumer, "resume", resume)


def locked_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Positions are locked, and nobody looks where they stand."""
    lock = Transaction.lock

    def lock_only(transaction: Transaction, spans: Mapping[int, Span]) -> dict[int, RefusalWindow]:
        try:
            return lock(transaction, spans)
        except PositionsMoved:
            return dict.fromkeys(spans, RefusalWindow())

    patch.setattr(Transaction, "lock", lock_only)


def taken_twice(patch: pytest.MonkeyPatch) -> None:
    """What comes twice is taken twice, unless it was written, and what an earlier assignment left too."""

    def add(batcher: Batcher, entries: Iterable[Entry], now: float) -> None:
        for entry in entries:
            if entry.record.offset >= batcher._begins.setdefault(entry.record.partition, entry.record.offset):
                batcher._oldest = batcher._oldest if batcher._entries else now
                batcher._entries.append(entry)
                batcher._ends[entry.record.partition] = entry.record.offset + 1

    patch.setattr(Batcher, "add", add)


def never_tried_again(patch: pytest.MonkeyPatch) -> None:
    """What failed once waits for a person."""
    cause = Ingest._cause
    patch.setattr(Ingest, "_cause", lambda loop, now, *, dry: None if loop._paused_by else cause(loop, now, dry=dry))


def covered_by_the_next(patch: pytest.MonkeyPatch) -> None:
    """A batch that failed is forgotten; the next commit passes over it."""
    patch.setattr(Ingest, "_pause", lambda loop, _error: loop._batcher._replace([]))


def notices_lost(patch: pytest.MonkeyPatch) -> None:
    """Other machines are not told what changed."""
    patch.setattr(Transaction, "notify", nothing)


def condition_ignored(patch: pytest.MonkeyPatch) -> None:
    """A POST replaces what is there."""
    patch.setattr(fold.OrderState, "meets", lambda _state, _condition: True)


def versions_moved(by: int) -> Plant:
    """A replaced order gets the version that it has and `by` more, not one that was drawn."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        number = Transaction.number

        def number_otherwise(transaction: Transaction, folded: Folded) -> Plan:
            plan = number(transaction, folded)
            known = [n.write.known for n in plan.writes]
            versions = [n.version if k is None else k.version + by for n, k in zip(plan.writes, known, strict=True)]
            writes = [n._replace(version=version) for n, version in zip(plan.writes, versions, strict=True)]
            return plan._replace(writes=writes)

        patch.setattr(Transaction, "number", number_otherwise)

    return plant


def dead_letters_apart(patch: pytest.MonkeyPatch) -> None:
    """Dead letters have a transaction of their own, before the orders'."""
    write = Transaction.write

    def write_apart(transaction: Transaction, plan: Plan) -> None:
        if not plan.refused:
            return write(transaction, plan)
        write(transaction, plan._replace(writes=[], gone=[], replies=[], replays=[]))
        session: Any = transaction._connection
        session.commit_so_far()
        return write(transaction, plan._replace(refused=[]))

    patch.setattr(Transaction, "write", write_apart)


def ended_by_what_is_no_order(patch: pytest.MonkeyPatch) -> None:
    """An invalid message is an error that nobody catches."""
    content_of = decoder._content_of

    def read(record: Record, nesting: int) -> Content | Tombstone | Invalid:
        content = content_of(record, nesting)
        if isinstance(content, Invalid):
            raise TypeError(content.reason)
        return content

    patch.setattr(decoder, "_content_of", read)


def ends_believed(patch: pytest.MonkeyPatch) -> None:
    """The end of a partition is taken for what was read of it."""

    def ends(consumer: OrderConsumer) -> dict[int, Reached]:
        with suppress(Unavailable):
            return {partition: Reached(end) for partition, end in consumer._view.look().ends.items()}
        return {}

    patch.setattr(OrderConsumer, "reached", ends)


def opened_at_once(patch: pytest.MonkeyPatch) -> None:
    """A new partition waits for nothing."""

    def plan(partition: int, ends: growth.Ends, *_: object) -> Round:
        return Round(ends[partition], {}, is_last=True)

    patch.setattr(growth, "plan", plan)


def opened_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A new partition is read once the older ones were read in this process, stored or not."""
    open_partition = Store.open

    def unchecked(store: Store, topic_id: str, partition: int, planned: Round) -> bool:
        return open_partition(store, topic_id, partition, planned._replace(awaited={}))

    patch.setattr(Store, "open", unchecked)


STORED, HEALED, SERVED, MOVED = "123458", "6", "9", "11"
"""Numbers of invariants: a row that is missing, or too much, breaks several of what is stored at the same time."""


class Planted(NamedTuple):
    """A bug; the invariants that show it, of which the schedule says which is met first; the first seed that does."""

    plant: Plant
    invariants: str
    seed: int


PLANTED: Mapping[str, Planted] = {
    "positions are committed before the orders": Planted(positions_first, STORED, 0),
    "an order of a batch is left out": Planted(without_rows, STORED, 0),
    "a failed batch is passed over by the next commit": Planted(covered_by_the_next, STORED + HEALED, 0),
    "after an outage the client continues without a seek": Planted(resumed_without_seek, STORED, 1),
    "orders and positions are committed in two transactions": Planted(in_two_transactions, "3", 0),
    "dead letters are committed before their batch": Planted(dead_letters_apart, "3", 0),
    "a replaced order keeps its version": Planted(versions_moved(0), "2", 0),
    "a replaced order has an older version": Planted(versions_moved(-1), "2", 0),
    "an outage stops writing and not reading": Planted(leave_out(OrderConsumer, "pause"), "7", 0),
    "an invalid message ends the process": Planted(ended_by_what_is_no_order, "10", 0),
    "invalid messages are skipped": Planted(without_dead_letters, STORED, 0),
    "a refused batch becomes dead letters": Planted(whole_batch_refused, STORED, 0),
    "the first record of a refused batch is blamed": Planted(first_blamed, STORED, 1),
    "an outage becomes dead letters": Planted(outage_refused, STORED, 0),
    "a record is blamed without a probe": Planted(blamed_without_probe, STORED, 52),
    "an ingest that idles does not look at its positions": Planted(
        always(OrderConsumer, "_is_in_place", answer=True), HEALED, 15
    ),
    "after moved positions nobody seeks": Planted(leave_out(OrderConsumer, "return_to_stored"), HEALED + "7", 4),
    "a partition continues from the group's offset": Planted(placed_by_the_group, HEALED, 0),
    "what failed is never tried again": Planted(never_tried_again, HEALED, 0),
    "positions are locked unchecked": Planted(locked_unchecked, STORED, 1),
    "the fold ignores where a row came from": Planted(always(fold.Origin, "covers", answer=False), STORED, 25),
    "a condition is ignored": Planted(condition_ignored, STORED, 0),
    "memory is filled before COMMIT": Planted(memory_first, SERVED, 0),
    "no fences are set": Planted(leave_out(Memory, "fence"), SERVED, 3),
    "a lost reply to COMMIT counts as a rollback": Planted(unfenced_when_unknown, SERVED, 9),
    "nothing stops a put below the minimum version": Planted(always(coherence, "minimum_version", 0), SERVED, 6),
    "what was read long ago is put": Planted(always(coherence, "is_fresh", answer=True), SERVED, 1),
    "what was read before an emptying is put": Planted(always(coherence, "is_since_emptying", answer=True), SERVED, 0),
    "other machines are not told": Planted(notices_lost, SERVED, 1),
    "lost partitions are written on": Planted(leave_out(Ingest, "lost"), STORED + HEALED + "7", 1),
    "what comes twice is taken twice": Planted(taken_twice, STORED, 0),
    "control records of transactions are never skipped": Planted(always(OrderConsumer, "reached", {}), HEALED, 0),
    "the end of a partition counts as read": Planted(ends_believed, STORED + HEALED, 1),
    "a new partition waits for nothing": Planted(opened_at_once, MOVED, 0),
    "a new partition waits for no commit of the older ones": Planted(opened_unchecked, MOVED, 0),
    "what may not be read yet counts as passed": Planted(
        lambda patch: patch.setattr(growth.Growth, "capped", lambda _, _partition, reached: reached), STORED + HEALED, 5
    ),
    "what was left of a new partition is never read": Planted(leave_out(OrderConsumer, "_let_in"), HEALED, 0),
}
"""By what is planted."""
