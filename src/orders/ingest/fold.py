"""Folds the records of a batch, in their order, over the rows they meet: what to write, and what became of each.

Pure: the caller brings the rows and draws the numbers. Conditions are decided here and only here.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orders.order import Content, Row
from orders.record import Condition, Entry, Invalid, Outcome, Record, RecordCoordinates, Replay, Tombstone, uid_of


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

    def is_newer(self, other: "Origin") -> bool:
        """Whether this came after `other`: by offset in one partition, else by time; also where that is unknown."""
        if (self.topic_id, self.partition) == (other.topic_id, other.partition):
            return self.offset > other.offset
        return self.time is None or other.time is None or self.time > other.time


class Known(NamedTuple):
    """A stored order as the transaction found and locked it."""

    row: Row
    id: int
    version: int
    origin: Origin


class ReplayedDeadLetters(NamedTuple):
    """Dead letters that the replays of a batch have to do with.

    `places` are those of the dead letters that there are. `origins` are the origins of the dead letters that were
    replayed into the rows which the batch meets, by uid: such a row is no newer than its dead letter was.
    """

    places: frozenset[RecordCoordinates]
    origins: Mapping[str, Origin]


NO_DEAD_LETTERS = ReplayedDeadLetters(frozenset(), {})


class OrderState:
    """One order while the records of a batch pass over it."""

    def __init__(self, known: Known | None, replayed: Origin | None = None) -> None:
        self.known = known
        self.row = known.row if known else None
        self.text: bytes | None = None
        self.origin = known.origin if known else None
        self.content_origin = replayed or self.origin
        """The record that first had this content: that of the dead letter where the row's own is a replay."""
        self.changed = False
        self.renewed = known is None
        """Whether the order is a new one: never stored, or deleted in between; it gets a new id."""

    def take(
        self,
        content: Content | Tombstone,
        condition: Condition | None,
        origin: Origin,
        content_origin: Origin,
        *,
        newer: bool = False,
    ) -> Outcome:
        """The outcome of one record, after it changed this state or not."""
        if self.origin is not None and self.origin.covers(origin):
            return "unchanged"
        row = content.row if isinstance(content, Content) else None
        if row == self.row:
            return "unchanged"
        if newer or (condition is not None and not self.meets(condition)):
            return "conflict"
        outcome: Outcome = "deleted" if row is None else "created" if self.row is None else "replaced"
        self.renewed = self.renewed or row is None
        self.row, self.text, self.origin = row, getattr(content, "text", None), origin
        self.content_origin = content_origin
        self.changed = True
        return outcome

    def is_newer(self, replay: Replay) -> bool:
        """Whether the order stands against a replay. One that was deleted left no trace, and does not."""
        if replay.forced or self.row is None or self.content_origin is None:
            return False
        return self.content_origin.is_newer(origin_of(replay))

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
    """A known order to be written again under its id."""

    row: Row
    text: bytes
    origin: Origin
    known: Known


class Deleted(NamedTuple):
    """A known order to be taken away."""

    known: Known


class Decision(NamedTuple):
    """What became of one record; `order_uid` is None where the message had none.

    `replay` is the dead letter that it replays, None where there is no such dead letter. `newer`: the order was
    newer than that.
    """

    record: Record
    outcome: Outcome
    order_uid: str | None
    invalid: Invalid | None = None
    replay: Replay | None = None
    newer: bool = False


class Folded(NamedTuple):
    """Final states, one per uid, in the order in which the uids first appeared; and the records' outcomes.

    Of those, `decisions` are all, `refused` dead letters to be, `replies` what somebody waits for, `replays` what is to
    be recorded of dead letters. A dead letter that is refused again makes no second one.
    """

    writes: list[Created | Replaced]
    deletes: list[Deleted]
    refused: list[Decision]
    replies: list[Decision]
    decisions: list[Decision]
    replays: list[Decision]


def origin_of(replay: Replay) -> Origin:
    """The record that became the dead letter."""
    return Origin(replay.topic_id, replay.partition, replay.offset, replay.time)


def places_of(entries: Iterable[Entry]) -> list[RecordCoordinates]:
    """The dead letters that records say they replay."""
    return [entry.replay.place for entry in entries if entry.replay is not None]


def uids_of(entries: Iterable[Entry]) -> list[str]:
    """Each uid once, sorted: the order in which rows are locked."""
    return sorted({uid for entry in entries if (uid := uid_of(entry)) is not None})


def fold(
    entries: Iterable[Entry],
    known: Mapping[str, Known],
    topic_id: str,
    dead_letters: ReplayedDeadLetters = NO_DEAD_LETTERS,
) -> Folded:
    """Folds entries over the stored orders they meet (`known`, by uid)."""
    states = OrderStates(known, topic_id, dead_letters)
    decisions = [states.decide(entry) for entry in entries]
    replies = [d for entry, d in zip(entries, decisions, strict=True) if entry.reply]
    refused = [d for d in decisions if d.invalid is not None and d.replay is None]
    final = [f for state in states.by_uid.values() if (f := settle(state)) is not None]
    deletes = [f for f in final if isinstance(f, Deleted)]
    writes = [f for f in final if not isinstance(f, Deleted)]
    return Folded(writes, deletes, refused, replies, decisions, [d for d in decisions if d.replay is not None])


class OrderStates:
    """The orders and dead letters of a batch while its records pass over them."""

    def __init__(self, known: Mapping[str, Known], topic_id: str, dead_letters: ReplayedDeadLetters) -> None:
        self.by_uid: dict[str, OrderState] = {}
        self._known = known
        self._topic_id = topic_id
        self._places = set(dead_letters.places)
        self._origins = dead_letters.origins

    def decide(self, entry: Entry) -> Decision:
        """What becomes of the next record."""
        record, content, replay = entry.record, entry.content, entry.replay
        dead_letter = replay if replay is not None and replay.place in self._places else None
        if isinstance(content, Invalid):
            if dead_letter is None:
                self._places.add(RecordCoordinates(self._topic_id, record.partition, record.offset))
            return Decision(record, "refused", None, content, dead_letter)
        order_uid = content.order_uid if isinstance(content, Tombstone) else content.row.order_uid
        state = self._state(order_uid)
        origin = Origin(self._topic_id, record.partition, record.offset, record.time)
        newer = replay is not None and state.is_newer(replay)
        outcome = state.take(
            content, entry.condition, origin, origin_of(dead_letter) if dead_letter else origin, newer=newer
        )
        return Decision(record, outcome, order_uid, None, dead_letter, newer)

    def _state(self, order_uid: str) -> OrderState:
        state = self.by_uid.get(order_uid)
        if state is None:
            state = OrderState(self._known.get(order_uid), self._origins.get(order_uid))
            self.by_uid[order_uid] = state
        return state


def settle(state: OrderState) -> Created | Replaced | Deleted | None:
    """What a batch leaves to be written of one order; None where nothing is."""
    if not state.changed:
        return None
    if state.row is None or state.text is None or state.origin is None:
        return Deleted(state.known) if state.known else None
    if state.known and not state.renewed:
        return Replaced(state.row, state.text, state.origin, state.known)
    return Created(state.row, state.text, state.origin, state.known)
