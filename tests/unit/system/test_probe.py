"""Questions to a running system over HTTP, and the command for a container's health check."""

import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orders.api import health, startup
from orders.commands.cli import cli
from orders.errors import StartError
from orders.readiness import Lag, ReadinessPart, ReadinessParts, ReadinessReport, RestorePart, StartParts, StartupReport
from orders.system import probe, state
from orders.system.claims import bind, claimed, url_of
from orders.system.probe import ask_ready, fetch, http_url, url_for
from orders.system.state import SystemState, addressed, process_of
from support.wire import plain_app, serving


def test_nobody_who_answers_is_one_sentence_and_no_health() -> None:
    with bind("127.0.0.1", 0) as listening:
        url = url_of(listening)
    with pytest.raises(StartError, match=f"^nothing answers at {url}: start it with `orders run`$"):
        fetch(url, "/livez")
    assert ask_ready(url).missing == "http: nothing answers"


@pytest.mark.parametrize(
    "answered",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbrok",
        b"HTTP/1.1 200 OK\r\n\r\nendless",
    ],
)
def test_an_answer_that_is_none_of_ours_or_breaks_off_is_no_answer(answered: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answered)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StartError, match=r"^nothing answers at "):
            fetch(url_of(listener), "/livez", 5)
        thread.join()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104 - it is not bound
        ("::", "http://[::1]:8080"),
        ("fe80::1", "http://[fe80::1]:8080"),
        ("orders.internal", "http://orders.internal:8080"),
    ],
)
def test_where_http_listens_on_all_addresses_loopback_is_asked(host: str, url: str) -> None:
    assert http_url(host, 8080) == url


def test_an_address_that_is_given_counts_and_else_that_of_the_system_that_runs(tmp_path: Path) -> None:
    """Its port may be any free one; and where it has ended its address is nobody's."""
    variables = {"ORDERS_DATA_DIR": str(tmp_path)}
    running = process_of("run", os.getpid())

    def asked(**given: str) -> str:
        return url_for(addressed(variables | given, {}))

    state.save(tmp_path, SystemState((running,), "http://127.0.0.1:2", {"http_host": "127.0.0.1", "http_port": 0}))
    with pytest.raises(StartError, match="nothing runs"):
        asked()
    assert asked(ORDERS_HTTP_PORT="8080") == "http://127.0.0.1:8080"
    with claimed(tmp_path):
        assert asked() == asked(ORDERS_HTTP_PORT="0") == "http://127.0.0.1:2"
        assert asked(ORDERS_HTTP_PORT="9999") == "http://127.0.0.1:9999"
        assert asked(ORDERS_HTTP_HOST="192.0.2.1", ORDERS_HTTP_PORT="80") == "http://192.0.2.1:80"


UNREADY = "postgres: PostgreSQL cannot be reached; memory: PostgreSQL cannot be reached"
FINE, UNAVAILABLE = ReadinessPart(ok=True), ReadinessPart(ok=False, reason="PostgreSQL cannot be reached")


def report(*, ready: bool, kafka: ReadinessPart = FINE) -> Callable[[health.Purpose], Awaitable[ReadinessReport]]:
    async def told(purpose: health.Purpose) -> ReadinessReport:
        known = FINE if ready else UNAVAILABLE
        parts = ReadinessParts(known, kafka, FINE, Lag(ok=True), known, RestorePart(ok=True))
        return health.report_of(parts, purpose)

    return told


def start(*, started: bool) -> Callable[[], Awaitable[StartupReport]]:
    async def told() -> StartupReport:
        return startup.FINISHED if started else StartupReport(started, StartParts(UNAVAILABLE, FINE))

    return told


@contextmanager
def asked(tmp_path: Path, **parts: Any) -> Iterator[Callable[..., Result]]:
    """Runs `orders health` against a server with these parts."""
    with serving(plain_app(**parts), None) as (_, port):
        common = {"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_HTTP_PORT": str(port), "ORDERS_HTTP_HOST": "0.0.0.0"}  # noqa: S104 - as above
        yield lambda *options: CliRunner().invoke(cli, ["health", *options], env=common)


@pytest.mark.parametrize(
    ("options", "well", "sentence"),
    [
        ([], True, "ready"),
        ([], False, f"not ready: {UNREADY}"),
        (["--writing"], True, "ready for writing"),
        (["--writing"], False, f"not ready for writing: {UNREADY}"),
        (["--startup"], True, "started"),
        (["--startup"], False, "not started: postgres: PostgreSQL cannot be reached"),
        (["--live"], False, "alive"),
    ],
)
def test_health_says_one_sentence(tmp_path: Path, options: list[str], well: bool, sentence: str) -> None:
    with asked(tmp_path, health=report(ready=well), startup=start(started=well)) as ask:
        told = ask(*options)
    assert (told.output, told.exit_code) == (f"{sentence}\n", int(sentence.startswith("not ")))


def test_health_without_kafka_is_ready_for_reading_alone(tmp_path: Path) -> None:
    """As a container's health check asks, and as the whole is asked for; `orders status` speaks of the whole."""
    unavailable = ReadinessPart(ok=False, reason="Kafka does not answer in time")
    with asked(tmp_path, health=report(ready=True, kafka=unavailable)) as ask:
        assert (ask().output, ask("--writing").exit_code) == ("ready\n", 1)
    with serving(plain_app(health=report(ready=True, kafka=unavailable)), None) as (_, port):
        whole = ask_ready(f"http://127.0.0.1:{port}")
    assert (whole.ready, whole.missing) == (False, "kafka: Kafka does not answer in time")


@pytest.mark.parametrize("well", [True, False])
def test_health_prints_the_body_for_programs(tmp_path: Path, well: bool) -> None:
    with asked(tmp_path, health=report(ready=well)) as ask:
        told = ask("--json")
    assert json.loads(told.output)["ready"] is well
    assert json.loads(told.output)["parts"]["postgres"]["ok"] is well
    assert told.exit_code == int(not well)


def test_another_answer_than_those_of_the_service_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "fetch", lambda *_: (502, b"<html>"))
    assert probe.ask("http://h:1", "ready").sentence == "not ready: http://h:1 answered 502"


def test_wrong_usage_of_health_is_reported(tmp_path: Path) -> None:
    with asked(tmp_path) as ask:
        assert ask("--ready").exit_code == 2
