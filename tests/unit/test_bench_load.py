"""The bench's load generator, on a small server that the test controls."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.load import Generator, Load, Task, length_of

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"GET /%d HTTP/1.1\r\n\r\n"

Answering = Callable[[socket.socket, bytes], None]


class Server:
    """Answers each request of each connection as a function has it."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                self._answering(connection, request)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def serving(answering: Answering) -> Iterator[int]:
    server = Server(answering)
    try:
        yield server.port
    finally:
        server.close()


def whole(connection: socket.socket, _: bytes) -> None:
    connection.sendall(ANSWER)


def load(port: int, *, seconds: float, rate: float = 0.0, connections: int = 4) -> Load:
    generator = Generator(Task(port, "", connections, seconds, rate), [REQUEST % n for n in range(7)])
    try:
        return generator.run()
    finally:
        generator.close()


def test_the_open_loop_sends_as_many_requests_as_were_due() -> None:
    with serving(whole) as port:
        done = load(port, seconds=0.5, rate=200)
    assert (done.requests, done.statuses, done.bytes) == (100, {"200": 100}, 100 * len(ANSWER))
    assert done.seconds == pytest.approx(0.5, abs=0.2)


def test_the_closed_loop_asks_again_as_soon_as_it_has_its_answer() -> None:
    with serving(whole) as port:
        done = load(port, seconds=0.2, connections=1)
    assert done.requests > 100
    assert done.statuses == {"200": done.requests}


def test_requests_go_in_turn() -> None:
    seen: list[bytes] = []

    def noting(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(ANSWER)

    with serving(noting) as port:
        load(port, seconds=0.1, rate=90, connections=1)
    assert seen == [REQUEST % (n % 7) for n in range(9)]


def test_a_server_that_stalls_makes_all_requests_late_that_were_due_meanwhile() -> None:
    """A closed loop would have sent one request into the stall, and shown one slow answer of a hundred."""
    stall = threading.Event()
    seen = threading.Semaphore(0)

    def stalling(connection: socket.socket, request: bytes) -> None:
        if request == REQUEST % 3:
            seen.release()
            stall.wait(10)
        connection.sendall(ANSWER)

    with serving(stalling) as port:
        timer = threading.Timer(0.3, stall.set)
        timer.start()
        done = load(port, seconds=0.5, rate=200, connections=1)
        timer.join()
    assert seen.acquire(blocking=False)
    assert done.requests == 100
    assert done.latency["p90"] > 0.1
    assert done.latency["most"] > 0.2
    assert done.late < done.latency["p90"]  # that no connection was free is the server's doing


def test_an_answer_may_come_in_parts_and_with_another_status() -> None:
    def dripping(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (b"HTTP/1.1 503 No\r\ncontent-", b"length: 4\r\n", b"\r\nno", b"ne"):
            connection.sendall(part)

    with serving(dripping) as port:
        done = load(port, seconds=0.1, rate=100, connections=2)
    assert (done.requests, done.statuses) == (10, {"503": 10})


def test_a_server_that_closes_is_an_error_and_not_a_quick_answer() -> None:
    with (
        serving(lambda connection, _: connection.shutdown(socket.SHUT_RDWR)) as port,
        pytest.raises(OSError, match=r"close|reset"),
    ):
        load(port, seconds=0.1, rate=100)


def test_an_answer_must_say_its_length() -> None:
    assert length_of(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n") == 17
    with pytest.raises(ConnectionError, match="length"):
        length_of(b"HTTP/1.1 200 OK\r\n\r\n")
