"""Errors as RFC 9457 has them, in tests."""

import json
from typing import Any, Protocol

from orders.http.problems import problem


class Answered(Protocol):
    """What tests' clients return."""

    @property
    def status_code(self) -> int: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> Any: ...


def is_problem(answer: Answered, name: str) -> bool:
    """Whether an answer is this error and nothing else; not for one that lists what is wrong with a body."""
    body = problem(name)
    kind = (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"])
    return (*kind, answer.content) == (json.loads(body)["status"], "application/problem+json", "no-store", body)
