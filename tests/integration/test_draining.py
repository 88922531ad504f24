"""SIGTERM to a real `orders serve`: unready at once, nothing cut, gone in time."""

import http.client
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from orders.memory.shared import Memory
from orders.postgres.migrations import migrate
from orders.sample import samples
from support.machine import Machine
from support.waiting import wait_for

ORDER = next(iter(samples(1, 0)))


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: Any


def ask(connection: http.client.HTTPConnection, path: str, body: bytes | None = None) -> Answer:
    """A GET, or a POST of a body."""
    connection.request("POST" if body else "GET", path, body)
    answer = connection.getresponse()
    return Answer(answer.status, dict(answer.getheaders()), json.loads(answer.read()))


class House(NamedTuple):
    """A serve and a keeper, no ingest: a POST waits for its outcome until it is told 202."""

    machine: Machine

    def start(self, drain_seconds: float) -> None:
        self.machine.settings = replace(self.machine.settings, drain_seconds=drain_seconds, post_deadline=30.0)
        for kind in ("keep", "serve"):
            self.machine.start(kind)
        wait_for(lambda: self.status("/startupz") == 200, "the start", 30)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.machine.settings.http_port, timeout=15)

    def ask(self, path: str, body: bytes | None = None) -> Answer:
        """On a connection of its own."""
        with closing(self.connect()) as connection:
            return ask(connection, path, body)

    def status(self, path: str) -> int:
        """0 where nobody answers."""
        with suppress(OSError):
            return self.ask(path).status
        return 0

    def is_stopping(self) -> bool:
        answer = self.ask("/readyz")
        return answer.status == 503 and answer.body["parts"]["process"]["reason"] == "this process is stopping"

    def counted(self) -> int:
        """POSTs whose records are in Kafka."""
        with closing(self.connect()) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        (line,) = (line for line in lines if line.startswith("messaging_client_sent_messages_total"))
        return int(float(line.split()[-1]))


@pytest.fixture
def house(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, topic: str) -> Iterator[House]:
    machine = Machine(tmp_path, postgres_dsn, kafka_bootstrap, topic, ingests=0)
    migrate(postgres_dsn)
    Memory.create(Path(machine.settings.memory_path), machine.settings.memory_bytes).close()
    yield House(machine)
    machine.end()


def test_a_process_that_drains_is_unready_and_answers_all_the_same(house: House) -> None:
    """On kept and on new connections; a POST that waits is told 202 before the end; the process ends by its signal."""
    house.start(drain_seconds=2)
    with closing(house.connect()) as kept, ThreadPoolExecutor(1) as pool:
        assert ask(kept, "/readyz").body["parts"]["process"] == {"ok": True, "reason": ""}
        posted = pool.submit(house.ask, "/orders", ORDER)
        wait_for(lambda: house.counted() == 1, "the record of the POST in Kafka")
        house.machine.tell("serve", signal.SIGTERM)
        wait_for(house.is_stopping, "readiness false")
        wait_for(lambda: house.ask("/livez").fields.get("connection") == "close", "connections that end")
        unready = ask(kept, "/readyz")
        assert (unready.status, unready.fields["connection"]) == (503, "close")
        assert not unready.body["ready"]
        assert (house.status("/startupz"), house.status("/livez"), house.status("/orders/nobody")) == (200, 200, 404)
        answer = posted.result(15)
    assert (answer.status, answer.body) == (202, {"message": "Order accepted, not yet saved"})
    assert len(answer.fields["x-request-id"]) == 32
    assert house.machine.await_end("serve", 10)
    assert house.machine.status("serve") == -signal.SIGTERM


def test_without_a_drain_what_is_under_way_is_answered(house: House) -> None:
    """A POST that waits is told 202 within seconds of the signal."""
    house.start(drain_seconds=0)
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(house.ask, "/orders", ORDER)
        wait_for(lambda: house.counted() == 1, "the record of the POST in Kafka")
        house.machine.tell("serve", signal.SIGTERM)
        assert house.machine.await_end("serve", 10)
        assert posted.result(1).status == 202


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_ends_the_drain(house: House, number: int) -> None:
    """Whichever it is; the exit status tells the first."""
    house.start(drain_seconds=60)
    house.machine.tell("serve", number)
    wait_for(house.is_stopping, "readiness false")
    house.machine.tell("serve", signal.SIGTERM)
    assert house.machine.await_end("serve", 10)
    assert house.machine.status("serve") == -number
