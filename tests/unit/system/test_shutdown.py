"""Asking a process to stop: signals, shares of the time for it, and the end of a parent."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.system.shutdown import SIGNALS, STOP_SECONDS, StopRequested, StopSignal


@pytest.fixture
def handlers() -> Iterator[None]:
    """Puts back what the process does with signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_the_wait_and_every_later_one() -> None:
    stop = StopSignal()
    stop.listen()
    assert not stop.wait(0)
    stop.check()
    signal.raise_signal(signal.SIGTERM)
    assert stop()
    assert stop.wait(60)
    assert stop.wait(60)
    with pytest.raises(StopRequested):
        stop.check()


@pytest.mark.usefixtures("handlers")
def test_a_hangup_that_was_ignored_stays_ignored() -> None:
    # What nohup does with SIGHUP.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopSignal()
    stop.listen()
    signal.raise_signal(signal.SIGHUP)
    assert not stop()


@pytest.mark.usefixtures("handlers")
def test_an_interrupt_that_was_ignored_is_heard() -> None:
    """What a script's shell does to `orders run &`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopSignal()
    stop.listen()
    signal.raise_signal(signal.SIGINT)
    assert stop()


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_leaves_no_time() -> None:
    stop = StopSignal(Hand())
    stop.listen()
    signal.raise_signal(signal.SIGINT)
    assert stop.left(0.5) == pytest.approx(STOP_SECONDS / 2)
    signal.raise_signal(signal.SIGINT)
    assert stop.left(1.0) == 0


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_ends_the_drain_and_leaves_the_time_for_stopping() -> None:
    stop = StopSignal()
    stop.listen()
    signal.raise_signal(signal.SIGTERM)
    second = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
    second.start()
    stop.drain(60, lambda: False)
    second.join()
    assert stop.left(1.0) > STOP_SECONDS - 5
    assert not stop.pressed
    signal.raise_signal(signal.SIGTERM)
    assert stop.left(1.0) == 0


@pytest.mark.usefixtures("handlers")
def test_the_time_for_stopping_begins_after_the_drain() -> None:
    clock = Hand()
    stop = StopSignal(clock)
    stop.listen()
    signal.raise_signal(signal.SIGTERM)

    def passes() -> bool:
        clock.now += 10
        return False

    stop.drain(20, passes)
    assert clock.now == 120
    assert stop.left(1.0) == STOP_SECONDS


def test_a_drain_ends_when_nobody_is_left() -> None:
    stop = StopSignal()
    stop.begin()
    stop.drain(60, lambda: True)
    assert stop.left(1.0) > STOP_SECONDS - 5


@given(st.floats(0, 1), st.floats(0, 30))
def test_what_is_left_runs_from_the_beginning_of_the_stop_and_never_below_zero(share: float, passed: float) -> None:
    clock = Hand()
    stop = StopSignal(clock)
    stop.begin()
    clock.now += passed
    stop.begin()
    assert stop.left(share) == pytest.approx(max(share * STOP_SECONDS - passed, 0), abs=1e-6)
    assert stop.begun
    assert not stop()


def test_a_process_ends_with_its_parent() -> None:
    code = "import sys, threading; from orders.system.shutdown import end_with; end_with(int(sys.argv[1]))"
    code += "; threading.Event().wait()"
    ours, theirs = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code, str(ours)], pass_fds=[ours]) as child:
        os.close(ours)
        assert child.poll() is None
        os.close(theirs)
        assert child.wait(10) == 1


def test_a_process_ends_by_the_signal_that_it_obeys() -> None:
    code = (
        "from orders.system.shutdown import *; s = StopSignal(); s.listen(); print('!', flush=True); "
        "s.wait(60); s.obey()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM
