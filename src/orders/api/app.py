"""The application: every request that the fast lane does not answer goes to the endpoint of its path and method."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.routing import Route, Router, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from orders.api import descriptions, metrics, orders, probes, search, site
from orders.api.answers import ProblemError, Response, failure
from orders.api.dependencies import Dependencies
from orders.api.endpoint import Endpoint, Request
from orders.errors import Busy, IndexBuilding, OrdersError

log = structlog.get_logger()

RESOURCES = (orders.resource, search.resource, probes.resource, metrics.resource, site.resource, descriptions.resource)
ENDPOINTS: tuple[Endpoint, ...] = tuple(endpoint for resource in RESOURCES for endpoint in resource.endpoints)
"""Every endpoint. A new one is a handler in the module of its resource."""


class PathApp:
    """The endpoints of one path, and what is the same for all: OPTIONS, HEAD, 405, errors.

    `/orders/search` is a path of its own and that of an order with this uid: it has the endpoints of both.
    """

    def __init__(self, path: str, dependencies: Dependencies) -> None:
        self._path = path
        self._dependencies = dependencies
        self._parameters = parameters_in(path)
        self._endpoints = {method: each for each in endpoints_at(path) for method in each.methods}
        self._allow = {"allow": ", ".join([*sorted(self._endpoints), "OPTIONS"])}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive, self._dependencies, ENDPOINTS))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        endpoint = self._endpoints.get(request.method)
        if endpoint is None and request.method != "OPTIONS":
            return failure("method-not-allowed", fields=self._allow)
        request.scope["path_template"] = endpoint.path if endpoint else self._path
        if endpoint is None:
            return Response(status=204, fields=self._allow)
        request.path_params.update(self._parameters)
        try:
            return await endpoint.respond(request)
        except ProblemError as error:
            return failure(error.name, error.wrong, detail=error.detail)
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
        if isinstance(error, IndexBuilding):
            return failure("index-building")
        self._dependencies.suspect()
        return failure("unavailable")


def endpoints_at(path: str) -> list[Endpoint]:
    """Those of a path, and those of the paths with parameters that it is one of."""
    templates = [path, *(each for each in dict.fromkeys(each.path for each in ENDPOINTS) if _parameters(each, path))]
    return [endpoint for template in templates for endpoint in ENDPOINTS if endpoint.path == template]


def parameters_in(path: str) -> dict[str, str]:
    """What a path without parameters stands for in those with some."""
    return {name: value for each in ENDPOINTS for name, value in _parameters(each.path, path).items()}


def _parameters(template: str, path: str) -> dict[str, str]:
    """The parameters of a path with some that would be this one; none where it is not, or has parameters itself."""
    if "{" in path or "{" not in template:
        return {}
    found = compile_path(template)[0].match(path)
    return found.groupdict() if found else {}


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Where no path of ours is asked for."""
    await failure("not-found")(scope, receive, send)


def create_app(dependencies: Dependencies) -> ASGIApp:
    """The application; its lifespan is that of `dependencies`."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with dependencies.lifespan():
            yield

    paths = sorted(dict.fromkeys(each.path for each in ENDPOINTS), key=lambda path: "{" in path)
    routes = [Route(path, PathApp(path, dependencies)) for path in paths]
    router = Router(routes, redirect_slashes=False, default=not_found, lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """A slash more changes nothing."""
        if scope["type"] == "http" and (scope["path"][1:].endswith("/") or "//" in scope["path"]):
            scope["path"] = "/" + "/".join(filter(None, scope["path"].split("/")))
        await router(scope, receive, send)

    return app
