"""The rule for partitions that a topic gained: what was written before to its older partitions is stored first.

Kafka's producers place a key by how many partitions there are, so that a topic that grows moves orders: the next
record of an order lies in another partition than those before it, and Kafka keeps no order between two. A new partition
is read in rounds. First its end is noted, *then* the ends of the older partitions: what precedes a record below the
noted end lies below theirs. Once PostgreSQL has that, the new partition is read up to the noted end, and the next round
begins, for as long as a producer may still know the old number of partitions (`metadata.max.age.ms`, five minutes by
default). No partition waits for one with a higher number, so that nobody waits in a circle.

Kafka's client gives more than may be read: that is dropped, and has to come again. Until the client was sent back, the
partition counts as read up to where it was cut and no further, whatever PostgreSQL allows by then.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from orders.errors import Misconfigured
from orders.kafka.topic import TopicView
from orders.record import Position, Reached, Record, Round

log = structlog.get_logger()

Ends = Mapping[int, int]
"""The next offset by partition."""


class Opening(Protocol):
    """Where the rounds of new partitions are kept, PostgreSQL."""

    def open(self, topic_id: str, partition: int, planned: Round) -> bool: ...


class Growth:
    """The new partitions of one consumer: `limits` has the offset below which PostgreSQL lets each be read."""

    def __init__(self, view: TopicView, opening: Opening, seconds: float) -> None:
        self._view = view
        self._opening = opening
        self._seconds = seconds
        self.limits: dict[int, int] = {}
        self._cut: dict[int, int] = {}
        """The limit at which more was dropped, until the client was sent back: a step may end between the two."""
        self._rounds: dict[int, Round] = {}

    def place(self, found: Mapping[int, Position]) -> None:
        """Where partitions stand that are to be read."""
        self.limits = {n: limit for n, limit in self.limits.items() if n not in found} | limits_of(found)

    def forget(self, partitions: Iterable[int]) -> None:
        """Partitions are no longer ours."""
        for partition in partitions:
            self.limits.pop(partition, None)
            self._rounds.pop(partition, None)
            self._cut.pop(partition, None)

    @property
    def is_limiting(self) -> bool:
        """Whether of some partition not all that the client gives may be read."""
        return bool(self.limits or self._cut)

    def within(self, records: list[Record]) -> tuple[list[Record], set[int]]:
        """The records that may be read yet, and the partitions of those that may not."""
        beyond = {r.partition: limit for r in records if (limit := self._until(r.partition, r.offset + 1)) <= r.offset}
        self._cut |= beyond
        return [r for r in records if r.offset < beyond.get(r.partition, r.offset + 1)], set(beyond)

    def capped(self, partition: int, reached: Reached) -> Reached:
        """Up to where a partition was read of what may be read of it."""
        limit = self._until(partition, reached.offset)
        return reached if reached.offset <= limit else Reached(limit)

    def _until(self, partition: int, offset: int) -> int:
        """An offset, or the limit where that lies before it."""
        return min(offset, self.limits.get(partition, offset), self._cut.get(partition, offset))

    @property
    def to_send_back(self) -> set[int]:
        """The partitions that were cut and may be read further: the client has to be sent back there."""
        return {partition for partition, limit in self._cut.items() if self.limits.get(partition) != limit}

    def sent_back(self, partitions: Iterable[int]) -> None:
        """Kafka's client reads partitions from where they stand: what was cut comes again."""
        for partition in partitions:
            self._cut.pop(partition, None)

    def step(self, topic_id: str, ours: Mapping[int, Position], stored: Mapping[int, Position], ends: Ends) -> None:
        """Takes rounds as far as they come without waiting.

        `ends` are from before `stored`, which has all partitions. Raises `Unavailable` or `Misconfigured`, maybe after
        some of the rounds were opened.
        """
        self.limits = limits_of(ours)
        self._rounds = {n: planned for n, planned in self._rounds.items() if n in self.limits}
        self._plan(topic_id, ours, stored, ends)
        for partition, planned in list(self._rounds.items()):
            if self._opening.open(topic_id, partition, planned):
                self._open(partition, planned)

    def _plan(self, topic_id: str, ours: Mapping[int, Position], stored: Mapping[int, Position], ends: Ends) -> None:
        partitions = [n for n in due(ours, ends, self._seconds) if n not in self._rounds]
        if not partitions:
            return
        later = self._view.look("Read")  # after `ends`, or a record in between would be missed
        if later.topic_id != topic_id:
            return
        plans = {n: plan(n, ends, later.ends, stored, self._seconds) for n in partitions}
        self._rounds |= {n: planned for n, planned in plans.items() if planned}

    def _open(self, partition: int, planned: Round) -> None:
        del self._rounds[partition]
        self.limits[partition] = planned.end
        if planned.is_last:
            del self.limits[partition]
            log.info("partition_caught_up", partition=partition)

    def blocked(self, stored: Mapping[int, Position]) -> Misconfigured | None:
        """Which stopped partition a new one of ours waits for, if one does."""
        for partition, planned in self._rounds.items():
            for number, end in planned.awaited.items():
                if number in stored and (stop := stored[number].stop) and stored[number].offset < end:
                    topic = self._view.topic
                    waits = f"{topic}/{partition}, which is new, waits for {topic}/{number}, which is stopped"
                    return Misconfigured(f"{waits}: {stop.reason}")
        return None


def limits_of(positions: Mapping[int, Position]) -> dict[int, int]:
    """From which offset on new partitions are not read."""
    return {n: position.below for n, position in positions.items() if position.below is not None}


def due(stored: Mapping[int, Position], ends: Ends, seconds: float) -> list[int]:
    """The new partitions among `stored` that were read as far as they may be, and have a reason to be read on.

    There are more records, or `seconds` are over and its next round is the last.
    """
    return [
        partition
        for partition, position in sorted(stored.items())
        if position.below is not None
        and position.offset >= position.below
        and (ends.get(partition, 0) > position.below or is_over(position, seconds))
    ]


def is_over(position: Position, seconds: float) -> bool:
    """Whether every producer knows of a partition by now."""
    return position.new_for is not None and position.new_for >= seconds


def plan(partition: int, ends: Ends, later: Ends, stored: Mapping[int, Position], seconds: float) -> Round | None:
    """The next round of a new partition; `later` are ends that were asked for once those in `ends` were known.

    Kafka numbers partitions upwards, so that the older ones are those with lower numbers. Some of them may be as new:
    whether the topic grew once or twice before somebody looked cannot be known. None where one of them has no end.
    """
    older = [number for number in stored if number < partition]
    if partition not in ends or not later.keys() >= set(older):
        return None
    return Round(ends[partition], {number: later[number] for number in older}, is_over(stored[partition], seconds))
