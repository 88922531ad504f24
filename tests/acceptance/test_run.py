"""The whole system as a newcomer starts it: `orders run`, its commands, its signals, its ends."""

import json
import os
import signal
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from orders.sample import samples
from support.services import open_folder
from support.system import System, calls, left_of, orders, running
from support.waiting import wait_for

ORIGINAL = Path(__file__).resolve().parents[2] / "src" / "orders" / "original.json"
UID = "b563feg7bdg3286ttjr67siej"


def test_an_order_outlives_a_killed_supervisor_and_a_second_start_serves_it() -> None:
    # On embedded services: the two calls that are printed, kill -9, nothing left, the same order after the next start.
    """Takes over 10 s: two starts of PostgreSQL and Kafka."""
    with open_folder() as folder:
        data = folder / "data"
        with running(data) as first:
            post, get = calls(first.said)
            assert post[2] == f"{first.url}/orders"
            assert get[2] == f"{first.url}/orders/{UID}"
            posted = first.request("POST", "/orders", post[post.index("-d") + 1].encode())
            assert posted == (201, {"message": "Order processed and saved successfully"})
            found = first.request("GET", f"/orders/{UID}")
            assert found == (200, {"order": {"id": 1} | json.loads(ORIGINAL.read_bytes())})
            assert (data / "state.json").stat().st_mode & 0o777 == 0o600
            password = (data / "postgres" / "password").read_text().strip()
            assert password not in first.said + (data / "state.json").read_text() + str(first.status())

            first.process.kill()
            wait_for(lambda: not left_of(data), "an end of all processes", deadline=15)

        with running(data) as second:
            assert second.request("GET", f"/orders/{UID}") == found
            assert second.stop(signal.SIGINT) < 10
            assert second.process.returncode == -signal.SIGINT
            assert left_of(data) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_signal_stops_everything_in_time(addresses: list[str], number: int) -> None:
    with open_folder() as folder, running(folder / "data", addresses) as system:
        memory = Path(json.loads((system.data / "state.json").read_bytes())["settings"]["memory_path"])
        assert memory.exists()
        assert system.stop(number) < 10
        assert system.process.returncode == -number
        assert left_of(system.data) == []
        assert not memory.parent.exists()
        assert "Traceback" not in system.said


def test_a_signal_during_the_start_leaves_nothing() -> None:
    with open_folder() as folder:
        system = System(folder / "data")
        wait_for(lambda: "starting Kafka" in system.said or system.process.poll(), "a start", deadline=60)
        assert system.stop() < 10
        assert system.process.returncode == -signal.SIGTERM
        assert left_of(system.data) == []
        assert "Traceback" not in system.said


@pytest.mark.parametrize("kind", ["serve", "ingest", "keep"])
def test_a_killed_process_is_started_again_and_the_others_stay(system: System, kind: str) -> None:
    before = wait_for(lambda: all_running(system), "all run")
    assert before
    os.kill(before[kind][0], signal.SIGKILL)
    wait_for(lambda: system.pids(kind) not in ([], before[kind]), "another process", deadline=10)
    wait_for(lambda: system.status()["ready"], "readiness", deadline=20)
    others = {each: system.pids(each) for each in before if each != kind}
    assert others == {each: pids for each, pids in before.items() if each != kind}
    assert restarts(system, kind) >= 1


def restarts(system: System, kind: str) -> float:
    """How often /metrics says that a kind was started again."""
    with urllib.request.urlopen(f"{system.url}/metrics") as answer:  # noqa: S310 - the system's own address
        lines = answer.read().decode().splitlines()
    (line,) = (line for line in lines if line.startswith(f'orders_process_restarts_total{{kind="{kind}"}} '))
    return float(line.split()[-1])


def all_running(system: System) -> dict[str, list[int]] | None:
    """Process ids by kind; None while one of them is about to be started again."""
    found = {kind: system.pids(kind) for kind in ("serve", "ingest", "keep")}
    return found if all(found.values()) else None


def test_an_ingest_that_dies_again_and_again_does_not_take_http_down(system: System) -> None:
    serve = system.pids("serve")
    seen: set[int] = set()
    while len(seen) < 4:
        (pid,) = wait_for(lambda: [pid for pid in system.pids("ingest") if pid not in seen])
        os.kill(pid, signal.SIGKILL)
        seen.add(pid)
        assert system.request("GET", "/livez")[0] == 200
    assert system.pids("serve") == serve
    wait_for(lambda: system.status()["ready"], "readiness", deadline=20)


def test_commands_find_the_running_system(system: System) -> None:
    # sample | send, get, dead-letters and status, as one would type them; what is shown holds nothing personal.
    good = list(samples(30, seed=5))
    sent = orders(system.data, "send", "--as-is", "-", given=b"\n".join([*good, b"no JSON: Test Testov", b""]))
    assert sent.returncode == 0
    assert sent.stderr.startswith(b"31 sent to Kafka, 1 of them without an order_uid\n")
    uid = json.loads(good[-1])["order_uid"]
    wait_for(lambda: orders(system.data, "get", uid).returncode == 0, "the last order", deadline=20)
    assert json.loads(orders(system.data, "get", uid).stdout)["order"] | {"id": 0} == json.loads(good[-1]) | {"id": 0}
    assert b"OrderID" in orders(system.data, "get", uid, "--view", "original").stdout

    dead_letters = orders(system.data, "dead-letters", "list", "--json", "--limit", "1", *dsn_of(system))
    assert json.loads(dead_letters.stdout)["reason"] == "Invalid JSON: invalid character at byte 1 (line 1, column 2)"
    assert b"Testov" not in dead_letters.stdout

    wait_for(lambda: system.status()["lag"] == 0, "no lag", deadline=20)
    status = system.status()
    assert {process["kind"] for process in status["processes"]} == {"run", "serve", "ingest", "keep"}
    assert status["http"]["url"] == system.url
    assert status["restore"]["ok"]


def dsn_of(system: System) -> list[str]:
    """The password of a given PostgreSQL is known to who gave it; the state does not hold it."""
    options = system.process.args
    assert isinstance(options, list)
    at = options.index("--postgres-dsn")
    return [str(option) for option in options[at : at + 2]]


def test_a_second_run_in_the_same_directory_names_the_first(system: System) -> None:
    second = orders(system.data, "run")
    assert second.returncode == 1
    assert second.stderr.decode().startswith(f"orders: {system.data} is in use by process {system.process.pid}: ")
    assert second.stderr.count(b"\n") == 1


def test_a_missing_topic_is_one_sentence_with_the_command(addresses: list[str], tmp_path: Path) -> None:
    refused = orders(tmp_path, "run", *addresses, "--kafka-topic", "missing")
    assert refused.returncode == 1
    assert b"topic 'missing' does not exist: make it with `orders topics create`" in refused.stderr
    assert refused.stderr.count(b"\n") == 1


def test_an_unknown_order_is_one_sentence(system: System) -> None:
    unknown = orders(system.data, "get", "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, b"orders: there is no order nobody\n")


def test_without_a_running_system_commands_say_how_to_start_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        commands = [("status",), ("send", "-"), ("get", "x", "--http-port", str(free_port(stack)))]
        answers = [orders(tmp_path, *command, given=b"") for command in commands]
    assert [answer.returncode for answer in answers] == [1, 2, 1]
    assert all(b"orders run" in answer.stderr for answer in answers[1:])


def free_port(stack: ExitStack) -> int:
    """A port that is bound and never answers."""
    held = stack.enter_context(socket.socket())
    held.bind(("127.0.0.1", 0))
    return int(held.getsockname()[1])
