"""Whether this process is ready for reading and for writing, from its parts, each with its reason.

Reading is ready while memory has its orders, or PostgreSQL can be asked for what memory lacks. Writing
is ready when all parts are well. Why they are two: docs/decisions/0029.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

import structlog
from msgspec.structs import replace

from orders import threads
from orders.errors import OrdersError
from orders.kafka.topic import TopicSnapshot
from orders.memory.notices import GONE_SECONDS, IngestNotice, KeeperNotice, read_board
from orders.outages import Outage
from orders.readiness import Lag, ReadinessPart, ReadinessParts, ReadinessReport, RestorePart
from orders.record import Positions
from orders.timing import Clock, in_time

log = structlog.get_logger()

T = TypeVar("T")
Purpose = Literal["reading", "writing"]

KAFKA_SECONDS = 1.0
"""How old the view of the topic may be."""
FOLLOW_SECONDS = 1.0
"""How often an outage is looked at that nobody asks about."""
KAFKA_ANSWER_SECONDS = 2.0
"""How long it is waited for; then Kafka counts as unavailable, and the next check may find what this one asked for."""

STOPPING = ReadinessPart(ok=False, reason="this process is stopping")
NO_KEEPER = f"no keeper has reported for {GONE_SECONDS:g} s"


class HealthSnapshot(NamedTuple):
    """The parts and what they were made from; None: that is unavailable."""

    parts: ReadinessParts
    positions: Positions | None
    view: TopicSnapshot | None
    ingests: Sequence[IngestNotice]


def never() -> bool:
    """A process that nobody stops."""
    return False


class Health:
    """Checks all parts; calls at the same time share one check. Once `stopping` it is not ready, whatever else is."""

    def __init__(
        self,
        positions: Callable[[], Awaitable[Positions]],
        topic: Callable[[float], Awaitable[TopicSnapshot]],
        board: Callable[[], Mapping[str, bytes]],
        restore_wanted: Callable[[], bool],
        *,
        ready_lag: int,
        clock: Clock,
        stopping: Callable[[], bool] = never,
    ) -> None:
        self._positions = positions
        self._topic = topic
        self._board = board
        self._restore_wanted = restore_wanted
        self._ready_lag = ready_lag
        self._clock = clock
        self._stopping = stopping
        self._checking: asyncio.Task[HealthSnapshot] | None = None
        self._following: asyncio.Task[None] | None = None
        self._outages = {name: Outage(clock) for name in ("PostgreSQL", "Kafka")}

    async def report(self, purpose: Purpose) -> ReadinessReport:
        """Whether it is ready for a purpose, and all parts as they are now."""
        return report_of((await self.look()).parts, purpose)

    async def look(self) -> HealthSnapshot:
        """The parts, with the figures behind them."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        look = await asyncio.shield(self._checking)
        # Asked again here: a check that began before the signal must not answer ready after it.
        return look._replace(parts=of_stopping(look.parts)) if self._stopping() else look

    def suspect(self) -> None:
        """Something was unavailable: looks until all is available again, for the log."""
        if not self._stopping() and (self._following is None or self._following.done()):
            self._following = threads.background("outage", self._follow())

    async def _follow(self) -> None:
        while not self._stopping():
            parts = (await self.look()).parts
            if parts.postgres.ok and parts.kafka.ok:
                return
            await asyncio.sleep(FOLLOW_SECONDS)

    def _note(self, name: str, part: ReadinessPart) -> None:
        """Logs what is unavailable, and that it is available again."""
        outage = self._outages[name]
        if part.ok:
            if (seconds := outage.end()) is not None:
                log.info("dependency_available", dependency=name, seconds=seconds)
        elif outage.is_news(part.reason):
            log.warning("dependency_unavailable", dependency=name, reason=part.reason)

    async def _check(self) -> HealthSnapshot:
        (postgres, positions), (kafka, view) = await asyncio.gather(
            tried(self._positions()), tried(in_time(self._topic(KAFKA_SECONDS), KAFKA_ANSWER_SECONDS, "Kafka"))
        )
        self._note("PostgreSQL", postgres)
        self._note("Kafka", kafka)
        if not (postgres.ok and kafka.ok):
            self.suspect()
        ingests, keeper = read_board(self._board, self._clock)
        memory, restored = held(self._restore_wanted), restore(keeper)
        if restored.ok and not memory.ok:  # emptied since the keeper reported
            restored = replace(restored, ok=False, reason=memory.reason)
        lagging = lag(view, positions, self._ready_lag)
        parts = ReadinessParts(postgres, kafka, assignment(ingests), lagging, memory, restored)
        return HealthSnapshot(parts, positions, view, ingests)


def report_of(parts: ReadinessParts, purpose: Purpose) -> ReadinessReport:
    """Whether these parts are ready for a purpose, and for each."""
    ready = readiness(parts)
    return ReadinessReport(ready[purpose], ready["reading"], ready["writing"], parts)


def readiness(parts: ReadinessParts) -> Mapping[Purpose, bool]:
    """Reading needs memory or PostgreSQL; writing needs every part."""
    return {
        "reading": parts.process.ok and (parts.memory.ok or parts.postgres.ok),
        "writing": all(getattr(parts, name).ok for name in parts.__struct_fields__),
    }


def of_stopping(parts: ReadinessParts) -> ReadinessParts:
    """The parts of a process that is to stop."""
    return replace(parts, process=STOPPING)


async def tried(question: Awaitable[T]) -> tuple[ReadinessPart, T | None]:
    """Whether a question was answered, and its answer."""
    try:
        return ReadinessPart(ok=True), await question
    except OrdersError as error:
        return ReadinessPart(ok=False, reason=str(error)), None


def assignment(ingests: Sequence[IngestNotice]) -> ReadinessPart:
    """Whether the ingests of this machine run and have partitions; other machines may have the others."""
    if not ingests:
        return ReadinessPart(ok=False, reason=f"no ingest has reported for {GONE_SECONDS:g} s")
    for ingest in ingests:
        if ingest.state != "running":
            return ReadinessPart(ok=False, reason=f"an ingest is {ingest.state}: {ingest.reason or 'no reason given'}")
    if not any(ingest.partitions for ingest in ingests):
        return ReadinessPart(ok=False, reason="no partition is assigned to an ingest of this machine")
    return ReadinessPart(ok=True)


def lag(view: TopicSnapshot | None, positions: Positions | None, most: int) -> Lag:
    """How far PostgreSQL is behind the topic."""
    if view is None or positions is None:
        return Lag(ok=False, reason="unknown while PostgreSQL or Kafka is unavailable")
    behind = sum(max(0, end - positions.get((view.topic_id, p), 0)) for p, end in view.ends.items())
    return Lag(ok=behind <= most, reason="" if behind <= most else f"more than {most} messages behind", messages=behind)


def held(restore_wanted: Callable[[], bool]) -> ReadinessPart:
    """Whether memory has the orders of its last restore, no matter who runs: it may answer without PostgreSQL."""
    try:
        wanted = restore_wanted()
    except OrdersError as error:
        return ReadinessPart(ok=False, reason=str(error))
    return ReadinessPart(ok=not wanted, reason="memory was emptied and is not restored yet" if wanted else "")


def restore(keeper: KeeperNotice | None) -> RestorePart:
    """Whether the keeper follows what changes, and memory has its orders back."""
    if keeper is None:
        return RestorePart(ok=False, reason=NO_KEEPER)
    reasons = {"ready": "", "restoring": "memory is being restored", "waiting": waits(keeper)}
    reason = reasons[keeper.state]
    return RestorePart(ok=not reason, reason=reason, done=keeper.restored, total=keeper.total)


def waits(keeper: KeeperNotice) -> str:
    """Why a keeper that waits does."""
    return f"the keeper waits: {keeper.reason}"
