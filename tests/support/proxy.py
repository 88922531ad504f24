"""A TCP proxy between a client and a server of the suite's own: it can lose the reply to what it forwards."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class LosingProxy:
    """Forwards bytes both ways; once `lose_reply_to(word)` was called, the client is cut off after it sent that word.

    The word reaches the server, its answer does not reach the client. Later connections are whole again.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._word: bytes | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.lost = threading.Event()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def lose_reply_to(self, word: bytes) -> None:
        self._word = word

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # bound methods
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                self._spawn(self._forward, client, server)
                self._spawn(self._back, server, client)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._word and self._word in data:
                    self._word = None
                    client.shutdown(socket.SHUT_RDWR)  # first the client: the answer finds nobody
                    server.sendall(data)
                    server.shutdown(socket.SHUT_WR)
                    self.lost.set()
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
