"""What a connection may hold at most: requests that wait, bytes behind them, and answers that are not taken; its end.

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


FINISH_SECONDS = 1.0
"""How long after the last answer what a client still sends is read and thrown away."""


class Flow(FlowControl):
    """Of one connection. `resume` is called when what is `held` may be parsed; `deadline` is in seconds."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        pipeline: deque[Any],
        resume: Callable[[], None],
        deadline: float,
    ) -> None:
        super().__init__(transport)
        self.held = b""
        self.finished = False
        """Whether the last answer was written."""
        self.client_finished = False
        """Whether the client sends no more."""
        self._loop = loop
        self._pipeline = pipeline
        self._resume = resume
        self._deadline = deadline
        self._cut: asyncio.TimerHandle | None = None
        self._finishing: asyncio.TimerHandle | None = None

    def resume_reading(self) -> None:
        if self._pipeline:
            return
        if self.held:
            self._loop.call_soon(self._resume)  # not at once: who asks is about to start what waits
        else:
            super().resume_reading()

    def pause_writing(self) -> None:
        """There is more to be taken than may wait."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not (self.finished or self._transport.is_closing()):
            self.end()

    def finish(self) -> None:
        """Ends the connection after its last answer, when the client does, or in time.

        What still comes is read: a socket that is closed over unread bytes resets the connection, and answers that are
        on their way are lost (RFC 9112, 9.6).
        """
        if self.client_finished or self._transport.is_closing():
            self.close()
        elif not self.finished:
            self.finished, self.held = True, b""
            self._transport.write_eof()
            super().resume_reading()
            self._finishing = self._loop.call_later(FINISH_SECONDS, self.close)
            self._await_taking()

    def close(self) -> None:
        """Ends the connection when what was answered is taken, or in time."""
        self._transport.close()
        self._await_taking()

    def end(self) -> None:
        """The answers are taken, or the connection is lost."""
        for timer in (self._cut, self._finishing):
            if timer is not None:
                timer.cancel()
        self._cut = self._finishing = None

    def _await_taking(self) -> None:
        if self._cut is None:
            self._cut = self._loop.call_later(self._deadline, self._transport.abort)


class LastAnswer:
    """The transport as a connection's answers have it: the connection is finished where uvicorn would close it."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, finish: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = finish
