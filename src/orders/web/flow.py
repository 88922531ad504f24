"""What a connection may hold at most: requests that wait, bytes behind them, and answers that are not taken.

Reading stops while pipelined requests wait, for each of them would else let more of them in; and of what was read
with them no more is parsed, for each takes far more room than its bytes. A client that takes nothing of what was
answered is cut off in time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

PIECE = 4096
"""Bytes that are parsed at a time: what they hold of requests is the most that may wait on a connection."""


class Flow(FlowControl):
    """Of one connection. `go_on` is called when what is `held` may be parsed; `deadline` is in seconds."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        pipeline: deque[Any],
        go_on: Callable[[], None],
        deadline: float,
    ) -> None:
        super().__init__(transport)
        self.held = b""
        self._loop = loop
        self._pipeline = pipeline
        self._go_on = go_on
        self._deadline = deadline
        self._cut: asyncio.TimerHandle | None = None

    def resume_reading(self) -> None:
        if self._pipeline:
            return
        if self.held:
            self._loop.call_soon(self._go_on)  # not at once: who asks is about to start what waits
        else:
            super().resume_reading()

    def pause_writing(self) -> None:
        """There is more to be taken than may wait."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._transport.is_closing():
            self.end()

    def close(self) -> None:
        """Ends the connection when what was answered is taken, or in time."""
        self._transport.close()
        self._await_taking()

    def end(self) -> None:
        """The answers are taken, or the connection is lost."""
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _await_taking(self) -> None:
        if self._cut is None:
            self._cut = self._loop.call_later(self._deadline, self._transport.abort)
