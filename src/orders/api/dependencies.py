"""What the handlers of an application stand on: memory, PostgreSQL, Kafka, health and limits, each as a function."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from orders.api.health import Purpose
from orders.api.reader import FoundOrder
from orders.api.startup import FINISHED
from orders.api.waiting import Gate, RecordOutcome
from orders.errors import Busy
from orders.http.fastlane import DocumentLookup
from orders.http.limits import USUAL, Limits
from orders.metrics.exposition import Page
from orders.metrics.kinds import Values
from orders.metrics.table import BUSY, SEARCH_SECONDS, Full, SearchedBy, private
from orders.order import Content
from orders.readiness import ReadinessReport, StartupReport
from orders.search.criteria import Criteria
from orders.search.cursor import Cursor
from orders.search.finder import Bodies, Found
from orders.search.statements import Payload
from orders.timing import monotonic

Shape = Literal["standard", "original"]
"""How a GET shows an order: as it is stored, or as the original Go service did."""


class Finder(Protocol):
    """Looks for orders in PostgreSQL, as `search.finder` has it."""

    async def page(self, criteria: Criteria, limit: int, payload: Payload, cursor: Cursor | None) -> Found: ...

    async def documents(self, uids: Sequence[str], most_bytes: int) -> Bodies: ...


class FindsNothing:
    """Where no order is stored."""

    async def page(self, criteria: Criteria, limit: int, payload: Payload, cursor: Cursor | None) -> Found:  # noqa: ARG002
        return Found({}, None, None, None)

    async def documents(self, uids: Sequence[str], most_bytes: int) -> Bodies:  # noqa: ARG002
        return {}


async def no_metrics(_accept: str) -> Page:
    """Where nobody counts."""
    return Page(b"", "text/plain")


def unsuspected() -> None:
    """Where nobody looks after outages."""


async def started() -> StartupReport:
    """Where nobody waits for a start."""
    return FINISHED


@dataclass(frozen=True)
class Dependencies:
    """`find` looks into memory and `order` into PostgreSQL.

    `finder` reads lists apart from both. `submit` takes an order and how many seconds to wait for its outcome;
    `deadline` is the most. `suspect` is called where a request met an outage.
    """

    find: DocumentLookup
    order: Callable[[str], Awaitable[FoundOrder | None]]
    submit: Callable[[Content, float], Awaitable[RecordOutcome | None]]
    health: Callable[[Purpose], Awaitable[ReadinessReport]]
    lifespan: Callable[[], AbstractAsyncContextManager[None]]
    default_view: Shape = "standard"
    metrics: Callable[[str], Awaitable[Page]] = no_metrics
    values: Values = field(default_factory=private)
    startup: Callable[[], Awaitable[StartupReport]] = started
    deadline: float = 10.0
    topic: str = "orders"
    limits: Limits = USUAL
    suspect: Callable[[], None] = unsuspected
    finder: Finder = field(default_factory=FindsNothing)

    @cached_property
    def _gates(self) -> Mapping[Full, Gate]:
        return {
            "posts": Gate(self.limits.waiting_posts),
            "misses": Gate(self.limits.waiting_misses),
            "searches": Gate(self.limits.waiting_searches),
        }

    @contextmanager
    def gate(self, limit: Full) -> Iterator[None]:
        """Lets one more wait, and counts who was turned away. Raises `Busy`."""
        try:
            with self._gates[limit].enter():
                yield
        except Busy:
            self.values.add(BUSY, limit)
            raise

    @contextmanager
    def search(self, by: SearchedBy) -> Iterator[None]:
        """Lets one more search wait, and measures it, however it ends. Raises `Busy`."""
        with self.gate("searches"):
            began = monotonic()
            try:
                yield
            finally:
                self.values.observe(SEARCH_SECONDS, by, monotonic() - began)
