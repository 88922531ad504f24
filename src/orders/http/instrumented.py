"""One request on its way through an application: its name, and what is counted when its answer is out."""

import asyncio
from typing import cast

from structlog.contextvars import bind_contextvars, clear_contextvars
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, HTTPScope, Scope

from orders.http.durations import Durations
from orders.http.problems import fields_of, problem
from orders.http.request_ids import FIELD, new_id, trace_of
from orders.metrics.table import OTHER, UNMATCHED
from orders.timing import monotonic

FAILED = 500
"""From this status on the failure is ours, and the response has the request's id."""
UNAVAILABLE = problem("unavailable")
UNAVAILABLE_FIELDS = fields_of("unavailable", UNAVAILABLE)


class InstrumentedRequest:
    """An application for one request that began at `began`; one that is not `readable` has no method and no path.

    `request_id` is what it came with; without one it is given one, which the answer to a POST and to what failed by
    our fault has too.
    """

    def __init__(
        self,
        app: ASGI3Application,
        durations: Durations,
        began: float,
        *,
        readable: bool = True,
        request_id: bytes = b"",
    ) -> None:
        self._app = app
        self._durations = durations
        self._began = began
        self._readable = readable
        self._given = bool(request_id)
        self._request_id = request_id or new_id()
        self._started = False
        self._scope: HTTPScope
        self._status = 500
        """Of an answer that the server gives by itself, when the application failed."""

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def noting(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start":
                self._status, self._started = message["status"], True
                message["headers"] = [*message.get("headers", ()), *self._naming()]
            await send(message)

        self._scope = cast("HTTPScope", scope)
        self._bind()
        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:  # the server stops, and this took longer than it may
            if self._started:
                raise
            await noting({"type": "http.response.start", "status": 503, "headers": UNAVAILABLE_FIELDS})
            await noting({"type": "http.response.body", "body": UNAVAILABLE, "more_body": False})

    def _bind(self) -> None:
        """Every line that is logged in this request's task has its names."""
        clear_contextvars()  # a pipelined request's task is made in that of the one before
        trace = trace_of(self._scope["headers"]) if self._readable else None
        bind_contextvars(request_id=self._request_id.decode(), **({"trace_id": trace} if trace else {}))

    def _naming(self) -> list[tuple[bytes, bytes]]:
        is_named = self._given or self._status >= FAILED or self._scope["method"] == "POST"
        return [(FIELD, self._request_id)] if is_named else []

    def count(self) -> None:
        """To be called when the last of the answer is written."""
        method, route = OTHER, UNMATCHED
        if self._readable:
            # Set by the application where it found an endpoint.
            method, route = self._scope["method"], str(self._scope.get("path_template", UNMATCHED))
        self._durations.observe(method, route, self._status, monotonic() - self._began)
