"""Lifetimes of a service under its guard, shown on a stand-in that is a real process."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from orders.embedded import Progress
from orders.errors import StartError
from support.processes import is_gone
from support.standin import HOPELESS, KIND, NEVER_READY, STUBBORN, AtOnce, Lines, StandIn, started_by_another
from support.waiting import wait_for


@pytest.fixture
def service(tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path)
    yield stand_in
    stand_in.stop()


def gone(pid: int | None) -> bool:
    return pid is None or is_gone(pid)


def pid_of(service: StandIn) -> int:
    assert service.pid is not None
    return service.pid


def test_start_and_stop(service: StandIn) -> None:
    """What was started runs until it is stopped, and stopping twice is harmless."""
    service.start()
    pid = pid_of(service)
    assert service.running()
    service.stop()
    assert gone(pid)
    assert (service.running(), service.pid) == (False, None)
    service.stop()


def test_its_process_is_known_after_a_start_also_where_it_is_ready_at_once(tmp_path: Path) -> None:
    service = AtOnce(tmp_path)
    service.start()
    assert not gone(pid_of(service))
    service.stop()


def test_nobody_else_may_enter_the_directory(service: StandIn, tmp_path: Path) -> None:
    service.start()
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_it_has_a_session_of_its_own(service: StandIn) -> None:
    """A signal to our process group, as Ctrl-C sends it, reaches neither the service nor its guard."""
    service.start()
    pid = pid_of(service)
    guard = psutil.Process(pid).ppid()
    ours = os.getsid(0)
    assert ours not in {os.getsid(pid), os.getsid(guard)}
    assert os.getpgrp() not in {os.getpgid(pid), os.getpgid(guard)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_guard_stays_when_a_terminal_or_a_shutdown_tells_it_to_end(service: StandIn, number: int) -> None:
    service.start()
    guard = psutil.Process(pid_of(service)).parent()
    assert guard is not None
    guard.send_signal(number)
    service.stop()  # would leave the service behind, were the guard gone
    assert not guard.is_running()


def test_what_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    service = StandIn(tmp_path, STUBBORN)
    service.start()
    pid = pid_of(service)
    service.stop()
    assert gone(pid)


def test_an_end_by_itself_is_noticed_and_it_starts_again(service: StandIn) -> None:
    service.start()
    os.kill(pid_of(service), signal.SIGKILL)
    wait_for(lambda: not service.running(), "its end")
    service.start()
    assert service.running()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_service_ends_with_the_one_who_started_it(tmp_path: Path, number: int) -> None:
    with started_by_another("stand-in", tmp_path) as (starter, pid):
        os.kill(starter.pid, number)
        wait_for(lambda: gone(pid), "the end of the service", KIND.grace + 5)


@pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere nothing ends a service whose guard was killed")
def test_the_service_ends_with_its_guard(service: StandIn) -> None:
    service.start()
    pid = pid_of(service)
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    wait_for(lambda: gone(pid), "the end of the service")


def test_what_an_earlier_start_left_is_ended_and_told(tmp_path: Path) -> None:
    """The next start finds the process by the directory's file and ends it, even one that must be killed."""
    left, service, lines = StandIn(tmp_path, STUBBORN), StandIn(tmp_path), Lines()
    left.start()
    pid = pid_of(left)
    service.start(lines)
    assert gone(pid)
    assert f"ended a stand-in that an earlier start left (process {pid})" in lines.told
    assert pid_of(service) != pid
    left.stop()
    service.stop()


@pytest.mark.parametrize("text", ["{0} {0}", "x", "", "999999999 999999998"])
def test_a_process_that_is_not_ours_is_left_alone(service: StandIn, tmp_path: Path, text: str) -> None:
    """A file of ids may be old: its numbers are another's by now, here the test's own."""
    (tmp_path / "pids").write_text(text.format(os.getpid()))
    lines = Lines()
    service.start(lines)
    assert lines.told == ["starting the stand-in"]


def test_what_cannot_start_is_tried_again_and_its_last_words_are_reported(tmp_path: Path) -> None:
    service = StandIn(tmp_path, HOPELESS)
    with pytest.raises(StartError, match="stand-in does not start: FATAL: there is no hope"):
        service.start()
    assert (tmp_path / "output.log").read_text().count("no hope") == 3
    assert not service.running()


def test_what_the_kernel_killed_lacked_memory(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"stand-in does not start: it was killed, .*: there is too little memory"):
        StandIn(tmp_path, "import os; os.kill(os.getpid(), 9)").start()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            subprocess.TimeoutExpired(["/opt/java/bin/java", "-cp"], 60),
            "java took longer than 60 s: is the machine busy?",
        ),
        (OSError(28, "No space left on device", "/data/ports"), "No space left on device: /data/ports: make room on"),
        (PermissionError(13, "Permission denied", "/opt/java"), "Permission denied: /opt/java: see the logs in"),
    ],
)
def test_a_start_that_breaks_off_is_one_sentence(tmp_path: Path, error: Exception, told: str) -> None:
    class Broken(StandIn):
        def _start(self, report: Progress) -> None:
            report.step("starting the stand-in")
            raise error

    with pytest.raises(StartError, match=f"^stand-in cannot be started: {re.escape(told)}"):
        Broken(tmp_path).start()


def test_a_start_is_given_up_when_another_thread_stops_it(tmp_path: Path) -> None:
    """A service that is never ready ends at once, not at the deadline of its start."""
    service = StandIn(tmp_path, NEVER_READY)
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(service.start)
        pid = wait_for(lambda: service.pid, "a process")
        service.stop()
        with pytest.raises(StartError):
            start.result(10)
    assert gone(pid)
    assert not service.running()


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="stand-in cannot be started"):
        StandIn(tmp_path / "file" / "directory").start()


def test_logs_begin_again_and_the_last_ones_are_kept(service: StandIn, tmp_path: Path) -> None:
    (tmp_path / "output.log").write_text("of the start before")
    service.start()
    assert (tmp_path / "output.log").read_text() == ""
    assert (tmp_path / "output.old").read_text() == "of the start before"
