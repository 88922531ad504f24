"""A service that starts in no time, in place of PostgreSQL and Kafka, and a process that starts any of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orders.embedded import Progress, Silent
from orders.embedded.process import Launch, ServiceKind
from orders.embedded.service import EmbeddedService

KIND = ServiceKind("stand-in", stop=signal.SIGTERM, grace=1, pause=0.02)
PATIENT = "import pathlib, signal, sys; pathlib.Path(sys.argv[1], 'up').touch(); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PATIENT.replace("pause()", "pause();" * 9)
NEVER_READY = "import signal; signal.pause()"
HOPELESS = "raise SystemExit('FATAL: there is no hope')"


class StandIn(EmbeddedService):
    """Runs a piece of Python until it is told to end; ready when the file `up` is there."""

    def __init__(self, directory: Path, code: str = PATIENT) -> None:
        super().__init__(KIND, directory)
        self._code = code

    def _start(self, report: Progress) -> None:
        report.step("starting the stand-in")
        (self._directory / "up").unlink(missing_ok=True)
        command: list[str | Path] = [sys.executable, "-S", "-c", self._code, self._directory]
        self._process.start(lambda: Launch(command, -1, {}), self._is_ready, 30)

    def _is_ready(self) -> bool:
        return (self._directory / "up").exists()


class AtOnce(StandIn):
    """One that says it is ready before anybody can know which process it is."""

    def _is_ready(self) -> bool:
        return True


class Lines(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def step(self, text: str) -> None:
        self.told.append(text)


@contextmanager
def started_by_another(kind: str, directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has started a service, and the service's process id; both are gone in the end."""
    script = Path(__file__).with_name("starter.py")
    with subprocess.Popen(
        [sys.executable, script, kind, directory],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as starter:
        assert starter.stdout is not None
        try:
            yield starter, int(starter.stdout.readline())
        finally:
            starter.kill()
