"""How a process ended, in words."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orders.embedded import guard
from orders.endings import ending, ending_behind_guard


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "status 0"), (3, "status 3"), (-9, "signal SIGKILL"), (-15, "signal SIGTERM"), (-50, "signal 50")],
)
def test_a_signal_is_named_and_an_exit_has_its_status(status: int, words: str) -> None:
    assert ending(status) == words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(3)", "status 3"),
        ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "signal SIGSEGV"),
    ],
)
def test_what_a_guard_saw_of_its_service_is_the_same(code: str, words: str) -> None:
    """Its exit status tells a signal as shells do."""
    pipe, hold = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        numbers = [pipe, -1, int(signal.SIGTERM), 1, -1]
        arguments = [*map(str, numbers), str(Path(folder, "pids")), "--", sys.executable, "-c", code]
        command = [sys.executable, "-I", "-S", guard.__file__, *arguments]
        status = subprocess.run(command, pass_fds=[pipe], check=False).returncode
    os.close(pipe)
    os.close(hold)
    assert ending_behind_guard(status) == words


def test_a_guard_that_cannot_watch_its_pipe_ends_its_service() -> None:
    """Nobody would end the service later."""
    nothing = os.sysconf("SC_OPEN_MAX")  # no descriptor has this number
    with tempfile.TemporaryDirectory() as folder:
        numbers = [nothing, -1, int(signal.SIGTERM), 1, -1]
        service = [sys.executable, "-c", "import threading; threading.Event().wait()"]
        arguments = [*map(str, numbers), str(Path(folder, "pids")), "--", *service]
        command = [sys.executable, "-I", "-S", guard.__file__, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, timeout=30)
    assert ending_behind_guard(done.returncode) == "signal SIGTERM"
    assert done.stderr == b"The guard cannot watch its pipe: Bad file descriptor.\n"


def test_a_guard_that_was_killed_itself_is_reported_so() -> None:
    assert ending_behind_guard(-9) == "its guard by signal SIGKILL"
