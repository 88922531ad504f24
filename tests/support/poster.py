"""Who POSTs orders of its own, one after the other, and keeps what was promised."""

import time
from collections import Counter
from collections.abc import Container
from contextlib import suppress

import httpx2

from support.checker import Breach, Broken, Checked
from support.traffic import Traffic

TAKEN = frozenset({201, 202, 503})
"""What the POST of a new order may be answered."""


class Poster:
    """Keeps what was promised, what was answered, and the longest that it waited, in seconds."""

    def __init__(self, machine: Checked, traffic: Traffic, taken: Container[int] = TAKEN) -> None:
        self._traffic = traffic
        self._taken = taken
        self._http = httpx2.Client(base_url=machine.url, timeout=30)
        self._count = 0
        self.promised: dict[str, bytes] = {}
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0

    def begin_again(self) -> None:
        """Forgets what was answered; the promises stay."""
        self.answers.clear()
        self.slowest = 0.0

    def step(self) -> None:
        self._count += 1
        self.post(f"post-{self._count}")

    def step_or_break(self) -> None:
        """The same where the worker may be killed."""
        with suppress(httpx2.TransportError):
            self.step()

    def post(self, order_uid: str) -> int:
        """The status of the answer. Raises `Broken` for one that may not be."""
        made = self._traffic.order(order_uid, 1)
        began = time.monotonic()
        answer = self._http.post("/orders", content=made.text)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code not in self._taken:
            raise Broken([Breach(10, f"POST is {answer.status_code}: {answer.text}")], self._traffic.seed)
        if answer.status_code in {200, 201}:
            self.promised[order_uid] = made.text
        return answer.status_code

    def close(self) -> None:
        self._http.close()
