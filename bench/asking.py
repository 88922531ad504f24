"""Requests to the service: asked once to see what the answer holds, and written as the load sends them."""

import http.client
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from bench.press import HOST
from bench.services import LOOPBACK
from orders.errors import StartError
from orders.search.criteria import PERSONAL

SECONDS = 10


class Request(NamedTuple):
    """A GET, or with a body a POST of JSON."""

    path: str
    body: bytes = b""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def sent(self) -> bytes:
        """All bytes of it."""
        head = f"{self.method} {self.path} HTTP/1.1\r\n".encode() + HOST
        if not self.body:
            return head + b"\r\n"
        return head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body)


def search(criteria: Mapping[str, str], **shown: str | int) -> Request:
    """A page by these criteria; personal ones stand in the body."""
    asked = {**criteria, **shown}
    if PERSONAL.isdisjoint(criteria):
        return Request(f"/orders?{urlencode(asked)}")
    return Request("/orders/search", msgspec.json.encode(asked))


def ask(port: int, request: Request) -> Any:
    """The answer, decoded. Raises `StartError` where it is not 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=SECONDS)
    try:
        headers = {"Content-Type": "application/json"} if request.body else {}
        connection.request(request.method, request.path, request.body or None, headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != HTTPStatus.OK:
        raise StartError(f"{request.method} {request.path} is answered {answer.status}: {body[:500].decode()}")
    return msgspec.json.decode(body)
