"""Reads of the HTTP processes: orders by uid, outcomes, positions; and what was read goes to memory."""

import queue
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from orders import threads
from orders.api.waiting import Joiner, RecordOutcome
from orders.errors import OrdersError, Rejected
from orders.memory.shared import Put
from orders.postgres.connection import queries
from orders.postgres.indexes import IndexState, names
from orders.postgres.pool import QueryPool, each_apart
from orders.record import RecordCoordinates
from orders.timing import Clock, in_time

log = structlog.get_logger()

ANSWER_SECONDS = 2.0
STATEMENT_SECONDS = 5
PUTS_WAITING = 1_000
"""Most answers that wait for the putter; a later one is dropped, and read again when somebody asks."""


class FoundOrder(NamedTuple):
    """An order as PostgreSQL had it at `as_of` or later, on the clock that memory uses."""

    document: bytes
    version: int
    as_of: float


class OrderCache(Protocol):
    """Where orders that were found are put."""

    def put(self, puts: Sequence[Put], as_of: float) -> int: ...


class Putter:
    """One thread that puts what was read into memory: the event loop never waits for memory's writer lock."""

    def __init__(self, memory: OrderCache) -> None:
        self._memory = memory
        self._queue: queue.Queue[tuple[list[Put], float] | None] = queue.Queue(PUTS_WAITING)
        self._thread = threads.start("putter", self._run)

    def offer(self, puts: list[Put], as_of: float) -> None:
        """Puts soon, or not at all when too many wait."""
        try:
            self._queue.put_nowait((puts, as_of))
        except queue.Full:
            log.debug("put_dropped", orders=len(puts))

    def close(self) -> None:
        """Puts what waits and ends the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (offered := self._queue.get()) is not None:
            try:
                self._memory.put(*offered)
            except OrdersError as error:
                log.warning("put_failed", reason=str(error))


class OrderReader:
    """Reads through a pool of connections; every call raises `Unavailable` or `Misconfigured`, within seconds."""

    def __init__(self, dsn: str, topic: str, connections: int, memory: OrderCache, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock
        self._memory = memory
        self._putter: Putter | None = None
        self._pool = QueryPool(dsn, "serve", connections, statement_seconds=STATEMENT_SECONDS)
        self._orders = Joiner(self._fetch_orders)
        self._positions = Joiner(self._fetch_positions)

    async def open(self) -> None:
        """Starts; does not wait for PostgreSQL."""
        await self._pool.open()
        self._putter = Putter(self._memory)

    async def close(self) -> None:
        await self._pool.close()
        if self._putter is not None:
            self._putter.close()

    async def order(self, order_uid: str) -> FoundOrder | None:
        """The order, or None if PostgreSQL says that there is none. Raises `Rejected` where a row has no document."""
        found = await self._orders.get(order_uid)
        if isinstance(found, Rejected):
            raise found
        return found

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """Next offset by (topic id, partition), read after the call."""
        return await self._positions.get(self._topic) or {}

    async def outcomes(self, places: Sequence[RecordCoordinates]) -> dict[RecordCoordinates, RecordOutcome]:
        """Outcomes that are there among those of the records at `places`."""
        topic_ids, partitions, offsets = (list(column) for column in zip(*places, strict=True))
        rows = await self._rows("outcomes_at", {"topic_ids": topic_ids, "partitions": partitions, "offsets": offsets})
        return {RecordCoordinates(*row[:3]): RecordOutcome(*row[3:]) for row in rows}

    async def index_states(self) -> list[IndexState]:
        """How the indexes are that are made beside the running system."""
        return [IndexState(*row) for row in await self._rows("index_states", {"names": names()})]

    async def _fetch_orders(self, uids: list[str]) -> dict[str, FoundOrder | Rejected]:
        return await each_apart(uids, self._fetch_found)

    async def _fetch_found(self, uids: list[str]) -> dict[str, FoundOrder]:
        as_of = self._clock()
        rows = await self._rows("documents_by_uid", {"uids": uids})
        found = {order_uid: FoundOrder(document.encode(), version, as_of) for order_uid, version, document in rows}
        if found and self._putter is not None:
            puts = [Put(order_uid, order.version, order.document) for order_uid, order in found.items()]
            self._putter.offer(puts, as_of)
        return found

    async def _fetch_positions(self, topics: list[str]) -> dict[str, dict[tuple[str, int], int]]:
        rows = [(topic, await self._rows("positions_of_topic", {"topic": topic})) for topic in topics]
        return {topic: {(topic_id, partition): position for topic_id, partition, position in r} for topic, r in rows}

    async def _rows(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        return await in_time(self._pool.rows(queries[query], values), ANSWER_SECONDS)
