"""Threads and background tasks: none dies unseen, and a process does not outlive one of its own."""

import ast
import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
from structlog.testing import capture_logs

from orders import threads
from orders.api.health import Health
from orders.api.reader import Putter
from orders.api.startup import Startup
from orders.api.waiting import Joiner, Outcomes
from orders.dead_letters import copies
from orders.kafka.producer import Headers
from orders.kafka.topic import TopicSnapshot, TopicWatch
from orders.memory.shared import Put
from orders.metrics.files import totals
from orders.metrics.table import LAYOUT, LOST, private, shared
from orders.postgres import indexes
from orders.record import RecordCoordinates
from orders.settings import Settings
from orders.system.shutdown import end_with
from support.waiting import wait_for

SOURCE = Path(threads.__file__).parent
FAIL = "def fail(): raise ValueError('Test Testov')\n"
LOGS = (
    "from orders import logs, threads; import asyncio, structlog, threading\nlogs.configure('keep', 'info', 'json')\n"
)
TASK = """
async def lost(): fail()
async def main():
    task = threads.background('outcomes', lost())
    await asyncio.Event().wait()
asyncio.run(main())
"""
AGAIN = "for _ in range(9): structlog.get_logger().info('again')\n"


def run(code: str) -> tuple[int, str]:
    """Exit status and standard error of a process."""
    done = subprocess.run([sys.executable, "-c", FAIL + code], capture_output=True, check=False, text=True, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("code", "action", "name"),
    [
        ("threads.start('copies', fail); threading.Event().wait()", "thread_ended", ("thread", "copies")),
        (TASK, "task_ended", ("task", "outcomes")),
    ],
)
def test_a_process_ends_with_its_thread_or_task_and_says_why(code: str, action: str, name: tuple[str, str]) -> None:
    """With the places that the exception passed, without its text; what the log held back is written before."""
    status, said = run(LOGS + AGAIN + code)
    *_, ended, suppressed = [json.loads(line) for line in said.splitlines()]
    assert status == threads.CRASHED
    assert (ended["action"], ended["level"], ended[name[0]]) == (action, "error", name[1])
    assert ended["exception"].startswith("ValueError at <string>:1 < ")
    assert "Testov" not in said
    assert (suppressed["action"], suppressed["lines"]) == ("lines_suppressed", 4)


def test_a_thread_of_a_library_is_logged_and_the_process_continues() -> None:
    status, said = run(LOGS + "one = threading.Thread(target=fail, name='theirs'); one.start(); one.join()")
    (ended,) = [json.loads(line) for line in said.splitlines()]
    assert (status, ended["action"], ended["thread"]) == (0, "thread_ended", "theirs")


def test_a_command_has_one_sentence_for_it() -> None:
    """It has no logs."""
    status, said = run("from orders import threads; import threading\nthreads.start('producer', fail).join()")
    assert (status, said) == (threads.CRASHED, "orders: a bug ended the thread 'producer' (ValueError)\n")


def test_lost_threads_are_counted_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file of the process, which outlives it."""
    monkeypatch.setattr(threads.HOOKS, "counted", threads.nobody)
    shared(tmp_path / "memory")
    with capture_logs():
        for name in ("putter", "outage", "putter", "theirs"):
            threads.thread_lost(name, ValueError())
    cells = totals(tmp_path / "memory", LAYOUT, private())
    found = {name: cells[LAYOUT.place(LOST, name)] for name in LOST.rows}
    assert {name: count for name, count in found.items() if count} == {"putter": 2, "outage": 1, "other": 1}


# ---- an exception planted in each of them ----


@pytest.fixture
def lost(process_ends: list[str]) -> Iterator[Callable[[], list[str]]]:
    """What the process would have ended for, once it would have."""
    with capture_logs() as logs:

        def names() -> list[str]:
            wait_for(lambda: process_ends, "the end of the process")
            process_ends.clear()
            assert all(isinstance(each["exc_info"], Exception) for each in logs)
            return [str(each.get("thread", each.get("task"))) for each in logs if each["event"].endswith("_ended")]

        yield names


Lost = Callable[[], list[str]]


def bug(*_: object) -> NoReturn:
    raise ZeroDivisionError


async def async_bug(*_: object) -> NoReturn:
    raise ZeroDivisionError


class Topic:
    """A producer that is not asked for anything."""

    topic = "copies"

    def __init__(self, *_: object) -> None: ...
    def produce(self, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: Any) -> None: ...
    def flush(self, timeout: float = -1) -> int:
        return int(timeout * 0)


def test_copies(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "OrderProducer", Topic)
    monkeypatch.setattr(copies, "connect", bug)
    with copies.copying(Settings(dead_letters_topic="copies"), lambda: False):
        assert lost() == ["copies"]


def test_indexes(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "connect_builder", bug)
    with indexes.building(Settings(), lambda: False):
        assert lost() == ["indexes"]


class Broken:
    """Memory with a bug."""

    def put(self, puts: list[Put], as_of: float) -> int:
        raise ZeroDivisionError(puts, as_of)


def test_putter(lost: Lost) -> None:
    Putter(Broken()).offer([], 0.0)  # type: ignore[arg-type] # a list is a sequence
    assert lost() == ["putter"]


def test_parent(lost: Lost) -> None:
    """A process that cannot see the end of its parent would outlive it."""
    end_with(os.sysconf("SC_OPEN_MAX"))  # no descriptor has this number
    assert lost() == ["parent"]


def test_outcomes(lost: Lost) -> None:
    assert asyncio.run(Outcomes(async_bug, lambda: 0.0).wait(RecordCoordinates("t", 0, 0), 0.2)) is None
    assert lost() == ["outcomes"]


def test_questions(lost: Lost) -> None:
    """What `fetch` raises its callers get; a bug after it nobody would."""

    async def nonsense(_: object) -> Any:
        return []

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Joiner(nonsense).get("key"), 0.2)

    asyncio.run(ask())
    assert lost() == ["questions"]


def test_topic(lost: Lost) -> None:
    """A look at the topic that no request waits for."""
    now = 0.0

    def look() -> TopicSnapshot:
        return bug() if now else TopicSnapshot("t", {})

    async def ask() -> None:
        nonlocal now
        watch = TopicWatch(look, lambda: now)
        assert await watch.identity() == "t"
        now = 1e6
        assert await watch.identity() == "t"
        with pytest.raises(ZeroDivisionError):
            await watch._looking  # type: ignore[misc]

    asyncio.run(ask())
    assert lost() == ["topic"]


def test_startup(lost: Lost) -> None:
    async def watch() -> None:
        startup = Startup(async_bug, dict, lambda: 0.0)
        with pytest.raises(ZeroDivisionError):
            await threads.background("startup", startup.watch())

    asyncio.run(watch())
    assert lost() == ["startup"]


def test_outage(lost: Lost) -> None:
    async def suspect() -> None:
        health = Health(async_bug, async_bug, dict, lambda: False, ready_lag=1, clock=lambda: 0.0)
        health.suspect()
        with pytest.raises(ZeroDivisionError):
            await health._following  # type: ignore[misc]

    asyncio.run(suspect())
    assert lost() == ["outage"]


def test_every_thread_and_task_with_a_name_has_its_test_here_or_beside_its_module() -> None:
    """`producer` has it in test_producer, on Kafka's client."""
    names = {*get_args(threads.Thread), *get_args(threads.Task)} - {"producer"}
    assert {f"test_{name}" for name in names} <= globals().keys()


ELSEWHERE = {
    "doctor/examine.py": "hands on every exception as a failed check",
    "embedded/guard.py": "has the standard library alone, and ends its service where it fails",
    "logs.py": "a timer; what it would have written comes with the next line",
    "system/children.py": "hands on every exception of a start; where a stop fails, a guard ends the service",
    "system/progress_bar.py": "a timer that draws a bar",
    "system/unheard.py": "is tried again; the hook logs and counts what is no error of ours",
    "system/supervisor.py": "anyone who asks waits for it, and ends without its answer",
    "threads.py": "the place for all others",
    "api/health.py": "anyone who asks waits for it",
    "api/scrape.py": "anyone who asks waits for it",
    "timing.py": "anyone who asks waits for it; a late bug goes to the loop's handler",
}
"""Where else threads and tasks begin, and why nothing is lost there."""


def test_threads_and_tasks_begin_in_one_module() -> None:
    makers = {"Thread", "Timer", "create_task", "ensure_future"}
    found = set()
    for path in SOURCE.rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        names = {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
        if names & makers:
            found.add(path.relative_to(SOURCE).as_posix())
    assert found == ELSEWHERE.keys()


def test_the_threads_of_tests_are_as_those_of_the_service() -> None:
    """A name of a daemon: the process does not wait for it."""
    done = threading.Event()
    thread = threads.start("putter", done.set)
    assert done.wait(10)
    assert (thread.name, thread.daemon) == ("putter", True)
