"""What follows `orders resume`: whether an ingest reads the partitions, or they stop again."""

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from orders.commands.positions import INTERRUPTED, LOOK_SECONDS, PartitionProgress, StoredPositions
from orders.commands.resuming import Resumed, ResumeResult
from orders.errors import OrdersError
from orders.settings import Settings
from orders.timing import Clock, monotonic

STATEMENT_SECONDS = 10.0
IDLE_SECONDS = 15.0
"""How long no position may move before it is given up: an ingest looks at a stopped partition every second."""
NOBODY_SECONDS = 3.0
"""How long the group may be without a member until no ingest runs: one that was just restarted joins again."""
NOBODY = "no ingest runs: it is read once one is started"
SLOW = f"not read within {IDLE_SECONDS:g} s: see `orders status`"


class Watch:
    """Looks at PostgreSQL until each partition has an end to its story.

    `members` says how many ingests there are, None where that is not known; `window` is how many records the limit of
    dead letters looks at: one that has passed so many does not stop for those that it was resumed at.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[int, PartitionProgress]],
        members: Callable[[], int | None],
        window: int,
        *,
        clock: Clock = monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = read
        self._members = members
        self._window = window
        self._clock = clock
        self._sleep = sleep
        self._trouble = ""

    def goal(self, resumed: Resumed) -> int:
        """The position from which on a partition counts as read."""
        return min(resumed.end_offset, max(resumed.counted_from, resumed.to_offset) + self._window)

    def until_known(self, resumed: Sequence[Resumed], advance: Callable[[int], None]) -> list[Resumed]:
        """The partitions with what became of them; `advance` gets how many records were read. Ctrl-C ends it."""
        known = [self._judged(each, PartitionProgress(each.to_offset)) for each in resumed]
        try:
            return self._until_known(known, advance)
        except KeyboardInterrupt:
            return [replace(each, reason=INTERRUPTED) if each.state == "waiting" else each for each in known]

    def _until_known(self, known: list[Resumed], advance: Callable[[int], None]) -> list[Resumed]:
        idle_since, has_moved = self._clock(), False
        while any(each.state == "waiting" for each in known):
            places, before = self._look(), list(known)
            known[:] = [self._judged(each, places.get(each.partition)) for each in known]
            moved = sum(now.position - then.position for now, then in zip(known, before, strict=True))
            if moved:
                advance(moved)
                idle_since, has_moved = self._clock(), True
            elif reason := self._given_up(self._clock() - idle_since, has_moved=has_moved):
                return [replace(each, reason=reason) if each.state == "waiting" else each for each in known]
            self._sleep(LOOK_SECONDS)
        return known

    def _given_up(self, idle: float, *, has_moved: bool) -> str:
        """Why there is nothing more to wait for; empty where there is."""
        if not has_moved and idle >= NOBODY_SECONDS and self._members() == 0:
            return NOBODY
        return (self._trouble or SLOW) if idle > IDLE_SECONDS else ""

    def _look(self) -> Mapping[int, PartitionProgress]:
        try:
            places, self._trouble = self._read(), ""
        except OrdersError as error:
            self._trouble = str(error)
            return {}
        return places

    def _judged(self, resumed: Resumed, now: PartitionProgress | None) -> Resumed:
        """The same with what a look at it says; what was known before stays."""
        if now is None or resumed.state != "waiting":
            return resumed
        if now.stop is not None:
            return replace(resumed, state="stopped", position=now.offset, reason=now.stop)
        if resumed.to_offset >= resumed.end_offset:
            return replace(resumed, state="idle", position=now.offset)
        state = "reading" if now.offset >= self.goal(resumed) else "waiting"
        return replace(resumed, state=state, position=now.offset)


def watch(settings: Settings, done: ResumeResult) -> list[Resumed]:
    """Waits until each resumed partition is read or has stopped again, or neither comes; shows how far it is."""
    from orders.kafka.admin import Brokers  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.postgres.connection import connect  # noqa: PLC0415 - PostgreSQL, for this command alone
    from orders.system.progress_bar import CountingBar  # noqa: PLC0415 - slow to import, for this command alone

    positions = StoredPositions(
        lambda: connect(settings.postgres_dsn, "resume", statement_seconds=STATEMENT_SECONDS),
        settings.kafka_topic,
        done.topic_id,
    )
    brokers = Brokers(settings.kafka)
    looking = Watch(positions.read, lambda: brokers.members(settings.kafka_group), settings.dead_letter_window)
    total = sum(looking.goal(each) - each.to_offset for each in done.partitions)
    try:
        with CountingBar(total, text="reading") as bar:
            return looking.until_known(done.partitions, bar.advance)
    finally:
        positions.close()


# ---- what is shown ----


def text(watched: Sequence[Resumed], topic: str) -> str:
    """What became of each partition, a line each."""
    return "\n".join(f"{topic}/{each.partition} {_told(each)}" for each in watched)


def _told(each: Resumed) -> str:
    if each.state == "stopped":
        return f"stopped again at {each.position}: {each.reason}"
    if each.state == "idle":
        return f"has nothing to read: {each.position} is its end"
    if each.state == "reading" and each.position >= each.end_offset:
        return f"was read to its end, {each.position}"
    if each.state == "reading":
        return f"is being read: at {each.position} of {each.end_offset}"
    return f"waits at {each.position}: {each.reason}"
