"""Processes that `orders run` keeps running: our own, and the embedded services."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

import psutil
import structlog

from orders.embedded import Download, Progress
from orders.endings import ending
from orders.metrics.table import ProcessKind
from orders.system.shutdown import StopRequested, StopSignal
from orders.system.state import StartedProcess, process_of
from orders.timing import Clock, backoff, monotonic

log = structlog.get_logger()

STEADY_SECONDS = 30.0
"""Whatever ran for so long is started again without delay when it ends."""
KILLED_SECONDS = 1.0
STOPPED_SECONDS = 3.0
"""How long a signal may have stopped a process of ours before it is killed."""


class Restarts:
    """When what ended is started again: later and later while it ends soon after each start."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._waits = backoff()
        self._started_at = clock()
        self._due_at: float | None = None
        self._ended_at: float | None = None

    def started(self) -> None:
        self._started_at = self._clock()
        self._due_at = None

    def put_off(self) -> None:
        """It could not be started: later."""
        self._due_at = self._clock() + next(self._waits)

    def due(self, kind: str, how: str) -> bool:
        """Whether to start now; called while it does not run. `how` it ended goes into the log."""
        now = self._clock()
        if self._ended_at is None:
            self._ended_at = now
        if self._due_at is None:
            if now - self._started_at >= STEADY_SECONDS:
                self._waits = backoff()
            wait = next(self._waits)
            self._due_at = now + wait
            log.warning("process_ended", kind=kind, how=how, restart_seconds=round(wait, 2))
        return now >= self._due_at

    def back(self, kind: str) -> None:
        """It runs again, if it had ended."""
        if self._ended_at is not None:
            log.info("process_restarted", kind=kind, seconds=round(self._clock() - self._ended_at, 2))
            self._ended_at = None


class Child:
    """A process of ours, in a session of its own: the terminal's Ctrl-C reaches the supervisor alone.

    `restarted` gets its kind whenever it is started again.
    """

    def __init__(
        self,
        kind: ProcessKind,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        inherited: Sequence[int],
        *,
        restarted: Callable[[ProcessKind], None],
        clock: Clock = monotonic,
    ) -> None:
        self.kind = kind
        self._clock = clock
        self._stopped_at: float | None = None
        self._command = [sys.executable, "-P", "-m", "orders", kind, *arguments]  # -P: no modules of the cwd
        self._environment = environment
        self._inherited = inherited
        self._restarted = restarted
        self._restarts = Restarts()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> StartedProcess | None:
        """Names the running process."""
        return process_of(self.kind, self._process.pid) if self._process and self._process.poll() is None else None

    @property
    def works(self) -> bool:
        """Whether it runs, and no signal has stopped it."""
        process = self.process
        return process is not None and not is_stopped(process.pid)

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            pass_fds=self._inherited,
            start_new_session=True,
        )
        self._restarts.started()

    def tend(self) -> bool:
        """Starts it again when it ended and its time has come; whether it did."""
        if process := self.process:
            self._end_if_stopped(process.pid)
        status = None if self._process is None else self._process.poll()
        if status is None or not self._restarts.due(self.kind, ending(status)):
            return False
        try:
            self.start()
        except OSError as error:  # no memory, no more processes: HTTP continues with those that run
            log.error("process_not_started", kind=self.kind, reason=error.strerror)  # noqa: TRY400 - the reason says all
            self._restarts.put_off()
            return False
        self._restarts.back(self.kind)
        self._restarted(self.kind)
        return True

    def _end_if_stopped(self, pid: int) -> None:
        """Kills it when a signal stopped it long ago: it may hold memory's writer lock, for which all others wait."""
        if not is_stopped(pid):
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = self._clock()
        elif self._clock() - self._stopped_at >= STOPPED_SECONDS:
            log.warning("stopped_process_killed", kind=self.kind)
            os.kill(pid, signal.SIGKILL)

    def ask_to_stop(self) -> None:
        if self._process:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """Waits for its end, and kills it after `seconds`."""
        if self._process:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                log.warning("process_killed", kind=self.kind)
                self._process.kill()
                self._process.wait()


def is_stopped(pid: int) -> bool:
    """Whether a signal such as SIGSTOP stopped a process; a debugger that looks at it does not count."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def stop_all(children: Iterable[Child], seconds: float, clock: Clock = monotonic) -> None:
    """Stops children of one kind together; what runs after `seconds` is killed."""
    together, until = list(children), clock() + seconds
    for child in together:
        child.ask_to_stop()
    for child in together:
        child.stop(max(until - clock(), 0.0))


class StartableService(Protocol):
    """An embedded service; `start` blocks and raises `StartError`."""

    @property
    def pid(self) -> int | None: ...
    @property
    def ending(self) -> str: ...
    def running(self) -> bool: ...
    def start(self, report: Progress | None = None) -> None: ...
    def stop(self) -> None: ...


class Embedded:
    """An embedded service whose starts continue in a thread, so that the supervisor continues listening.

    It stands between the service and who hears of its progress: there a start is given up when it is to stop.
    `restarted` gets the kind whenever it is started again.
    """

    def __init__(
        self,
        kind: ProcessKind,
        name: str,
        service: StartableService,
        report: Progress,
        stop: StopSignal,
        *,
        restarted: Callable[[ProcessKind], None],
    ) -> None:
        self.kind = kind
        self.name = name
        self._service = service
        self._report = report
        self._stop = stop
        self._restarted = restarted
        self._restarts = Restarts()
        self._doing, self._since = "", monotonic()
        self._starting: threading.Thread | None = None
        self._failure: BaseException | None = None

    def step(self, text: str) -> None:
        """A step of a start; raises `StopRequested` instead when it is to stop."""
        if self._stop.begun:
            raise StopRequested
        self._report.step(text)
        self._doing, self._since = text, monotonic()

    @property
    def doing(self) -> str:
        """The last step of a start that continues; empty when none does."""
        return self._doing if self._starting and self._starting.is_alive() else ""

    @property
    def seconds(self) -> float:
        """How long ago that step began."""
        return monotonic() - self._since

    def download(self, total: int) -> AbstractContextManager[Download]:
        """A download of a start."""
        return self._report.download(total)

    @property
    def process(self) -> StartedProcess | None:
        """Names the running process."""
        pid = self._service.pid
        return None if pid is None else process_of(self.kind, pid)

    def start(self) -> None:
        """Begins a start."""
        self._failure = None
        self._starting = threading.Thread(target=self._start, name=f"start {self.kind}", daemon=True)
        self._starting.start()

    def _start(self) -> None:
        try:
            self._service.start(self)
        except Exception as error:  # noqa: BLE001 - it is raised again, in the thread that asks
            self._failure = error

    def is_up(self) -> bool:
        """Whether the start has finished; raises what it failed with."""
        if self._starting and self._starting.is_alive():
            return False
        if self._failure:
            raise self._failure
        self._restarts.started()
        return True

    def tend(self) -> bool:
        """Begins another start when the service ended and its time has come; whether one began or has finished."""
        if self._starting:
            return self._is_finished(self._starting)
        if self._service.running() or not self._restarts.due(self.kind, str(self._failure or self._service.ending)):
            return False
        self._restarts.started()
        try:
            self.start()
        except RuntimeError as error:  # there is no room for another thread
            log.error("process_not_started", kind=self.kind, reason=str(error))  # noqa: TRY400 - the reason says all
            self._starting = None
            self._restarts.put_off()
            return False
        self._restarted(self.kind)
        return True

    def _is_finished(self, starting: threading.Thread) -> bool:
        if starting.is_alive():
            return False
        self._starting = None
        if self._failure is None:
            self._restarts.back(self.kind)
        return True

    def stop(self, seconds: float) -> None:
        """Stops it, also in the middle of a start; kills it after `seconds`."""
        ending = threading.Thread(target=self._end, name=f"stop {self.kind}", daemon=True)
        ending.start()
        ending.join(seconds)
        if ending.is_alive() and (pid := self._service.pid):
            log.warning("process_killed", kind=self.kind)
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
            ending.join(KILLED_SECONDS)

    def _end(self) -> None:
        self._service.stop()
        while self._starting and self._starting.is_alive():  # a start may try once more before it gives up
            self._starting.join(0.1)
            self._service.stop()


def wait_until_up(services: Sequence[Embedded], stop: StopSignal, report: Callable[[Embedded], None]) -> None:
    """Starts services at the same time and waits for all; raises the first failure, or `StopRequested`."""
    for service in services:
        service.start()
    waiting = list(services)
    while waiting:
        for service in [each for each in waiting if each.is_up()]:
            report(service)
            waiting.remove(service)
        stop.wait(0.05)
        stop.check()
