"""A service's process: started under a guard, recognised when an earlier start left it, ended within a bounded time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

import psutil

from orders import ownership
from orders.embedded import guard
from orders.embedded.causes import FailureCause, cause
from orders.endings import ending_behind_guard
from orders.errors import StartError

POLL = 0.05
SLACK = 2.0
"""Seconds that a guard may take longer than its service."""
TRIES = 3


class ServiceKind(NamedTuple):
    """How a service is called and ended: by `stop`, and by SIGKILL when it takes longer than `grace` seconds.

    If it ends at once, it is started again after `pause` seconds, and after twice as many once more.
    """

    name: str
    stop: signal.Signals
    grace: int
    pause: float = 1.0


class Launch(NamedTuple):
    """What is started, as which user (-1: ours), with which changes of the environment."""

    command: Sequence[str | Path]
    uid: int
    environment: Mapping[str, str]


class ServiceProcess:
    """At most one process of a kind, which belongs to a directory: it has a file of it open (`ownership`)."""

    def __init__(self, kind: ServiceKind, directory: Path) -> None:
        self._kind = kind
        self._directory = directory
        self._pids = directory / "pids"
        self._claim = directory / ownership.CLAIM
        self._guard: subprocess.Popen[bytes] | None = None
        self._hold: int | None = None
        self._given_up = Event()
        self._ending = Lock()
        self.output = directory / "output.log"
        self.log = directory / "service.log"
        """Where the service may write what belongs to no output; both begin again at a start, `.old` is the last."""

    @property
    def pid(self) -> int | None:
        """The service's process id, None when it does not run."""
        found = self._found()
        return found[-1].pid if found else None

    def running(self) -> bool:
        """Whether the service that was started here runs."""
        running = self._guard
        return running is not None and running.poll() is None

    @property
    def ending(self) -> str:
        """How the service that was started here ended."""
        status = self._guard.poll() if self._guard else None
        return "it was never started" if status is None else ending_behind_guard(status)

    def start(self, make: Callable[[], Launch], ready: Callable[[], bool], seconds: float) -> None:
        """Starts what `make` gives and waits until it is `ready`.

        A service that ends at once is started again, as its port may have been taken, or what a killed one left be
        still ending. Raises `StartError` with what its logs say.
        """
        for log in (self.output, self.log):
            if log.exists():
                log.replace(log.with_suffix(".old"))
        self._given_up.clear()
        for attempt in range(TRIES):
            if self._given_up.wait(attempt * self._kind.pause):
                break
            self._begin(make())
            if self._wait(ready, seconds):
                return
            if self.running():
                break
        status = self._guard.poll() if self._guard else None
        self.stop()
        words, advice = self.cause(status)
        raise StartError(f"{self._kind.name} does not start: {words}: {advice}")

    def _begin(self, launch: Launch) -> None:
        self._end()
        self._claim.touch(mode=0o600)
        claim = ownership.member(self._claim)
        pipe, self._hold = os.pipe()
        numbers = [pipe, claim, int(self._kind.stop), self._kind.grace, launch.uid]
        arguments = [*map(str, numbers), self._pids, "--", *launch.command]
        try:
            with self.output.open("ab") as log:
                self._guard = subprocess.Popen(
                    [sys.executable, "-I", "-S", guard.__file__, *arguments],
                    cwd=self._directory,
                    env=os.environ | launch.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[pipe, claim],
                    start_new_session=True,
                )
        finally:
            os.close(pipe)
            os.close(claim)

    def _wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            if ready() and self.pid is not None:  # the guard writes it down a moment after the service began
                return True
            if self._given_up.wait(POLL):
                break
        return False

    def cause(self, status: int | None = None) -> FailureCause:
        """What the logs say of a start that failed; `status` is how the service ended."""
        logs = [log.read_text(errors="replace").splitlines() for log in (self.output, self.log) if log.exists()]
        return cause([line for log in logs for line in log], self._directory, status)

    def stop(self) -> None:
        """Ends the service that was started here, and waits for its end; a start in another thread is given up."""
        self._given_up.set()
        self._end()

    def _end(self) -> None:
        with self._ending:  # two threads must not close one descriptor: by the second time it may be another's
            if self._hold is not None:
                os.close(self._hold)
                self._hold = None
            if self._guard is not None:
                self._wait_for_guard(self._guard)
                self._guard = None
                self.end_leftover()

    def _wait_for_guard(self, running: subprocess.Popen[bytes]) -> None:
        try:
            running.wait(self._kind.grace + SLACK)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    def end_leftover(self) -> int | None:
        """Ends what an earlier start left running here; the process id that it had."""
        found = self._found()
        pid = found[-1].pid if found else None
        for action in (self._kind.stop, signal.SIGKILL):
            for process in found:
                _send(process, action)
            found = _wait_for_end(found, self._kind.grace)
        self._pids.unlink(missing_ok=True)
        return pid

    def _found(self) -> list[psutil.Process]:
        """The guard and the service, those that run and are of this directory."""
        try:
            pids = [int(word) for word in self._pids.read_text().split()]
        except (FileNotFoundError, ValueError):
            return []
        ours = [pid for pid in pids if ownership.belongs(pid, self._claim)]
        return [process for process in map(_process, ours) if process]


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _send(process: psutil.Process, action: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(action)


def _wait_for_end(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that are still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while processes := [process for process in processes if _is_alive(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL)
    return processes


def _is_alive(process: psutil.Process) -> bool:
    # A container's first process may never ask for the ends of those that it adopts.
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
