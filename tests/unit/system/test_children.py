"""Keeping processes running: when they are started again, and that they end when they are asked to, or have to."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import cast

import pytest
from structlog.testing import capture_logs

from orders.embedded import Progress, Silent
from orders.errors import StartError
from orders.metrics.table import ProcessKind
from orders.system.children import (
    STEADY_SECONDS,
    STOPPED_SECONDS,
    Child,
    Embedded,
    Restarts,
    is_stopped,
    stop_all,
    wait_until_up,
)
from orders.system.shutdown import StopRequested, StopSignal
from orders.timing import Clock
from support.waiting import wait_for


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def waits(restarts: Restarts, clock: Hand) -> float:
    """Ends it now; how long until it is started again."""
    ended = clock.now
    while not restarts.due("kind", "status 1"):
        clock.now += 0.01
    restarts.started()
    return clock.now - ended


class Hanging:
    """A child that does not end before it is killed."""

    def __init__(self, clock: Hand) -> None:
        self._clock = clock
        self.asked = False

    def ask_to_stop(self) -> None:
        self.asked = True

    def stop(self, seconds: float) -> None:
        assert self.asked
        self._clock.now += seconds


def test_children_that_hang_have_one_deadline_together() -> None:
    clock = Hand()
    stop_all([cast("Child", Hanging(clock)) for _ in range(3)], 2.0, clock)
    assert clock.now == 2.0


def test_a_child_that_cannot_be_started_again_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no room for another process the supervisor continues, and HTTP with it."""
    clock, restarted = Hand(), list[ProcessKind]()
    one = child("raise SystemExit(1)", restarted.append)
    one._restarts = Restarts(clock)
    wait_for(lambda: one.process is None, "its end")

    def no_room() -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    begin = one.start
    monkeypatch.setattr(one, "start", no_room)
    assert not one.tend()
    clock.now += STEADY_SECONDS
    with capture_logs() as logs:
        assert not one.tend()
    assert [(each["event"], each["reason"]) for each in logs] == [
        ("process_not_started", "Resource temporarily unavailable")
    ]
    assert not one.tend(), "not at once"
    monkeypatch.setattr(one, "start", begin)
    clock.now += STEADY_SECONDS
    assert one.tend()
    assert restarted == ["serve"]
    one.stop(10)


def test_what_ends_again_and_again_is_started_later_and_later() -> None:
    clock = Hand()
    restarts = Restarts(clock)
    seen = [waits(restarts, clock) for _ in range(10)]
    assert seen[0] <= 0.11
    assert 2.5 <= seen[-1] <= 5.01
    clock.now += STEADY_SECONDS + 1
    assert waits(restarts, clock) <= 0.11


def child(code: str, restarted: Callable[[ProcessKind], None] = print, clock: Clock = time.monotonic) -> Child:
    """A child that runs Python code instead of a command of ours."""
    made = Child("serve", [], dict(os.environ), [], restarted=restarted, clock=clock)
    made._command = [sys.executable, "-c", code]
    made.start()
    return made


def test_a_child_that_ended_is_started_again_and_that_is_counted() -> None:
    """How it ended is logged with the name of the signal, and that it runs again."""
    restarts: list[ProcessKind] = []
    made = child("import threading; threading.Event().wait()", restarts.append)
    first = made.process
    assert first
    assert not made.tend()
    with capture_logs() as logs:
        os.kill(first.pid, signal.SIGKILL)
        wait_for(made.tend)
    assert [(each["event"], each.get("how")) for each in logs] == [
        ("process_ended", "signal SIGKILL"),
        ("process_restarted", None),
    ]
    assert logs[1]["seconds"] >= 0
    assert made.process not in (None, first)
    assert restarts == ["serve"]
    stop_all([made], 5)
    assert made.process is None


def test_a_child_that_exits_is_logged_with_its_status() -> None:
    made = child("raise SystemExit(3)")
    wait_for(lambda: made.process is None, "its end")
    with capture_logs() as logs:
        made.tend()
    assert [each["how"] for each in logs] == ["status 3"]


def test_children_of_one_kind_stop_together_and_who_does_not_listen_is_killed() -> None:
    deaf = "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); threading.Event().wait()"
    children = [child(deaf), child("import threading; threading.Event().wait()")]
    began = time.monotonic()
    stop_all(children, 0.2)
    assert time.monotonic() - began < 5
    assert [each.process for each in children] == [None, None]


def test_a_child_that_a_signal_stopped_is_killed_after_a_while_and_started_again() -> None:
    clock = Hand()
    made = child("import threading; threading.Event().wait()", clock=clock)
    first = made.process
    assert first
    stop(made, first.pid)
    clock.now += STOPPED_SECONDS
    wait_for(made.tend)
    assert made.process not in (None, first)
    stop_all([made], 5)


def test_a_child_that_continued_in_time_is_left_alone() -> None:
    clock = Hand()
    made = child("import threading; threading.Event().wait()", clock=clock)
    first = made.process
    assert first
    for _ in range(2):
        stop(made, first.pid)
        clock.now += STOPPED_SECONDS / 2
        os.kill(first.pid, signal.SIGCONT)
        wait_for(lambda: not is_stopped(first.pid))
        assert not made.tend()
        clock.now += STOPPED_SECONDS
    assert made.process == first
    stop_all([made], 5)


def stop(stopped: Child, pid: int) -> None:
    """Stops a child by a signal, and has that seen."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(pid))
    assert not stopped.tend()


class Service:
    """An embedded service that starts and ends as it is told."""

    ending = "signal SIGKILL"

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.up = False
        self.pid: int | None = None
        self.starts = 0

    def running(self) -> bool:
        return self.up

    def start(self, report: Progress | None = None) -> None:
        self.starts += 1
        assert report
        report.step("starting")
        if self.failure:
            raise self.failure
        self.up = True

    def stop(self) -> None:
        self.up = False


def embedded(service: Service, stop: StopSignal, restarted: Callable[[ProcessKind], None] = print) -> Embedded:
    return Embedded("kafka", "Kafka", service, Silent(), stop, restarted=restarted)


def test_services_start_together_and_each_is_reported_when_it_is_up() -> None:
    services, stop = [Service(), Service()], StopSignal()
    told: list[Embedded] = []
    kept = [embedded(service, stop) for service in services]
    wait_until_up(kept, stop, told.append)
    assert all(service.up for service in services)
    assert set(told) == set(kept)


def test_a_service_that_cannot_start_says_why() -> None:
    with pytest.raises(StartError, match="no jars"):
        wait_until_up([embedded(Service(StartError("no jars")), StopSignal())], StopSignal(), print)


def test_a_start_is_given_up_when_everything_stops() -> None:
    stop = StopSignal()
    stop.begin()
    with pytest.raises(StopRequested):
        wait_until_up([embedded(Service(), stop)], stop, print)


def test_a_service_that_ended_is_started_again_also_after_a_start_that_failed() -> None:
    service, stop = Service(), StopSignal()
    restarts: list[ProcessKind] = []
    kept = embedded(service, stop, restarts.append)
    wait_until_up([kept], stop, lambda _: None)
    service.up, service.failure = False, StartError("the port is taken")
    with capture_logs() as logs:
        wait_for(lambda: (kept.tend(), service.starts > 1)[1])
        service.failure = None
        wait_for(lambda: (kept.tend(), any(each["event"] == "process_restarted" for each in logs))[1])
    assert service.up
    hows = [each["how"] for each in logs if each["event"] == "process_ended"]
    assert hows == ["signal SIGKILL"] + ["the port is taken"] * (len(hows) - 1)
    assert len(hows) > 1
    assert logs[-1]["event"] == "process_restarted"
    assert service.starts >= 3
    assert restarts == ["kafka"] * (service.starts - 1)
    kept.stop(1)
    assert not service.up
