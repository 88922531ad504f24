"""`orders run` as a process of its own, and what there is to see of it from outside."""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from support.outputs import hold_to_model
from support.services import open_folder
from support.waiting import wait_for

START_SECONDS = 60.0
NO_FILE = {"ORDERS_SETTINGS_FILE": os.devnull}
"""A developer's own orders.toml is none of the tests'."""
ROOT = Path(__file__).resolve().parents[2]


def orders(
    data: Path, *arguments: str, given: bytes | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs one command to its end; `variables` are further ones of its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "orders", *arguments],
        env=environment(data) | dict(variables or {}),
        input=given,
        capture_output=True,
        check=False,
        timeout=START_SECONDS,
    )
    hold_to_model(arguments, done.stdout)
    return done


@contextmanager
def like_a_clone() -> Iterator[Path]:
    """A directory in which what a page says can be typed: it has the sources, and `./orders`."""
    with open_folder() as folder:
        (folder / "src").symlink_to(ROOT / "src")
        (folder / "orders").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orders "$@"\n')
        (folder / "orders").chmod(0o755)
        yield folder


def typed(folder: Path, data: Path, command: Sequence[str]) -> str:
    """What a command prints that has to end well."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(data),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def environment(data: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    return clean | {"ORDERS_DATA_DIR": str(data), "ORDERS_HTTP_PORT": "0", "PYTHONPATH": str(ROOT / "src")} | NO_FILE


def left_of(data: Path) -> list[psutil.Process]:
    """Every process that belongs to a data directory: it is named in its environment or its command."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and mentions(process, str(data))]


def mentions(process: psutil.Process, text: str) -> bool:
    with suppress(psutil.Error, OSError):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(text in word for word in (*process.cmdline(), *process.environ().values()))
    return False


def calls(said: str) -> list[list[str]]:
    """The words of each call that a start has told so far, in whole lines."""
    return [
        shlex.split(line) for line in said.splitlines(keepends=True) if line.startswith("curl ") and line[-1] == "\n"
    ]


def has_started(said: str) -> bool:
    """Whether a start has told all: it ends with two calls, or in JSON with an event."""
    return len(calls(said)) == 2 or '"action": "started"' in said


class System:
    """A system that was started with `orders run`."""

    def __init__(self, data: Path, arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.output = data.parent / f"{data.name}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orders", "run", *arguments],
                env={**environment(data), **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        place = urlsplit(self.url)
        return str(place.hostname), place.port or 0

    def wait_until_started(self) -> None:
        wait_for(lambda: has_started(self.said) or self.process.poll(), "the start", START_SECONDS)
        assert self.process.poll() is None, self.said

    def status(self) -> Any:
        return json.loads(orders(self.data, "status", "--json").stdout)

    def pids(self, kind: str) -> list[int]:
        return [process["pid"] for process in self.status()["processes"] if process["kind"] == kind]

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and decoded body."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "state.json").read_bytes())["http_url"])

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Asks it to stop; how many seconds it took."""
        asked = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20)
        return time.monotonic() - asked


@contextmanager
def running(data: Path, arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> Iterator[System]:
    """A started system; whatever is left of it in the end is killed."""
    system = System(data, arguments, variables)
    try:
        system.wait_until_started()
        yield system
        if system.process.poll() is None:
            system.stop()
    finally:
        system.process.kill()
        system.process.wait()
        for process in left_of(data):
            with suppress(psutil.NoSuchProcess):
                process.kill()
