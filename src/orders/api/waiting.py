"""Waiting together: questions to PostgreSQL that are joined, and the outcomes of records that POSTs wait for."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from orders import threads
from orders.errors import Busy, OrdersError
from orders.record import Outcome, RecordCoordinates
from orders.timing import Clock, seen

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_KEYS = 100
"""Most keys of one question: its answer is read in one go, and the loop answers nobody meanwhile."""
SHORTEST_PAUSE = 0.005
LONGEST_PAUSE = 0.25


class RecordOutcome(NamedTuple):
    """What became of a record; `reason` and `path` say why it was refused."""

    outcome: Outcome
    order_uid: str | None
    reason: str
    path: str


class Gate:
    """Lets at most `most` wait at the same time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Raises `Busy` where as many are inside as may be."""
        if self._inside >= self._most:
            raise Busy(f"{self._most} requests wait already, the most that the settings allow")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


class Joiner(Generic[K, V]):
    """Asks for many keys at once: what is asked while a question is on its way goes with the next one.

    A caller never joins a question that was sent before it called: the answer might be older than the call.
    """

    def __init__(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._sender: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """The value of a key, None if there is none. Raises what `fetch` raises."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            future.add_done_callback(seen)
        if self._sender is None or self._sender.done():
            self._sender = threads.background("questions", self._send())
        return await asyncio.shield(future)

    async def _send(self) -> None:
        while self._waiting:
            batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, MOST_KEYS))}
            try:
                found = await self._fetch(list(batch))
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                for future in batch.values():
                    future.set_exception(error)
            else:
                for key, future in batch.items():
                    future.set_result(found.get(key))


class Outcomes:
    """All who wait for the outcome of a record share one question every few milliseconds."""

    def __init__(
        self,
        fetch: Callable[[Sequence[RecordCoordinates]], Awaitable[Mapping[RecordCoordinates, RecordOutcome]]],
        clock: Clock,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._waiting: dict[RecordCoordinates, asyncio.Future[RecordOutcome]] = {}
        self._youngest = 0.0
        self._asker: asyncio.Task[None] | None = None

    async def wait(self, place: RecordCoordinates, seconds: float) -> RecordOutcome | None:
        """The outcome of the record at a place, or None if there is none within `seconds`."""
        future = self._waiting[place] = asyncio.get_running_loop().create_future()
        self._youngest = self._clock()
        if self._asker is None or self._asker.done():
            self._asker = threads.background("outcomes", self._ask())
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        finally:
            del self._waiting[place]

    async def _ask(self) -> None:
        while self._waiting:
            try:
                found = await self._fetch(list(self._waiting))
            except OrdersError:
                found = {}
            for place, result in found.items():
                future = self._waiting.get(place)
                if future is not None and not future.done():
                    future.set_result(result)
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Longer while nobody new has come: an ingest that does not answer is not asked hundreds of times a second."""
        return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, (self._clock() - self._youngest) / 4))
