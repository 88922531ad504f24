"""The application: every request that the fast lane does not answer goes to the endpoint of its path and method."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from orders.api import descriptions, metrics, orders, probes, site
from orders.api.answers import ProblemError, Response, failure
from orders.api.dependencies import Dependencies
from orders.api.endpoint import Endpoint, Request
from orders.errors import Busy, OrdersError

log = structlog.get_logger()

RESOURCES = (orders.resource, probes.resource, metrics.resource, site.resource, descriptions.resource)
ENDPOINTS: tuple[Endpoint, ...] = tuple(endpoint for resource in RESOURCES for endpoint in resource.endpoints)
"""Every endpoint. A new one is a handler in the module of its resource."""


class PathApp:
    """The endpoints of one path, and what is the same for all: OPTIONS, HEAD, 405, errors."""

    def __init__(self, path: str, dependencies: Dependencies) -> None:
        self._path = path
        self._dependencies = dependencies
        self._endpoints = {method: each for each in ENDPOINTS if each.path == path for method in each.methods}
        self._allow = {"allow": ", ".join([*self._endpoints, "OPTIONS"])}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive, self._dependencies, ENDPOINTS))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        endpoint = self._endpoints.get(request.method)
        if endpoint is None and request.method != "OPTIONS":
            return failure("method-not-allowed", fields=self._allow)
        request.scope["path_template"] = self._path
        if endpoint is None:
            return Response(status=204, fields=self._allow)
        try:
            return await endpoint.respond(request)
        except ProblemError as error:
            return failure(error.name)
        except OrdersError as error:
            return self._unavailable(error)
        except Exception as error:
            log.error("internal_error", kind=type(error).__name__, exc_info=error)  # noqa: TRY400 - as `refusals` does
            return failure("internal")

    def _unavailable(self, error: OrdersError) -> Response:
        """Something is unavailable or misconfigured: the client may send the request again."""
        log.warning("unavailable", kind=type(error).__name__, reason=str(error))
        if isinstance(error, Busy):
            return failure("busy")
        self._dependencies.suspect()
        return failure("unavailable")


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Where no path of ours is asked for."""
    await failure("not-found")(scope, receive, send)


def create_app(dependencies: Dependencies) -> ASGIApp:
    """The application; its lifespan is that of `dependencies`."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with dependencies.lifespan():
            yield

    paths = dict.fromkeys(each.path for each in ENDPOINTS)
    routes = [Route(path, PathApp(path, dependencies)) for path in paths]
    router = Router(routes, redirect_slashes=False, default=not_found, lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """A slash more changes nothing."""
        if scope["type"] == "http" and (scope["path"][1:].endswith("/") or "//" in scope["path"]):
            scope["path"] = "/" + "/".join(filter(None, scope["path"].split("/")))
        await router(scope, receive, send)

    return app
