"""The service's own processes on real services, started one by one, so that a test can kill each."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx2

from orders.memory.shared import Memory
from orders.postgres.migrations import migrate
from orders.settings import Settings, environment, inherited
from support.waiting import wait_for

log = logging.getLogger(__name__)
KILLABLE = Path(__file__).with_name("killable.py")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Machine:
    """One machine: keeper, `ingests` killable ingests, one HTTP worker; restarted by the test, not by themselves.

    `logins` are more variables for the processes of a kind.
    """

    def __init__(
        self,
        folder: Path,
        dsn: str,
        bootstrap: str,
        topic: str,
        *,
        ingests: int = 2,
        protocol: Literal["classic", "consumer"] = "classic",
        logins: Mapping[str, dict[str, str]] | None = None,
        memory_bytes: int = 16 * 2**20,
    ) -> None:
        self.folder = folder
        self.settings = Settings(
            data_dir=str(folder),
            http_port=free_port(),
            kafka_bootstrap=bootstrap,
            kafka_topic=topic,
            kafka_group=f"group-{topic}",
            kafka_protocol=protocol,
            postgres_dsn=dsn,
            memory_path=str(folder / "memory"),
            memory_bytes=memory_bytes,
            post_deadline=4.0,
            log_level="error",
        )
        self._kinds = ["keep", "serve", *(f"ingest {n}" for n in range(ingests))]
        self._logins = logins or {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._said = "ready"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _begin(self) -> None:
        """Starts everything and waits until it is ready."""
        migrate(self.settings.postgres_dsn)
        Memory.create(Path(self.settings.memory_path), self.settings.memory_bytes).close()
        for kind in self._kinds:
            self.start(kind)
        wait_for(self.is_ready, "the system is ready", 60)

    def end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def begin_again(self) -> None:
        """Ends every process, and starts all again on an empty memory."""
        self.end()
        self._running.clear()
        Path(self.settings.memory_path).unlink()
        self._begin()

    def start(self, kind: str) -> None:
        variables = (
            inherited(os.environ) | environment(self.settings) | dict(self._logins.get(kind.split(maxsplit=1)[0], {}))
        )
        self._running[kind] = subprocess.Popen(self._command(kind), env=variables, stdin=subprocess.DEVNULL)

    def _command(self, kind: str) -> Sequence[str]:
        if kind.startswith("ingest"):
            number = kind.split()[1]
            return [sys.executable, str(KILLABLE), number, str(self.order(kind))]
        return [sys.executable, "-m", "orders", kind]

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command of ours with the settings of this machine to its end."""
        variables = inherited(os.environ) | environment(self.settings)
        command = [sys.executable, "-m", "orders", *words]
        return subprocess.run(command, env=variables, capture_output=True, check=False, timeout=60)

    def order(self, kind: str) -> Path:
        """The file that tells an ingest where to die."""
        return self.folder / f"die-{kind.replace(' ', '-')}"

    def at(self, kind: str, point: str, number: int = signal.SIGKILL) -> None:
        """Has an ingest send itself a signal at a named point of its next batch."""
        self.order(kind).write_text(f"{point}:{int(number)}")

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs, by kind."""
        return {kind: process.pid for kind, process in list(self._running.items()) if process.poll() is None}

    def kill(self, kind: str) -> None:
        """Ends a process with SIGKILL, now."""
        self.tell(kind, signal.SIGKILL)

    def tell(self, kind: str, number: int) -> None:
        """Sends a process a signal."""
        self._running[kind].send_signal(number)

    def status(self, kind: str) -> int | None:
        """How a process ended; None while it runs."""
        return self._running[kind].poll()

    def await_end(self, kind: str, seconds: float) -> bool:
        """Whether the process ended within `seconds`."""
        with suppress(subprocess.TimeoutExpired):
            self._running[kind].wait(seconds)
        return self._running[kind].poll() is not None

    def _tell(self, said: str) -> None:
        """For who looks at a failure: why it was not ready, and when."""
        if said != self._said:
            self._said = said
            log.warning("/readyz: %s", said)

    def is_ready(self) -> bool:
        for kind, process in self._running.items():
            assert process.poll() is None, f"{kind} ended with status {process.returncode}"
        with suppress(httpx2.TransportError):
            answer = httpx2.get(f"{self.url}/readyz?for=writing", timeout=5)
            self._tell(answer.text if answer.status_code != httpx2.codes.OK else "ready")
            return answer.status_code == httpx2.codes.OK
        return False
