"""Processes that are measured: they end with us, however we end, and say in lines of JSON how far they are."""

import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import msgspec

from orders.embedded import guard
from orders.errors import StartError
from orders.settings import Settings, environment, inherited

ROOT = Path(__file__).resolve().parent.parent
LOOK_EVERY = 0.005
DEADLINE = 300.0
GRACE = 10
LAST_WORDS = 5


class Event(NamedTuple):
    """A line of JSON that a process wrote, and when it came (`perf_counter`); empty when the process failed."""

    at: float
    child: "Child"
    said: dict[str, Any]


Events = queue.SimpleQueue[Event]


class Child:
    """A process that continues beside us and ends with us, however we end; its lines of JSON become events."""

    def __init__(
        self, name: str, folder: Path, command: Sequence[str | Path], events: Events, **variables: str
    ) -> None:
        self.name = name
        self.events = events
        self._ended = False
        self.last_words: deque[str] = deque(maxlen=LAST_WORDS)
        pipe, self._hold = os.pipe()
        pids = folder / f"{name.replace(' ', '-')}-{secrets.token_hex(4)}.pids"
        held = [str(pipe), "-1", str(int(signal.SIGTERM)), str(GRACE), "-1", str(pids)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *held, "--", *command],
                cwd=ROOT,
                env=inherited(os.environ) | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[pipe],
                start_new_session=True,
            )
        finally:
            os.close(pipe)
        self._listening = threading.Thread(target=self._listen, args=(self._process.stdout,), name=name, daemon=True)
        self._listening.start()

    @property
    def pid(self) -> int:
        """The guard that the process descends from; it does nothing while the process runs."""
        return self._process.pid

    def _listen(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                at = time.perf_counter()
                if line.startswith(b"{"):
                    self.events.put(Event(at, self, msgspec.json.decode(line)))
                self.last_words.append(line.decode(errors="replace").strip())
        if self._process.wait() and not self._ended:
            self.events.put(Event(time.perf_counter(), self, {}))

    def stop(self) -> None:
        """Ends it and waits for its end."""
        self._ended = True
        os.close(self._hold)
        try:
            self._process.wait(GRACE + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listening.join(GRACE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def service(kind: str, settings: Settings, events: Events, *options: str) -> Child:
    """A process of ours as `orders run` starts it."""
    command = [sys.executable, "-m", "orders", *kind.split(), *options]
    return Child(kind, Path(settings.data_dir), command, events, **environment(settings))


def module(name: str, folder: Path, events: Events, given: Mapping[str, object]) -> Child:
    """A process of the bench's own, which is told what to do in JSON."""
    command = [sys.executable, "-m", f"bench.{name}", msgspec.json.encode(given).decode()]
    return Child(name, folder, command, events)


def awaited(events: Events, match: Callable[[dict[str, Any]], object], seconds: float = DEADLINE) -> Event:
    """The next event that matches. Raises `StartError` when a process fails, or nothing comes in time."""
    end = time.monotonic() + seconds
    while (event := next_of(events, end - time.monotonic())) is not None:
        if match(event.said):
            return event
    raise StartError(f"nothing came within {seconds:.0f} s of what was waited for")


def next_of(events: Events, seconds: float) -> Event | None:
    """The next event, or None. Raises `StartError` when it is that a process failed."""
    try:
        event = events.get(timeout=max(seconds, 0))
    except queue.Empty:
        return None
    if not event.said:
        raise StartError(f"{event.child.name} ended: {' / '.join(event.child.last_words) or 'it says nothing'}")
    return event


def is_action(name: str) -> Callable[[dict[str, Any]], bool]:
    """Matches an event of the service's log, or of the bench's own processes."""
    return lambda said: said.get("action") == name


def until(condition: Callable[[], object], events: Events, seconds: float = DEADLINE) -> float:
    """When a condition was first met (`perf_counter`), looked at every 5 ms. Raises as `awaited` does."""
    end = time.monotonic() + seconds
    while not condition():
        next_of(events, LOOK_EVERY)
        if time.monotonic() > end:
            raise StartError(f"what was waited for did not come within {seconds:.0f} s")
    return time.perf_counter()


def say(action: str, **fields: object) -> None:
    """Writes an event, as a process of the bench."""
    sys.stdout.buffer.write(msgspec.json.encode({"action": action, **fields}) + b"\n")
    sys.stdout.flush()


def rest() -> None:
    """Stays until it is ended: the CPU time of a process that is gone cannot be asked for."""
    signal.pause()
