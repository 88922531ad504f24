"""Clients behind a load balancer: connections that are kept, GETs and POSTs, until the balancer has seen enough."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from orders.sample import samples
from support.background import Background

CHECK_SECONDS = 0.1
WELL = {"POST": (200, 201), "GET": (200,)}
UNREADY_CHECKS = 5
"""Checks in a row that must fail before no more requests are sent, as load balancers have it."""


class Seen(NamedTuple):
    """What one client saw: how often each answer, and what went wrong."""

    statuses: list[int]
    failures: list[str]


class Balancer:
    """Sends requests to an address for as long as it counts as ready."""

    def __init__(self, url: str, clients: int) -> None:
        self.address = urlsplit(url).netloc
        self.seen = [Seen([], []) for _ in range(clients)]
        self.checks: list[bool] = []
        self.reasons: list[str] = []
        self._clients = [threading.Thread(target=self._send, args=(n,)) for n in range(clients)]

    @property
    def open(self) -> bool:
        """Whether requests are still sent."""
        return len(self.checks) < UNREADY_CHECKS or any(self.checks[-UNREADY_CHECKS:])

    def _check(self) -> None:
        if self.open:
            with closing(http.client.HTTPConnection(self.address, timeout=5)) as connection:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                body = json.loads(answer.read())
            self.checks.append(answer.status == http.HTTPStatus.OK)
            self.reasons.append(body["parts"]["process"]["reason"])

    def _send(self, number: int) -> None:
        """Posts an order and gets it, again and again."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        orders = samples(1_000_000, 1000 + number)
        while self.open:
            order = next(orders)
            try:
                self._exchange(connection, number, "POST", "/orders", order)
                uid = json.loads(order)["order_uid"]
                for _ in range(5):
                    self._exchange(connection, number, "GET", f"/orders/{uid}")
            except (OSError, http.client.HTTPException) as error:
                self.seen[number].failures.append(f"{type(error).__name__} after {len(self.checks)} checks")
                connection.close()
        connection.close()

    def _exchange(
        self, connection: http.client.HTTPConnection, number: int, method: str, path: str, body: bytes | None = None
    ) -> None:
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        self.seen[number].statuses.append(answer.status)
        if answer.status not in WELL[method]:
            self.seen[number].failures.append(f"{method}: {answer.status}")

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Meanwhile requests are sent; in the end the balancer has seen that the address is not ready."""
        with Background(self._check, CHECK_SECONDS):
            for client in self._clients:
                client.start()
            try:
                yield
            finally:
                for client in self._clients:
                    client.join(60)
