"""What a request is answered that no application sees: an error of `problems`, after which the connection ends."""

from collections.abc import Callable

import structlog
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from orders.http.hosts import Unknown, sentence
from orders.http.problems import KINDS, fields_of, problem

log = structlog.get_logger()


def refusal(name: str, detail: str = "", note: Callable[[], None] = lambda: None) -> ASGI3Application:
    """Answers every request with this error; `note` logs why, with the request's id."""
    body = problem(name, detail=detail)
    fields = [*fields_of(name, body), (b"connection", b"close")]

    async def app(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        note()
        await send({"type": "http.response.start", "status": KINDS[name].status, "headers": fields})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


def failure(mistake: BaseException) -> ASGI3Application:
    """Answers that a mistake of ours was made, which is logged."""

    def note() -> None:
        log.error("internal_error", kind=type(mistake).__name__, exc_info=mistake)

    return refusal("internal", note=note)


def misdirected(host: bytes, unknown: Unknown) -> ASGI3Application:
    """Answers that a Host is unknown, which is logged once."""
    return refusal("unknown-host", sentence(host), lambda: unknown.report(host))
