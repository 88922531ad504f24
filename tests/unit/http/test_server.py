"""How the HTTP server stops: unready at once, draining, then gone."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from orders.http.server import server
from support.waiting import wait_for
from support.wire import MEMORY, UID, plain_app, served


class Signals:
    """Signals that came, as a test says."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bool:
        return self.count > 0

    @property
    def pressed(self) -> bool:
        return self.count > 1


class House(NamedTuple):
    signals: Signals
    thread: threading.Thread
    host: str
    port: int

    def ask(self, path: str = "/orders/" + UID.decode()) -> tuple[int, str | None]:
        """On a connection of its own."""
        connection = self.connect()
        try:
            return get(connection, path)
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=5)


@contextmanager
def house(drain_seconds: float) -> Iterator[House]:
    signals = Signals()
    running = server(plain_app(), MEMORY.get, None, signals, drain_seconds)
    with served(running) as (address, thread):
        yield House(signals, thread, *address)


def get(connection: http.client.HTTPConnection, path: str = "/orders/" + UID.decode()) -> tuple[int, str | None]:
    """Status, and what the answer says of the connection."""
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")


@pytest.mark.parametrize("path", ["/orders/" + UID.decode(), "/orders/stored"])
def test_while_it_drains_each_answer_ends_its_connection_and_new_ones_are_taken(path: str) -> None:
    """On both lanes: a connection that is kept open is told to go, and anyone who comes again is served."""
    with house(60) as running:
        kept = running.connect()
        assert get(kept, path) == (200, None)
        running.signals.count = 1
        wait_for(lambda: running.ask(path) == (200, "close"), "the drain")
        assert get(kept, path) == (200, "close")
        assert kept.sock is None
        running.signals.count = 2
        wait_for(lambda: not running.thread.is_alive(), "the end, as a second signal came")


def test_without_a_drain_it_stops_at_once() -> None:
    """No connection is taken any more, and an idle one is closed."""
    with house(0) as running:
        kept = running.connect()
        assert get(kept) == (200, None)
        running.signals.count = 1
        wait_for(lambda: not running.thread.is_alive(), "the end")
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            get(kept)
        kept.close()


def test_a_drain_ends_by_itself() -> None:
    """After its seconds, however often somebody comes."""
    with house(0.5) as running:
        running.signals.count = 1
        while running.thread.is_alive():
            try:
                assert running.ask() in {(200, "close"), (200, None)}
            except OSError:
                wait_for(lambda: not running.thread.is_alive(), "the end")
