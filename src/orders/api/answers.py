"""What handlers return: bytes with their status and fields, or an error of `problems`."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response as AnyResponse

from orders.http.problems import KINDS, MEDIA_TYPE, extra_fields, problem
from orders.pages.rendering import PAGE_FIELDS
from orders.record import Invalid

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"

_encode = msgspec.json.Encoder().encode


class Response(AnyResponse):
    """Bytes with their status and fields, the type before the length, as the fast lane writes them."""

    def __init__(
        self, body: bytes = b"", status: int = 200, fields: Mapping[str, str] | None = None, media: str = ""
    ) -> None:
        charset = "; charset=utf-8" if media.startswith("text/") else ""
        typed = {"content-type": media + charset} if media else {}
        super().__init__(body, status, {**(fields or {}), **typed})


class ProblemError(Exception):
    """Ends the request with this error of `problems`; `detail` and `wrong` as `failure` takes them."""

    def __init__(self, name: str, detail: str = "", wrong: Sequence[Invalid] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.detail = detail
        self.wrong = wrong


def answer(status: int, content: object, fields: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON; bytes count as JSON already."""
    body = content if isinstance(content, bytes) else _encode(content)
    return Response(body, status, fields, JSON)


def page(html: bytes) -> Response:
    """A page, under the policy of all pages."""
    return Response(html, fields=PAGE_FIELDS, media=HTML)


def failure(
    name: str, wrong: Sequence[Invalid] = (), fields: Mapping[str, str] | None = None, detail: str = ""
) -> Response:
    """An error of `problems`; `wrong` is what is wrong with the body, `detail` replaces that of the kind."""
    own = {**extra_fields(name), **(fields or {})}
    return Response(problem(name, wrong, detail), KINDS[name].status, own, MEDIA_TYPE)
