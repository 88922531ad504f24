"""What was found: differences by kind, the first of them one by one, and what could not be judged. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace

DIFFERENCES: Mapping[str, str] = {
    "missing": "the topic has this order, PostgreSQL has not",
    "unsent": "PostgreSQL has this order, and no record of it is in the topic",
    "deleted": "the topic deletes this order, PostgreSQL has it",
    "content": "PostgreSQL has other content than the last record",
    "origin": "the content is right, but it does not come from the record at this place",
    "refused": "this order comes from a record that is a dead letter",
    "duplicate id": "several orders have this one's id",
    "duplicate version": "several orders have this one's version",
    "position beyond the end": "the position is beyond what Kafka holds: the log was truncated",
    "position before the start": "the position is before what Kafka holds: retention has passed it",
    "position elsewhere": "there is a position, but no such partition",
    "position lost": "all positions are of an older topic of this name: it was recreated",
    "dead letter missing": "the record is invalid, and no dead letter",
    "dead letter differs": "the dead letter is not what the record holds",
    "dead letter unsent": "there is a dead letter, and no such record",
    "memory unknown": "memory has this order, PostgreSQL has not",
    "memory version": "memory has another version than PostgreSQL",
    "memory content": "memory has the version, but not the bytes that PostgreSQL serves",
}
UNJUDGED: Mapping[str, str] = {
    "retention": "came from records that retention has removed",
    "gaps": "came from records that are missing between others, as after compaction",
    "condition": "depend on a record with a condition, or on one that was skipped",
    "replays": "are invalid replays of dead letters, of which no outcome was kept",
    "scattered": "have records in several partitions, or under other keys, of which not all can be determined",
    "ahead": "came from records beyond the position, which was set back",
    "skipped": "are invalid records that were skipped when consumption continued",
    "older topic": "came from an older topic of this name",
    "other rules": "are dead letters that this release would take: another release refused them",
}


class Difference(Struct, frozen=True, omit_defaults=True):
    """One difference, without any value of the order; a field that is None or empty is left out."""

    kind: Annotated[str, Meta(description="its [kind](operations.md#verification)")]
    order_uid: Annotated[str | None, Meta(description="the order")] = None
    partition: Annotated[int | None, Meta(description="the partition of its record or position")] = None
    offset: Annotated[int | None, Meta(description="the offset there")] = None
    fields: Annotated[tuple[str, ...], Meta(description="what differs, where that is known")] = ()


class Spread(Struct, frozen=True):
    """An order whose records lie in several partitions, between which Kafka keeps no order."""

    order_uid: Annotated[str, Meta(description="the order")]
    partitions: Annotated[tuple[int, ...], Meta(description="the partitions that have records of it")]


class Clue(NamedTuple):
    """Where to look for the fields of an order that differ: its record, and the version that its row had."""

    order_uid: str
    partition: int
    offset: int
    version: int


class Findings:
    """Counts all, and keeps the first `most` differences; `clues` are of those whose fields can be looked for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.shown: list[Difference] = []
        self.differences: Counter[str] = Counter()
        self.unjudged: Counter[str] = Counter()
        self.clues: list[Clue] = []
        self.spread_count = 0
        self.spread: list[Spread] = []

    def differ(
        self,
        kind: str,
        *,
        order_uid: str | None = None,
        place: tuple[int, int] | None = None,
        fields: tuple[str, ...] = (),
    ) -> None:
        """One difference; `place` is a partition and an offset."""
        self.differences[kind] += 1
        if len(self.shown) < self._most:
            partition, offset = place or (None, None)
            self.shown.append(Difference(kind, order_uid, partition, offset, fields))

    def leave(self, reason: str) -> None:
        """One thing that cannot be judged."""
        self.unjudged[reason] += 1

    def spreads(self, order_uid: str, partitions: tuple[int, ...]) -> None:
        """An order whose records lie in several partitions; the first are kept."""
        self.spread_count += 1
        if len(self.spread) < self._most:
            self.spread.append(Spread(order_uid, partitions))

    def name(self, order_uid: str, fields: tuple[str, ...]) -> None:
        """The fields in which the content of an order differs."""
        self.shown = [
            replace(each, fields=fields) if (each.kind, each.order_uid) == ("content", order_uid) else each
            for each in self.shown
        ]

    def take(self, verdict: str, *, order_uid: str, place: tuple[int, int] | None, clue: Clue | None = None) -> None:
        """What `history` says of an order."""
        if verdict == "content" and clue is not None and len(self.shown) < self._most:
            self.clues.append(clue)
        if verdict in UNJUDGED:
            self.leave(verdict)
        elif verdict != "same":
            self.differ(verdict, order_uid=order_uid, place=place)
