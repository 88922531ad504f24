"""`orders send --wait`: waits until PostgreSQL's positions have passed the records that were sent, and sums up.

A position passes a record in the transaction that stores it or makes it a dead letter.
"""

import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from orders.commands.positions import INTERRUPTED, LOOK_SECONDS, PartitionProgress, StoredPositions
from orders.errors import Forbidden, OrdersError
from orders.timing import Clock, monotonic

if TYPE_CHECKING:
    from orders.postgres.connection import Connection

STATEMENT_SECONDS = 15.0
SKIPS_UNKNOWN = (
    "whether `orders resume --skip` left any of them out cannot be determined: the role lacks SELECT on resumes"
)


class Offsets:
    """Offsets of records in one partition, in the order in which the brokers gave them; neighbours take no room."""

    def __init__(self) -> None:
        self._begins, self._ends = array("q"), array("q")
        self._before = array("q")
        """How many there are below each begin."""
        self.count = 0
        self.is_ascending = True
        """False once one came below another: Kafka's log was truncated meanwhile. It is counted, and never passed."""

    def add(self, offset: int) -> None:
        """One more."""
        if self._ends and offset < self._ends[-1]:
            self.is_ascending = False
        elif self._ends and offset == self._ends[-1]:
            self._ends[-1] += 1
        else:
            self._begins.append(offset)
            self._ends.append(offset + 1)
            self._before.append(self.count)
        self.count += 1

    @property
    def first(self) -> int:
        """The lowest of them."""
        return self._begins[0]

    @property
    def end(self) -> int:
        """The offset behind the highest."""
        return self._ends[-1]

    def below(self, position: int) -> int:
        """How many are below an offset."""
        at = bisect_right(self._begins, position) - 1
        return 0 if at < 0 else self._before[at] + min(position, self._ends[at]) - self._begins[at]


class StoringResult(Struct, frozen=True):
    """What became of records that are in Kafka."""

    stored: Annotated[int, Meta(description="how many are stored")] = 0
    dead_letters: Annotated[int, Meta(description="how many became dead letters")] = 0
    skipped: Annotated[int, Meta(description="how many `orders resume --skip` left out")] = 0
    pending: Annotated[int, Meta(description="how many are not known to be stored")] = 0
    reasons: Annotated[list[str], Meta(description="why, and what else could not be found out")] = []

    @property
    def is_all(self) -> bool:
        """Whether each is an order in PostgreSQL."""
        return not (self.dead_letters or self.skipped or self.pending)


class Waiting:
    """Waits for the records of one `orders send`.

    `connect` opens PostgreSQL. `seconds` is how long to wait while no position of these partitions moves.
    """

    def __init__(
        self,
        connect: "Callable[[], Connection]",
        topic: str,
        topic_id: str,
        seconds: float,
        *,
        clock: Clock = monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._positions = StoredPositions(connect, topic, topic_id)
        self._topic = topic
        self._topic_id = topic_id
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._before: Mapping[int, PartitionProgress] = {}
        self._places: Mapping[int, PartitionProgress] = {}
        self._trouble = ""
        self._seen_stops = False

    def begin(self) -> None:
        """Before anything is sent: raises where PostgreSQL cannot be asked, and notes where partitions stand."""
        self._before = self._note(self._positions.read())

    def wait(self, sent: Mapping[int, Offsets], passed: Callable[[int], None]) -> StoringResult:
        """Until all are passed, none can be, or nothing moves; `passed` gets how many more are. Ctrl-C ends it."""
        try:
            reasons = self._until_passed(sent, passed)
        except KeyboardInterrupt:
            return self.interrupted(sent)
        return self._ended(sent, reasons)

    def interrupted(self, sent: Mapping[int, Offsets]) -> StoringResult:
        """What is stored by now, after Ctrl-C."""
        self._positions.close()  # a statement may be under way on it
        self._look()
        return self._ended(sent, [INTERRUPTED])

    def _ended(self, sent: Mapping[int, Offsets], reasons: list[str]) -> StoringResult:
        count = sum(each.count for each in sent.values())
        try:
            return self._sum_up(sent, count, reasons)
        except OrdersError as error:
            return StoringResult(pending=count, reasons=[*reasons, f"their outcomes are unknown: {error}"])
        finally:
            self._positions.close()

    def _until_passed(self, sent: Mapping[int, Offsets], passed: Callable[[int], None]) -> list[str]:
        """Why not all are passed; empty where they are."""
        moved_at, reported, seen = self._clock(), 0, self._places
        while True:
            self._look()
            below = sum(each.below(self._reached(partition, each)) for partition, each in sent.items())
            passed(below - reported)
            reported = below
            waits = [n for n, each in sent.items() if each.below(self._reached(n, each)) < each.count]
            if not waits:
                return []
            hopeless = {n: reason for n in waits if (reason := self._obstacle(n, sent[n]))}
            if len(hopeless) == len(waits):
                return list(dict.fromkeys(hopeless[n] for n in sorted(hopeless)))
            if any(self._places.get(n) != seen.get(n) for n in waits):
                moved_at, seen = self._clock(), self._places
            if self._clock() - moved_at > self._seconds:
                stalled = f"nothing was stored for {self._seconds:g} s: is an ingest running? See `orders status`"
                return [*dict.fromkeys(hopeless.values()), self._trouble or stalled]
            self._sleep(LOOK_SECONDS)

    def _reached(self, partition: int, sent: Offsets) -> int:
        """The position that counts: none where the brokers gave offsets that were read before."""
        place = self._places.get(partition)
        return 0 if place is None or self._is_shorter(partition, sent) else place.offset

    def _is_shorter(self, partition: int, sent: Offsets) -> bool:
        before = self._before.get(partition)
        return not sent.is_ascending or (before is not None and sent.first < before.offset)

    def _obstacle(self, partition: int, sent: Offsets) -> str:
        """Why waiting for a partition does not help; empty where it does."""
        place, name = self._places.get(partition), f"{self._topic}/{partition}"
        if self._is_shorter(partition, sent):
            return f"{name} was truncated: Kafka gave these records offsets that PostgreSQL has passed already"
        if place is not None and place.stop is not None:
            return f"{name} is stopped at offset {place.offset}: {place.stop}"
        return ""

    # -- PostgreSQL --

    def _look(self) -> None:
        """Reads the positions; an outage is waited out."""
        try:
            self._note(self._positions.read())
            self._trouble = ""
        except OrdersError as error:
            self._trouble = str(error)

    def _note(self, places: Mapping[int, PartitionProgress]) -> Mapping[int, PartitionProgress]:
        self._places = places
        self._seen_stops |= any(place.stop for place in places.values())
        return places

    def _sum_up(self, sent: Mapping[int, Offsets], count: int, reasons: list[str]) -> StoringResult:
        """What lies below the positions that were seen last is final."""
        passed = refused = skipped = 0
        skips, unknown = self._skips()
        for partition, offsets in sent.items():
            end = self._reached(partition, offsets)
            passed += offsets.below(end)
            refused += self._refused(partition, offsets, end)
            skipped += sum(
                offsets.below(min(b, end)) - offsets.below(min(a, end)) for p, a, b in skips if p == partition
            )
        if unknown and self._seen_stops:
            reasons = [*reasons, SKIPS_UNKNOWN]
        return StoringResult(passed - refused - skipped, refused, skipped, count - passed, reasons)

    def _refused(self, partition: int, sent: Offsets, end: int) -> int:
        """How many of them are dead letters."""
        from orders.postgres.connection import queries, translated  # noqa: PLC0415 - as above

        place = {"topic_id": self._topic_id, "partition": partition, "begin": sent.first, "end": min(end, sent.end)}
        with translated():
            rows = self._positions.connection.execute(queries["dead_letter_offsets"], place)
            return sum(sent.below(offset + 1) - sent.below(offset) for (offset,) in rows)

    def _skips(self) -> tuple[list[tuple[int, int, int]], bool]:
        """Offsets that nobody read, from and up to, by partition; and whether that cannot be determined."""
        from orders.postgres.connection import queries, translated  # noqa: PLC0415 - as above

        try:
            with translated():
                rows = self._positions.connection.execute(
                    queries["skips_to_verify"], {"topic_id": self._topic_id}
                ).fetchall()
        except Forbidden:
            return [], True
        return [(partition, begin, end) for partition, begin, end in rows], False
