"""Bodies of requests: who may send them, and reading them whole."""

from collections.abc import Callable

from orders.api.answers import ProblemError
from orders.api.endpoint import Request
from orders.http import content_coding
from orders.http.content_coding import PlainBody, body_of
from orders.http.request_fields import is_foreign, is_json

BODY_PROBLEMS = ("invalid-json", "invalid-gzip", "cross-site", "too-large", "not-json", "unknown-coding")
"""Errors of every endpoint that reads a body of JSON."""


def check_sender(request: Request) -> None:
    """Raises `ProblemError` for what a page of another site may send without being asked, and for what is not JSON."""
    if is_foreign(request.headers.get("origin"), request.headers.get("host", "")):
        raise ProblemError("cross-site")
    if not is_json(request.headers.get("content-type")):
        raise ProblemError("not-json")


async def read_body(request: Request) -> bytes:
    """The whole body, decoded by its Content-Encoding. Raises `ProblemError`.

    What cannot be taken is refused before it is read, where the request announces it (RFC 9110, 15.5.14 and 15.5.16).
    """
    reading = _coding(request)
    most = request.dependencies.limits.body_bytes
    if int(request.headers.get("content-length", 0)) > most:
        raise ProblemError("too-large")
    body = reading(most)
    try:
        async for chunk in request.chunks():
            body.take(chunk)
        return body.whole()
    except content_coding.BodyRefused as refused:
        raise ProblemError(refused.name) from None


def _coding(request: Request) -> Callable[[int], PlainBody]:
    reading = body_of(request.field("content-encoding"))
    if reading is None:
        raise ProblemError("unknown-coding")
    return reading
