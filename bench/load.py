"""A load generator for HTTP over several connections, as a process of its own.

Closed loop: each connection sends its next request when it has its answer. Open loop: requests have their moments,
at a fixed rate; latency counts from that moment, whether or not a connection was free then, so that a server that
stalls is not asked less. Written on `select` for its timer of microseconds: event loops wake up by the millisecond.
"""

import ctypes
import gc
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.children import say
from bench.measure import percentile

CHUNK = 2**18
PR_SET_TIMERSLACK = 29
GIVE_UP_SECONDS = 20.0
TICK = 1.0
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
END_OF_HEAD = b"\r\n\r\n"
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "most": 1.0}


class Task(Struct, frozen=True):
    """What a generator is told. `rate` is in requests a second, 0 for the closed loop."""

    port: int
    requests: str
    """A file with the requests as they are sent, a msgpack list of bytes; they go in turn."""
    connections: int
    seconds: float
    rate: float = 0.0


class Load(Struct, frozen=True):
    """What came of it, times in seconds.

    `late` is by how much the generator itself sent too late, of 99 in 100 requests: due, and a connection was free.
    """

    requests: int
    seconds: float
    statuses: dict[str, int]
    bytes: int
    latency: dict[str, float]
    late: float = 0.0


class Connection:
    """One connection with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self.free_since = 0.0
        self._got = b""

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def send(self, request: bytes, due: float) -> None:
        """Sends a request whose moment was `due`."""
        self.due = due
        if self.socket.send(request) != len(request):
            raise ConnectionError("a request did not fit into the socket's buffer")

    def receive(self) -> bytes | None:
        """The whole answer, or None while a part of it is missing."""
        data = self.socket.recv(CHUNK)
        if not data:
            raise ConnectionError("the server closed a connection")
        self._got += data
        end = self._got.find(END_OF_HEAD)
        if end < 0 or len(self._got) < end + len(END_OF_HEAD) + length_of(self._got):
            return None
        answer, self._got = self._got, b""
        return answer


def length_of(answer: bytes) -> int:
    """Bytes of the body, as the head says."""
    found = LENGTH.search(answer)
    if found is None:
        raise ConnectionError("an answer does not say its length")
    return int(found[1])


class Generator:
    """Sends requests in turn when they are due and a connection is free, and takes the answers."""

    def __init__(self, task: Task, requests: Sequence[bytes]) -> None:
        self._task = task
        self._requests = requests
        self._free = deque(Connection(task.port) for _ in range(task.connections))
        self._waiting: dict[int, Connection] = {}
        self._latencies = array("d")
        self._lateness = array("d")
        self._statuses: Counter[str] = Counter()
        self._bytes = 0
        self._sent = 0
        self._begin = 0.0

    def run(self) -> Load:
        """Runs to the end; answers that are on their way then are waited for."""
        self._begin = time.perf_counter()
        while self._goes_on() or self._waiting:
            self._send()
            self._take()
        seconds = time.perf_counter() - self._begin
        ordered = sorted(self._latencies)
        latency = {name: percentile(ordered, share) for name, share in SHARES.items()}
        late = percentile(sorted(self._lateness), SHARES["p99"])
        return Load(self._sent, seconds, dict(self._statuses), self._bytes, latency, late)

    def close(self) -> None:
        """Closes the connections."""
        for connection in (*self._free, *self._waiting.values()):
            connection.socket.close()

    def _goes_on(self) -> bool:
        """An open loop sends all that was due, however late; a closed one ends with its time."""
        elapsed = time.perf_counter() - self._begin
        if elapsed > self._task.seconds + GIVE_UP_SECONDS:
            raise TimeoutError(f"the server does not keep up with {self._task.rate:.0f} requests a second")
        if self._task.rate:
            return self._sent < self._task.rate * self._task.seconds
        return elapsed < self._task.seconds

    def _due(self) -> float:
        return self._begin + self._sent / self._task.rate if self._task.rate else time.perf_counter()

    def _send(self) -> None:
        while self._free and self._goes_on() and (due := self._due()) <= (now := time.perf_counter()):
            connection = self._free.popleft()
            self._lateness.append(now - max(due, connection.free_since))
            connection.send(self._requests[self._sent % len(self._requests)], due)
            self._waiting[connection.fileno()] = connection
            self._sent += 1

    def _take(self) -> None:
        for number in select.select(list(self._waiting), (), (), self._patience())[0]:
            connection = self._waiting[number]
            answer = connection.receive()
            if answer is not None:
                connection.free_since = time.perf_counter()
                self._latencies.append(connection.free_since - connection.due)
                self._statuses[answer[9:12].decode()] += 1
                self._bytes += len(answer)
                del self._waiting[number]
                self._free.append(connection)

    def _patience(self) -> float:
        """Until the next moment, if a connection is free for it."""
        if not self._free or not self._goes_on():
            return TICK
        return max(self._due() - time.perf_counter(), 0.0)


def main(task: Task) -> None:
    """Runs a task and says when it begins and what came of it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # else each wait may take 50 µs too long
    requests = msgspec.msgpack.decode(Path(task.requests).read_bytes(), type=list[bytes])
    generator = Generator(task, requests)
    gc.disable()
    say("begins")
    say("loaded", load=generator.run())
    generator.close()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Task))
