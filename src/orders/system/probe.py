"""Questions to the HTTP of a running system. Quick to import: a container's health check asks every few seconds."""

import re
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from orders.errors import StartError
from orders.readiness import ReadinessPart, Ready, read
from orders.settings import Settings
from orders.system import state

ANSWER_SECONDS = 10.0
READY_SECONDS = 5.0
HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) .*?\r\ncontent-length: ([0-9]+)\r\n.*?\r\n\r\n", re.DOTALL)
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names them, binds nothing
"""Addresses that a server may listen on and nobody can ask, and what is asked instead."""

PATHS = {"ready": "/readyz", "ready for writing": "/readyz?for=writing", "alive": "/livez", "started": "/startupz"}


class ProbeResult(NamedTuple):
    """Whether a condition is met, one sentence about it, and the body of the answer."""

    met: bool
    sentence: str
    body: bytes


def http_url(host: str, port: int) -> str:
    """Where a server that listens there answers, seen from this machine."""
    host = EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def url_for(settings: Settings) -> str:
    """Where the system answers that `settings`, as `state.joined` or `addressed` give them, speak of.

    An address that was given counts, whatever runs in the data directory.
    """
    return state.url(settings) or http_url(settings.http_host, settings.http_port)


def fetch(url: str, path: str, seconds: float = ANSWER_SECONDS, *, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of a GET, or of a POST where there is a body, which is JSON.

    Raises `StartError` when nobody answers. Proxies are not asked: it is our own.
    """
    # Python's own client takes longer to import than all the rest of a health check.
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 80), seconds) as connection:
            connection.sendall(_request(path, address.netloc, body))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        answer = b""
    head = HEAD.match(answer)
    if head is None or len(answer) - head.end() != int(head[2]):
        raise StartError(f"nothing answers at {url}: start it with `orders run`")
    return int(head[1]), answer[head.end() :]


def _request(path: str, host: str, body: bytes | None) -> bytes:
    method = "GET" if body is None else "POST"
    content = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{content}\r\n"
    return head.encode() + (body or b"")


def ask_ready(url: str) -> Ready:
    """What /readyz says of the whole system, also when nobody answers."""
    with suppress(StartError, msgspec.MsgspecError):
        return read(fetch(url, PATHS["ready for writing"], READY_SECONDS)[1])
    return Ready(parts={"http": ReadinessPart(ok=False, reason="nothing answers")})


def ask(url: str, condition: str) -> ProbeResult:
    """Whether a condition, one of `PATHS`, is met. Raises `StartError` when nobody answers."""
    status, body = fetch(url, PATHS[condition], READY_SECONDS)
    if status == HTTPStatus.OK:
        return ProbeResult(met=True, sentence=condition, body=body)
    try:
        reason = read(body).missing
    except msgspec.MsgspecError:
        reason = ""
    return ProbeResult(met=False, sentence=f"not {condition}: {reason or f'{url} answered {status}'}", body=body)
