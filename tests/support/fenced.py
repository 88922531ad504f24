"""A way to a broker on which it can play one that its controller has fenced: such a one knows of no broker at all."""

import socket
import socketserver
import struct
import threading
from contextlib import suppress
from typing import Any, BinaryIO, Self

METADATA = 3
"""The API key of a MetadataRequest."""
NOTHING = b"\x01"
"""An array without elements (KIP-482)."""


class FencedWay(socketserver.ThreadingTCPServer):
    """Passes Kafka's protocol to the broker at `target`, which clients are told is here.

    While it is `fenced`, what it tells of the topic is without brokers, as of one whose session has ended.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.fenced = False
        host, port = target.split(":")
        self._broker = host, int(port)
        self._port = int(self.server_address[1])
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def finish_request(self, request: Any, client_address: object) -> None:  # noqa: ARG002 - the server's own
        """One connection: a question, then its answer."""
        with socket.create_connection(self._broker) as broker, suppress(OSError):
            asking, answering = request.makefile("rb"), broker.makefile("rb")
            while question := frame(asking):
                send(broker, question)
                send(request, self._changed(question, frame(answering)))

    def _changed(self, question: bytes, answer: bytes) -> bytes:
        (key,) = struct.unpack_from(">h", question)
        if key != METADATA:
            return answer
        if self.fenced:
            return without_brokers(answer)
        return answer.replace(struct.pack(">i", self._broker[1]), struct.pack(">i", self._port))


def without_brokers(answer: bytes) -> bytes:
    """A response of one broker with metadata, as if there were none, nor a controller."""
    head = 9  # the request's number, tags, the throttle's time
    assert answer[head] == 2, "one broker"
    end = head + 1 + 4  # its id
    end += answer[end] + 4  # host, port
    end += max(answer[end], 1) + 1  # rack, tags
    cluster = answer[end : end + answer[end]]
    return answer[:head] + NOTHING + cluster + struct.pack(">i", -1) + answer[end + len(cluster) + 4 :]


def frame(stream: BinaryIO) -> bytes:
    """The next message without its length; empty at the end."""
    size = stream.read(4)
    return stream.read(*struct.unpack(">i", size)) if size else b""


def send(to: socket.socket, message: bytes) -> None:
    to.sendall(struct.pack(">i", len(message)) + message)
