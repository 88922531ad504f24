"""Memory is emptied when the keeper ended or is stopped: nobody hears what other machines change any more.

`run` does it as soon as PostgreSQL answers, for then every order that memory loses can be read. In an outage memory is
kept, as it is all there is to serve. From then on nothing is put either, until a keeper listens and begins a restore:
an order that is read in between would be stale with the next change of another machine.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf

import structlog

from orders.errors import OrdersError
from orders.memory.shared import Memory
from orders.postgres.connection import connect
from orders.timing import Clock, monotonic

LOST = "the keeper ended or is stopped, and nobody hears what other machines change"
log = structlog.get_logger()

RETRY_SECONDS = 1.0
"""How often PostgreSQL is asked whether it answers while it does not."""
STATEMENT_SECONDS = 2.0


class Unheard:
    """Watches whether a keeper runs; `seal` blocks, and is called in a thread with the time since when none does."""

    def __init__(self, seal: Callable[[float], None], clock: Clock = monotonic) -> None:
        self._seal = seal
        self._clock = clock
        self._heard = True
        self._lost_at = self._sealed_at = -inf
        """When the last keeper was lost, and the latest such time for which memory was sealed."""
        self._next_at = -inf
        self._sealing: threading.Thread | None = None

    def tend(self, *, heard: bool) -> None:
        """Looks at it now and then; never blocks."""
        now = self._clock()
        if self._heard and not heard:
            self._lost_at = self._next_at = now
        self._heard = heard
        is_sealing = self._sealing is not None and self._sealing.is_alive()
        if self._lost_at > self._sealed_at and now >= self._next_at and not is_sealing:
            self._sealing = threading.Thread(target=self._try, args=(self._lost_at,), name="seal", daemon=True)
            self._sealing.start()

    def _try(self, since: float) -> None:
        # In a thread: PostgreSQL may be silent, and a keeper that is stopped may hold memory's writer lock.
        self._next_at = self._clock() + RETRY_SECONDS  # unless it succeeds; a bug may end the thread, too
        with suppress(OrdersError):
            self._seal(since)
            self._sealed_at, self._next_at = since, -inf


def seal(dsn: str, memory: Memory, since: float) -> None:
    """Seals memory unless a keeper has begun a restore after `since`. Raises `OrdersError` in an outage."""
    connect(dsn, "run", statement_seconds=STATEMENT_SECONDS).close()
    if memory.seal(since):
        log.warning("memory_emptied", reason=LOST)
