"""A service's process: started under a guard, recognised when an earlier start left it, ended within a bounded time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from orders.embedded import guard
from orders.errors import StartError

LOG_MOST = 10 * 2**20
"""Bytes of a log above which the next start begins a new one."""
POLL = 0.05
TRIES = 3


class Kind(NamedTuple):
    """How a service is called and ended: by `stop`, and by SIGKILL when it takes longer than `grace` seconds."""

    name: str
    stop: signal.Signals
    grace: int


class Launch(NamedTuple):
    """What is started, as which user (-1: ours), with which changes of the environment."""

    command: Sequence[str | Path]
    uid: int
    environment: Mapping[str, str]


class Process:
    """At most one process of a kind, which belongs to a directory: its path is in the process's command line."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self._kind = kind
        self._directory = directory
        self._pids = directory / "pids"
        self._guard: subprocess.Popen[bytes] | None = None
        self._hold: int | None = None
        self.log = directory / "log"

    @property
    def pid(self) -> int | None:
        """The service's process id, None when it does not run."""
        found = self._found()
        return found[-1].pid if found else None

    def running(self) -> bool:
        """Whether the service that was started here runs."""
        return self._guard is not None and self._guard.poll() is None

    def start(self, make: Callable[[], Launch], ready: Callable[[], bool], seconds: float) -> None:
        """Starts what `make` gives and waits until it is `ready`.

        A service that ends at once is started again, as its port may have been taken, or what a killed one left be
        still ending. Raises `StartError` with the last line of its log.
        """
        for attempt in range(TRIES):
            time.sleep(attempt)
            self._begin(make())
            if self._wait(ready, seconds):
                return
            if self.running():
                break
        self.stop()
        raise StartError(f"{self._kind.name} does not start: {self._last_words()} (log: {self.log})")

    def _begin(self, launch: Launch) -> None:
        self.stop()
        if self.log.exists() and self.log.stat().st_size > LOG_MOST:
            self.log.unlink()
        pipe, self._hold = os.pipe()
        script = [sys.executable, "-I", "-S", guard.__file__]
        numbers = [pipe, int(self._kind.stop), self._kind.grace, launch.uid]
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [*script, *map(str, numbers), self._pids, "--", *launch.command],
                cwd=self._directory,
                env=os.environ | launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[pipe],
                start_new_session=True,
            )
        os.close(pipe)

    def _wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            if ready():
                return True
            time.sleep(POLL)
        return False

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        told = [line for line in lines if "FATAL" in line or "ERROR" in line] or lines
        return told[-1].strip()[:300] if told else "it says nothing"

    def stop(self) -> None:
        """Ends the service, if it runs, and waits for its end."""
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None
        if self._guard is not None:
            try:
                self._guard.wait(self._kind.grace + 2)
            except subprocess.TimeoutExpired:
                self._kill(self._found())
                self._guard.wait()
            self._guard = None

    def end_leftover(self) -> int | None:
        """Ends what an earlier start left running here; the process id that it had."""
        found = self._found()
        pid = found[-1].pid if found else None
        if found:
            found[-1].send_signal(self._kind.stop)
            _, alive = psutil.wait_procs(found, self._kind.grace)
            self._kill(alive)
        self._pids.unlink(missing_ok=True)
        return pid

    def _kill(self, processes: Sequence[psutil.Process]) -> None:
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, self._kind.grace)

    def _found(self) -> list[psutil.Process]:
        """The guard and the service, those that run; a number alone may be another's by now."""
        try:
            pids = [int(word) for word in self._pids.read_text().split()]
        except (FileNotFoundError, ValueError):
            return []
        return [process for process in map(_process, pids) if process and self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return any(str(self._directory) in word for word in process.cmdline())
        except psutil.Error:
            return False


def own_directory(directory: Path) -> None:
    """Makes a directory that nobody else may enter: orders are personal data."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None
