"""Folds the records of a batch, in their order, over the rows they meet: what to write, and what became of each.

Pure: the caller brings the rows and draws the numbers. Conditions are decided here and only here.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orders.order import Content, Row
from orders.record import Condition, Entry, Invalid, Outcome, Record, Tombstone


class Origin(NamedTuple):
    """The record that a row came from."""

    topic_id: str
    partition: int
    offset: int
    time: int | None = None

    def covers(self, other: "Origin") -> bool:
        """Whether `other` is this record or one before it; records of two partitions have no order."""
        same = (self.topic_id, self.partition) == (other.topic_id, other.partition)
        return same and other.offset <= self.offset


class Known(NamedTuple):
    """A stored order as the transaction found and locked it."""

    row: Row
    id: int
    version: int
    origin: Origin


class State:
    """One order while the records of a batch pass over it."""

    def __init__(self, known: Known | None) -> None:
        self.known = known
        self.row = known.row if known else None
        self.text: bytes | None = None
        self.origin = known.origin if known else None
        self.changed = False
        self.renewed = known is None
        """Whether the order is a new one: never stored, or deleted in between; it gets a new id."""

    def take(self, content: Content | Tombstone, condition: Condition | None, origin: Origin) -> Outcome:
        """The outcome of one record, after it changed this state or not."""
        if self.origin is not None and self.origin.covers(origin):
            return "unchanged"
        row = content.row if isinstance(content, Content) else None
        if row == self.row:
            return "unchanged"
        if condition is not None and not self.meets(condition):
            return "conflict"
        outcome: Outcome = "deleted" if row is None else "created" if self.row is None else "replaced"
        self.renewed = self.renewed or row is None
        self.row, self.text, self.origin = row, getattr(content, "text", None), origin
        self.changed = True
        return outcome

    def meets(self, condition: Condition) -> bool:
        if condition.version is None:
            return self.row is None
        # A version that this batch is about to draw is known to nobody yet.
        return self.known is not None and not self.changed and self.known.version == condition.version


class Created(NamedTuple):
    """An order to be written under a new id."""

    row: Row
    text: bytes
    origin: Origin
    known: Known | None = None


class Replaced(NamedTuple):
    """A known order to be written anew under its id."""

    row: Row
    text: bytes
    origin: Origin
    known: Known


class Deleted(NamedTuple):
    """A known order to be taken away."""

    known: Known


class Decided(NamedTuple):
    """What became of one record; `order_uid` is None where the message told none."""

    record: Record
    outcome: Outcome
    order_uid: str | None
    invalid: Invalid | None = None


class Folded(NamedTuple):
    """Final states, one per uid, in the order in which the uids first appeared; and the records' outcomes.

    Of those, `decided` are all, `refused` dead letters to be, `replies` what somebody waits for.
    """

    writes: list[Created | Replaced]
    deletes: list[Deleted]
    refused: list[Decided]
    replies: list[Decided]
    decided: list[Decided]


def uid_of(entry: Entry) -> str | None:
    """The uid that an entry is about; None for an invalid message."""
    match entry.content:
        case Content(row=row):
            return row.order_uid
        case Tombstone(order_uid=order_uid):
            return order_uid
        case Invalid():
            return None


def uids_of(entries: Iterable[Entry]) -> list[str]:
    """Each uid once, sorted: the order in which rows are locked."""
    return sorted({uid for entry in entries if (uid := uid_of(entry)) is not None})


def fold(entries: Iterable[Entry], known: Mapping[str, Known], topic_id: str) -> Folded:
    """Folds entries over the stored orders they meet (`known`, by uid)."""
    states: dict[str, State] = {}
    decided = [decide(entry, states, known, topic_id) for entry in entries]
    replies = [d for entry, d in zip(entries, decided, strict=True) if entry.reply]
    refused = [d for d in decided if d.invalid is not None]
    final = [f for state in states.values() if (f := settle(state)) is not None]
    deletes = [f for f in final if isinstance(f, Deleted)]
    writes = [f for f in final if not isinstance(f, Deleted)]
    return Folded(writes, deletes, refused, replies, decided)


def decide(entry: Entry, states: dict[str, State], known: Mapping[str, Known], topic_id: str) -> Decided:
    record, content = entry.record, entry.content
    if isinstance(content, Invalid):
        return Decided(record, "refused", None, content)
    order_uid = content.order_uid if isinstance(content, Tombstone) else content.row.order_uid
    state = states.get(order_uid)
    if state is None:
        state = states[order_uid] = State(known.get(order_uid))
    origin = Origin(topic_id, record.partition, record.offset, record.time)
    return Decided(record, state.take(content, entry.condition, origin), order_uid)


def settle(state: State) -> Created | Replaced | Deleted | None:
    """What a batch leaves to be written of one order; None where nothing is."""
    if not state.changed:
        return None
    if state.row is None or state.text is None or state.origin is None:
        return Deleted(state.known) if state.known else None
    if state.known and not state.renewed:
        return Replaced(state.row, state.text, state.origin, state.known)
    return Created(state.row, state.text, state.origin, state.known)
