"""One request on its way through an application, and what is counted when its answer is out."""

from typing import get_args

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

from orders.meter import Values
from orders.metrics import HTTP_SECONDS, Method, Request, Route, Status
from orders.timing import monotonic

METHODS: dict[str, Method] = {name: name for name in get_args(Method)}
ROUTES: dict[str, Route] = {name: name for name in get_args(Route)}
STATUSES: dict[int, Status] = {int(name): name for name in get_args(Status) if name.isdecimal()}


class Counted:
    """An application for one request that began at `began`; one that is not `readable` has no method and no path."""

    def __init__(self, app: ASGI3Application, values: Values, began: float, *, readable: bool = True) -> None:
        self._app = app
        self._values = values
        self._began = began
        self._readable = readable
        self._scope: Scope
        self._status = 500
        """Of an answer that the server gives by itself, when the application failed."""

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def noting(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
            await send(message)

        self._scope = scope
        await self._app(scope, receive, noting)

    def count(self) -> None:
        """To be called when the last of the answer is written."""
        self._values.observe(HTTP_SECONDS, self._request(), monotonic() - self._began)

    def _request(self) -> Request:
        status = STATUSES.get(self._status, "_OTHER")
        if not self._readable:
            return "_OTHER", "unmatched", status
        # Litestar's word for the route that it found.
        template = str(self._scope.get("path_template", ""))
        method = str(self._scope.get("method", ""))
        return METHODS.get(method, "_OTHER"), ROUTES.get(template, "unmatched"), status
