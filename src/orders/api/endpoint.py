"""An endpoint is one handler: its routing, typed parameters, errors and description come from its declaration.

```python
orders = Resource()

@orders.get("/orders/{order_uid}", {200: Returns("The order", [ServedDocument])}, problems=["order-not-found"])
async def get_order(
    request: Request,
    order_uid: Annotated[Uid, Path("Which order", invalid="order-not-found")],
    view: Annotated[Shape, Query("In which shape", invalid="unknown-view")] = "standard",
) -> Response:
    \"\"\"Get an order.

    Whatever else a caller should know.
    \"\"\"
```

The docstring is the summary and the description in OpenAPI. A parameter has the type of its annotation, as msgspec
converts a text to it; a value that it refuses is answered with the parameter's own error. HEAD comes with each GET,
OPTIONS and 405 with each path. Why it is ours: docs/decisions/0032.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as AnyRequest
from starlette.types import Receive, Scope

from orders.api.answers import JSON, ProblemError, Response
from orders.api.dependencies import Dependencies

Handler = Callable[..., Awaitable[Response]]
H = TypeVar("H", bound=Handler)
Place = Literal["path", "query", "header"]
Method = Literal["GET", "POST"]
NAMED = 100
"""Characters of an unknown parameter's name that its error repeats."""


class Path(NamedTuple):
    """A part of the path; a value that is not of its type is answered with the error `invalid` of `problems`."""

    about: str
    invalid: str


class Query(NamedTuple):
    """A parameter of the query, `name` if it is not called as the argument; of several values the first counts.

    `allowed` is what a value must be, for the error's detail.
    """

    about: str
    invalid: str
    name: str = ""
    allowed: str = ""


class Header(NamedTuple):
    """A field of the request as one text, of several lines joined as a list (RFC 9110, 5.3); "" where it is absent."""

    about: str
    name: str


class Returns(NamedTuple):
    """One status of an endpoint: when it is returned, with a body of which shapes and media type, and which fields.

    `examples` makes bodies by their names; `links` are those of OpenAPI.
    """

    about: str
    shapes: Sequence[type] = ()
    media: str = JSON
    fields: Sequence[str] = ()
    examples: Mapping[str, Callable[[], Any]] = {}
    links: Mapping[str, Mapping[str, Any]] = {}


class Parameter(NamedTuple):
    """An argument of a handler: where it stands in the request, its type, and its error where it is not of the type."""

    argument: str
    place: Place
    name: str
    about: str
    kind: Any
    default: Any
    invalid: str
    allowed: str

    def read(self, request: "Request") -> Any:
        """Its value. Raises `ProblemError`."""
        if self.place == "header":
            return request.field(self.name)
        values = request.path_params if self.place == "path" else request.query
        if self.name not in values:
            return self.default
        try:
            return msgspec.convert(values[self.name], self.kind, strict=False)
        except msgspec.ValidationError:
            raise ProblemError(self.invalid, f"`{self.name}` must be {self.allowed}." if self.allowed else "") from None


@dataclass(frozen=True, eq=False)
class Endpoint:
    """A method of a path. `problems` are its errors beside those that any request may meet.

    `takes` is the type of its body, `example` makes one.

    `unknown` is the error for a parameter of the query that is not declared or comes twice; without it both are
    passed over.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    about: str
    parameters: Sequence[Parameter]
    returns: Mapping[int, Returns]
    problems: Sequence[str]
    takes: type | None
    example: Callable[[], Any] | None
    unknown: str

    @property
    def methods(self) -> Sequence[str]:
        """The methods that it answers: HEAD comes with GET (RFC 9110, 9.3.2)."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    async def respond(self, request: "Request") -> Response:
        """What the handler returns for a request. Raises `ProblemError`, `OrdersError`."""
        if self.unknown:
            self._check_query(request)
        return await self.handler(request, **{each.argument: each.read(request) for each in self.parameters})

    def _check_query(self, request: "Request") -> None:
        names = [name for name, _ in request.query_params.multi_items()]
        known = [each.name for each in self.parameters if each.place == "query"]
        for name in names:
            if name not in known:
                raise ProblemError(self.unknown, f"There is no parameter `{name[:NAMED]}`{_nearest(name, known)}.")
            if names.count(name) > 1:
                raise ProblemError(self.unknown, f"The parameter `{name}` is given twice.")


class Request(AnyRequest):
    """A request, with what the application stands on and all of its endpoints."""

    def __init__(
        self, scope: Scope, receive: Receive, dependencies: Dependencies, endpoints: Sequence[Endpoint]
    ) -> None:
        super().__init__(scope, receive)
        self.dependencies = dependencies
        self.endpoints = endpoints

    def field(self, name: str) -> str:
        """A field; of several lines one list (RFC 9110, 5.3), "" where it is absent."""
        return ", ".join(self.headers.getlist(name))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises `ProblemError` where the client ends the connection before it is whole."""
        try:
            async for chunk in self.stream():
                yield chunk
        except ClientDisconnect:
            raise ProblemError("incomplete") from None

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters of the query, each with its first value."""
        return dict(reversed(self.query_params.multi_items()))


class Resource:
    """The endpoints of one module, in their order."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []

    def get(
        self, path: str, returns: Mapping[int, Returns], *, problems: Sequence[str] = (), unknown: str = ""
    ) -> Callable[[H], H]:
        """Declares the handler of GET and HEAD."""
        return self._declare("GET", path, returns, problems, unknown=unknown)

    def post(
        self,
        path: str,
        returns: Mapping[int, Returns],
        *,
        takes: type,
        example: Callable[[], Any],
        problems: Sequence[str] = (),
    ) -> Callable[[H], H]:
        """Declares the handler of POST, which reads a body of the type `takes` by itself; `example` makes one."""
        return self._declare("POST", path, returns, problems, takes=takes, example=example)

    def _declare(
        self,
        method: Method,
        path: str,
        returns: Mapping[int, Returns],
        problems: Sequence[str],
        *,
        takes: type | None = None,
        example: Callable[[], Any] | None = None,
        unknown: str = "",
    ) -> Callable[[H], H]:
        def declared(handler: H) -> H:
            summary, _, about = inspect.cleandoc(handler.__doc__ or "").partition("\n\n")
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    summary=summary.rstrip("."),
                    about=about,
                    parameters=parameters_of(handler),
                    returns=returns,
                    problems=problems,
                    takes=takes,
                    example=example,
                    unknown=unknown,
                )
            )
            return handler

        return declared


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = get_close_matches(name, known, 1)
    return f": did you mean `{nearest[0]}`?" if nearest else f"; there are {', '.join(known)}"


def parameters_of(handler: Handler) -> list[Parameter]:
    """The arguments of a handler that come from the request: all but the request itself.

    Raises `TypeError` for one that says nothing of where it comes from.
    """
    arguments = list(inspect.signature(handler).parameters.values())[1:]
    hints = get_type_hints(handler, include_extras=True)
    return [_parameter(each.name, hints[each.name], each.default) for each in arguments]


def _parameter(argument: str, hint: Any, default: Any) -> Parameter:
    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    kind = Annotated[_without_none(kind), *marks] if marks else kind
    for mark in marks:
        match mark:
            case Path(about, invalid):
                return Parameter(argument, "path", argument, about, kind, default, invalid, "")
            case Query(about, invalid, name, allowed):
                return Parameter(argument, "query", name or argument, about, kind, default, invalid, allowed)
            case Header(about, name):
                return Parameter(argument, "header", name, about, kind, default, "", "")
    raise TypeError(f"{argument} is not annotated with Path, Query or Header")


def _without_none(kind: Any) -> Any:
    """The type of what is there: None only stands for a parameter that is absent, and no text means it."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return Union[tuple(kinds)] if get_origin(kind) in {Union, UnionType} else kind  # noqa: UP007 - of a tuple
