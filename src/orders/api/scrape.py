"""A scrape: what all processes counted, and what is asked for now. What is unknown is left out."""

import asyncio
import platform
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import get_args

from msgspec.structs import asdict

from orders import __version__
from orders.api.health import HealthSnapshot, readiness
from orders.api.request_metrics import SERVE_LAYOUT
from orders.errors import OrdersError, Unavailable
from orders.memory.notices import IngestNotice
from orders.memory.shared import Stats
from orders.metrics.exposition import Page, page
from orders.metrics.kinds import Gauge
from orders.metrics.table import (
    BUILD,
    INDEX_BUILD,
    INDEX_VALID,
    INGESTS,
    LAG_MESSAGES,
    LAG_SECONDS,
    LOG_END,
    MEMORY_LIMIT,
    MEMORY_ORDERS,
    MEMORY_RESTRICTIONS,
    MEMORY_USED,
    PARTITION_STOPPED,
    POSITION,
    READY,
    READY_FOR,
    RESTORE_DONE,
    RESTORE_EXPECTED,
    IngestState,
)
from orders.postgres.indexes import IndexState
from orders.readiness import ReadinessParts
from orders.timing import Clock, in_time

RECORD_SECONDS = 0.8
"""How long Kafka may take to give the first record of each partition that lags."""
INDEX_SECONDS = 5.0
"""How old the states of indexes may be."""

GaugeSamples = dict[Gauge, dict[tuple[str, ...], float]]


class Scrape:
    """Answers scrapes; those at the same time share one look.

    `totals` gives the cells of all processes, and is called in a thread. `times` blocks, and gives the timestamps of
    the records at the given offsets by partition, as far as it can within so many seconds. `indexes` asks PostgreSQL.
    """

    def __init__(
        self,
        totals: Callable[[], Sequence[float]],
        look: Callable[[], Awaitable[HealthSnapshot]],
        stats: Callable[[], Stats],
        times: Callable[[Mapping[int, int], float], Mapping[int, float]],
        indexes: Callable[[], Awaitable[Sequence[IndexState]]],
        *,
        wall: Clock = time.time,
    ) -> None:
        self._totals = totals
        self._look = look
        self._stats = stats
        self._times = times
        self._indexes = indexes
        self._wall = wall
        self._found: Sequence[IndexState] = ()
        self._found_at = float("-inf")
        self._sampling: asyncio.Task[GaugeSamples] | None = None

    async def page(self, accept: str) -> Page:
        """All metrics, in the format that is asked for.

        Raises `Unavailable` where the files of the processes are gone.
        """
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._sample())
        sampled = await asyncio.shield(self._sampling)
        return await asyncio.to_thread(self._write, sampled, accept)

    def _write(self, sampled: GaugeSamples, accept: str) -> Page:
        """Adds up and encodes: milliseconds for which the loop would answer nobody."""
        return page(SERVE_LAYOUT, self._totals(), sampled, accept)

    async def _sample(self) -> GaugeSamples:
        look = await self._look()
        samples = of_parts(look.parts) | of_ingests(look.ingests) | of_topic(look) | self._of_memory()
        if look.parts.postgres.ok:  # else the scrape would wait as long again
            samples |= of_indexes(await self._index_states())
        samples[LAG_SECONDS] = numbered(await self._ages(reached_of(look)))
        samples[BUILD] = {(__version__, platform.python_version()): 1.0}
        return samples

    async def _index_states(self) -> Sequence[IndexState]:
        """None where they cannot be had."""
        if not 0 <= self._wall() - self._found_at < INDEX_SECONDS:  # a clock may step
            try:
                self._found = await self._indexes()
            except OrdersError:
                self._found = ()
            self._found_at = self._wall()
        return self._found

    def _of_memory(self) -> GaugeSamples:
        try:
            stats = self._stats()
        except Unavailable:
            return {}
        gauges = (MEMORY_ORDERS, MEMORY_RESTRICTIONS, MEMORY_USED, MEMORY_LIMIT)
        return {gauge: {(): float(figure)} for gauge, figure in zip(gauges, stats, strict=True)}

    async def _ages(self, reached: Mapping[int, tuple[int, int]]) -> Mapping[int, float]:
        """Seconds that the first record beyond each position has waited; 0 where there is none."""
        lagging = {partition: place for partition, (place, end) in reached.items() if place < end}
        times = await self._read_times(lagging) if lagging else {}
        now = self._wall()
        waited = {partition: max(0.0, now - time) for partition, time in times.items()}
        return dict.fromkeys(reached.keys() - lagging.keys(), 0.0) | waited

    async def _read_times(self, places: Mapping[int, int]) -> Mapping[int, float]:
        reading = asyncio.to_thread(self._times, places, RECORD_SECONDS)
        try:
            return await in_time(reading, RECORD_SECONDS + 0.2, "Kafka")
        except Unavailable:
            return {}


def of_parts(parts: ReadinessParts) -> GaugeSamples:
    """What /readyz says, in figures."""
    return {
        READY: {(name,): float(part.ok) for name, part in asdict(parts).items()},
        READY_FOR: {(purpose,): float(ready) for purpose, ready in readiness(parts).items()},
        RESTORE_DONE: {(): float(parts.restore.done)},
        RESTORE_EXPECTED: {(): float(parts.restore.total)},
    }


def of_ingests(ingests: Sequence[IngestNotice]) -> GaugeSamples:
    """How many are in each state, 0 of each without any; and the partitions that they may not read on."""
    states = Counter(each.state for each in ingests)
    stopped = sorted(item for each in ingests for item in each.stopped.items())
    return {
        INGESTS: {(state,): float(states[state]) for state in get_args(IngestState)},
        PARTITION_STOPPED: {(str(partition), kind): 1.0 for partition, kind in stopped},
    }


def of_indexes(found: Sequence[IndexState]) -> GaugeSamples:
    """Which are valid, and how far those are that are built."""
    return {
        INDEX_VALID: {(each.name,): float(each.state == "valid") for each in found},
        INDEX_BUILD: {(each.name,): each.share for each in found if each.state == "building"},
    }


def of_topic(look: HealthSnapshot) -> GaugeSamples:
    """Ends, positions and lag, as far as Kafka and PostgreSQL report them."""
    ends = look.view.ends if look.view else {}
    reached = reached_of(look)
    behind = {partition: max(0, end - place) for partition, (place, end) in reached.items()}
    places = {partition: place for partition, (place, _) in reached.items()}
    return {LOG_END: numbered(ends), POSITION: numbered(places), LAG_MESSAGES: numbered(behind)}


def reached_of(look: HealthSnapshot) -> dict[int, tuple[int, int]]:
    """Stored position and end of each partition, one that is not stored yet as 0; empty where either is unavailable."""
    if look.view is None or look.positions is None:
        return {}
    return {p: (look.positions.get((look.view.topic_id, p), 0), end) for p, end in look.view.ends.items()}


def numbered(figures: Mapping[int, float]) -> dict[tuple[str, ...], float]:
    """By partition, in the order of their numbers."""
    return {(str(partition),): float(figures[partition]) for partition in sorted(figures)}
