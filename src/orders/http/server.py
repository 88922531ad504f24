"""The HTTP server: how it is set up, and how it stops without cutting a request.

When it is asked to stop it is *leaving*: each answer ends its connection, so that anyone who keeps one comes back to
another machine or not at all. It continues for the drain's seconds, then takes no more connections and answers what is
under way.
"""

import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import structlog
import uvicorn

from orders.http.durations import Durations
from orders.http.fastlane import LEAVE, DocumentLookup, fast_lane
from orders.http.hosts import ANY, Unknown
from orders.http.limits import USUAL, Limits
from orders.timing import Clock, monotonic

log = structlog.get_logger()

GRACE_SECONDS = 2
"""How long what is under way may take once no more connections are taken; `orders run` ends the process at 3.5 s."""
BACKLOG = 2048


class Stopping(Protocol):
    """Whether this process was asked to stop, and whether it was asked again."""

    def __call__(self) -> bool: ...
    @property
    def pressed(self) -> bool: ...


class Server(uvicorn.Server):
    """Serves until `stopping`, and `drain_seconds` longer unless it is pressed. Signals are its caller's business."""

    def __init__(
        self,
        config: uvicorn.Config,
        stopping: Stopping | None = None,
        drain_seconds: float = 0.0,
        clock: Clock = monotonic,
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._until: float | None = None

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override] # ours listens to them
        """Leaves the signals to the process."""
        return nullcontext()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether the time is over."""
        over = await super().on_tick(counter)
        return over or (self._stopping is not None and self._stopping() and self._is_drained(self._stopping))

    def _is_drained(self, stopping: Stopping) -> bool:
        return self._clock() >= self._leave() or stopping.pressed

    def _leave(self) -> float:
        """From now on each answer ends its connection; until when more are taken."""
        if self._until is None:
            self._until = self._clock() + self._drain_seconds
            log.info("leaving", drain_seconds=self._drain_seconds)
            self.config.encoded_headers = [*self.config.encoded_headers, LEAVE]
            self.server_state.default_headers = [*self.server_state.default_headers, LEAVE]
        return self._until

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more connections and answers what is under way."""
        self._leave()
        await super().shutdown(sockets)


def server(
    app: Any,
    lookup: DocumentLookup | None,
    durations: Durations | None = None,
    stopping: Stopping | None = None,
    drain_seconds: float = 0.0,
    *,
    hosts: Iterable[str] = (ANY,),
    unknown: Unknown | None = None,
    limits: Limits = USUAL,
) -> Server:
    """A server of an ASGI application that answers to `hosts`, with the fast lane unless `lookup` is None.

    `unknown` logs the names of others.
    """
    settings: dict[str, Any] = {
        "loop": "uvloop",
        "http": fast_lane(lookup, durations, hosts, limits, unknown),
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "access_log": False,
        "log_config": None,
        "proxy_headers": False,
        "server_header": False,
        "date_header": True,
        "backlog": BACKLOG,
        "timeout_keep_alive": limits.keep_alive,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }
    return Server(uvicorn.Config(app, **settings), stopping, drain_seconds)
