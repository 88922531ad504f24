"""What the records of one order in one partition make of it, and whether a row is what they say. Pure.

The rules are `fold`'s, seen from outside: a record of equal content changes nothing, so the place of a row is that of
the first record of the last run of equal ones; a condition is decided by what was stored when its record was read.
What was stored before the first record that Kafka still holds is not known: `firm`: it makes no difference.
"""

from collections.abc import Collection, Mapping
from struct import Struct
from typing import Any, Literal, NamedTuple

from orders.record import Condition

ABSENT = Condition(None)
UNDECIDED = Condition(0)
"""A condition that no version meets: what becomes of a replay is decided by what is stored."""
DELETED = bytes(16)
"""In place of a digest: there is no order."""

Verdict = Literal[
    "same",
    # differences
    "missing",
    "unsent",
    "deleted",
    "content",
    "origin",
    "refused",
    # what cannot be judged
    "retention",
    "gaps",
    "condition",
    "scattered",
    "ahead",
    "older topic",
]

_HISTORY = Struct(">iqq?????16s")
_STORED = Struct(">?iqq16s")


class Step(NamedTuple):
    """One record of an order; `keyed`: its key is the order's uid, so that Kafka keeps it in order with the others."""

    offset: int
    digest: bytes
    condition: Condition | None = None
    keyed: bool = True


class History(NamedTuple):
    """The order after its records in a partition, had it been absent before: `first` and `last` bound the run.

    firm         the content does not depend on what was stored before the first record
    vague        it depends on a condition that cannot be decided from the topic
    loose        it does not, but which record of the run made it so does
    conditional  some record had a condition
    keyed        every record had the uid as its key
    """

    partition: int
    first: int = -1
    last: int = -1
    firm: bool = False
    vague: bool = False
    loose: bool = False
    conditional: bool = False
    keyed: bool = True
    digest: bytes = DELETED

    def after(self, step: Step) -> "History":
        """With one more record."""
        keyed, conditional = self.keyed and step.keyed, self.conditional or step.condition is not None
        return self._replace(keyed=keyed, conditional=conditional, **self._change(step))

    def _change(self, step: Step) -> dict[str, Any]:
        if step.condition is None:
            return self._settled(step)
        if step.condition == ABSENT:
            return self._claimed(step)
        unchanged = step.digest == self.digest and self.firm and not self.vague
        return {"last": step.offset} if unchanged else {"vague": True}

    def _settled(self, step: Step) -> dict[str, Any]:
        """An order or a tombstone without a condition: whatever was there, this is what it is now."""
        same = step.digest == self.digest and self.first >= 0
        first = max(self.first, 0) if same or self.vague else step.offset
        loose = self.vague or (same and self.loose)
        run = {"first": first, "last": step.offset, "digest": step.digest}
        return run | {"firm": True, "vague": False, "loose": loose}

    def _claimed(self, step: Step) -> dict[str, Any]:
        """A record for an order that must be absent; a tombstone of that kind never changes anything."""
        if self.vague or step.digest == DELETED:
            return {}
        if step.digest == self.digest:
            return {"last": step.offset}
        if self.digest == DELETED:
            return {"first": step.offset, "last": step.offset, "digest": step.digest, "loose": False}
        return {}


class StoredRow(NamedTuple):
    """A row: the digest of its canonical text, and the place of the record that it came from.

    `ours`: that record was in this topic, not in an older one of its name.
    """

    ours: bool
    partition: int
    offset: int
    version: int
    digest: bytes


class Ground(NamedTuple):
    """What is known of a partition: Kafka holds `low` to `end`, PostgreSQL was at `position`.

    `whole`: there is a record at every offset between `low` and `position`.
    """

    low: int
    end: int
    position: int
    whole: bool = True


class TopicExtent(NamedTuple):
    """What is known of the topic; `foreign`: PostgreSQL has orders or positions of an older topic of its name."""

    grounds: Mapping[int, Ground]
    foreign: bool = False

    @property
    def begins(self) -> bool:
        """Whether all that ever was in the topic is still there, and nothing was stored before it."""
        return not self.foreign and all(ground.low == 0 and ground.whole for ground in self.grounds.values())


class Histories(NamedTuple):
    """All that the topic says of one order."""

    each: Collection[History]
    topic: TopicExtent

    @property
    def vague(self) -> bool:
        return any(history.vague for history in self.each)

    @property
    def alone(self) -> bool:
        """Its records are in one partition, and by their key they all are: Kafka keeps them in order."""
        return len(self.each) == 1 and all(history.keyed for history in self.each)

    @property
    def firm(self) -> bool:
        return self.alone and all(
            history.firm and not history.vague and not (history.conditional and self._is_worn) for history in self.each
        )

    @property
    def _is_worn(self) -> bool:
        """Whether records between those that are there may be gone."""
        return not all(self.topic.grounds[each.partition].whole for each in self.each)

    @property
    def open(self) -> bool:
        """Records that have no order among each other, of which some may be gone, or had a condition."""
        undecided = not self.topic.begins or any(history.conditional for history in self.each)
        return undecided and not self.alone

    def of(self, partition: int) -> History | None:
        return next((history for history in self.each if history.partition == partition), None)

    # -- without a row --

    def without(self) -> Verdict:
        """Whether there is rightly no row."""
        if any(history.digest == DELETED for history in self.each):
            return "same"
        if self.vague:
            return "condition"
        if self.open:
            return "scattered"
        return "gaps" if self._is_worn and not self.firm else "missing"

    # -- with one --

    def judge(self, row: StoredRow) -> Verdict:
        """Whether the row is what the records say."""
        if any(self._says(history, row) for history in self.each):
            return "same"
        return self._doubt(row) or self._difference(row)

    def _says(self, history: History, row: StoredRow) -> bool:
        if history.digest != row.digest:
            return False
        if self._is_gone(row):  # the order came again, and nothing changed
            return True
        if row.partition != history.partition:
            return False
        exact = self.alone and self.topic.begins and not history.loose
        return row.offset == history.first or (not exact and history.first <= row.offset <= history.last)

    def _is_gone(self, row: StoredRow) -> bool:
        """Whether the record of the row is no longer in the topic, and may have been."""
        ground = self.topic.grounds.get(row.partition)
        if not row.ours:
            return True
        if ground is None or row.offset < 0:
            return False
        history = self.of(row.partition)
        return row.offset < ground.low or (
            not ground.whole and row.offset < (history.first if history else ground.position)
        )

    def _doubt(self, row: StoredRow) -> Verdict | None:
        """Why a row may be right that none of the records says."""
        ground = self.topic.grounds.get(row.partition)
        if not row.ours:
            return None if self.firm else "older topic"
        if ground is None or row.offset < 0:
            return None
        if row.offset >= ground.position:
            return "ahead" if row.offset < ground.end else None
        return "condition" if self.vague else self._loss(row, ground)

    def _loss(self, row: StoredRow, ground: Ground) -> Verdict | None:
        """Which records may be gone that said it."""
        decided = self.firm and self.of(row.partition) is not None
        if row.offset < ground.low and not decided:
            return "retention"
        if (self._is_gone(row) or self._is_worn) and not decided:
            return "gaps"
        return "scattered" if self.open and self.each else None

    def _difference(self, row: StoredRow) -> Verdict:
        if not self.each:
            return "unsent"
        if any(history.digest == row.digest for history in self.each):
            return "origin"
        return "deleted" if all(history.digest == DELETED for history in self.each) else "content"


def pack(histories: Collection[History]) -> bytes:
    """Histories as bytes: one after the other."""
    return b"".join(_HISTORY.pack(*history) for history in histories)


def unpack(packed: bytes) -> list[History]:
    """The inverse of `pack`."""
    return [History._make(values) for values in _HISTORY.iter_unpack(packed)]


def pack_row(row: StoredRow) -> bytes:
    """A row as bytes."""
    return _STORED.pack(*row)


def unpack_row(packed: bytes) -> StoredRow:
    """The inverse of `pack_row`."""
    return StoredRow._make(_STORED.unpack(packed))
