"""What a request is answered that no application sees: an error of `problems`, after which the connection ends."""

import structlog
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from orders.web.problems import KINDS, fields_of, problem

log = structlog.get_logger()


def refusal(name: str, mistake: BaseException | None = None) -> ASGI3Application:
    """Answers every request with this error; a `mistake` of ours is logged with the request's id."""
    status, body = KINDS[name].status, problem(name)
    fields = [*fields_of(name), (b"connection", b"close")]

    async def app(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if mistake is not None:
            log.error("internal_error", kind=type(mistake).__name__, exc_info=mistake)
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app
