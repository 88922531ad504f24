"""TCP proxies between a client and a server of the suite's own.

`LosingProxy` can lose the reply to what it forwards. `Network` plays a bad network, switched while it runs.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

T = TypeVar("T")


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


Mode = Literal["open", "slow", "thin", "silent", "cut", "reset"]
DELAY_SECONDS = 2.0
THIN_BYTES = 1024
"""What a thin network passes each second, for each connection and direction."""
HELD_CHUNKS = 64
"""Chunks of up to 64 KiB that a direction holds back; then it reads no more, as a network that is full."""
RST = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: the close is a reset."""


class Network:
    """The way to one server, and what is wrong with it; runs in a thread of its own.

    open: passes all. slow: 2 s later. thin: 1 KB a second. silent: connections stay and are taken, nothing passes.
    cut and reset: all connections are closed, and new ones at once. What a silent network held back passes when
    it is open again, except on connections that were forgotten meanwhile: they stay silent.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._mode: Mode = "open"
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def mode(self) -> Mode:
        return self._mode

    def be(self, mode: Mode) -> None:
        """Takes hold at once, also of what is on its way."""
        self._call(self._be(mode))

    def forget(self) -> None:
        """All connections of now stay silent for ever, as when a router has lost its table."""
        self._call(self._forget())

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, sock=self._listener))
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _be(self, mode: Mode) -> None:
        self._mode = mode
        if mode in {"cut", "reset"}:
            self._close_all()
        for link in self._links:
            link.changed.set()

    async def _forget(self) -> None:
        for link in self._links:
            link.forgotten = True

    async def _end(self) -> None:
        self._server.close()
        self._close_all()
        others = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _close_all(self) -> None:
        for link in list(self._links):
            link.close(reset=self._mode == "reset")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        self._links.add(link)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # asyncio's streams would print it at the end
                await link.run()
        finally:
            self._links.discard(link)
            link.close(reset=False)


class Link:
    """One connection through a `Network`."""

    def __init__(self, network: Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._network = network
        self._reader, self._writers = reader, [writer]
        self.changed = asyncio.Event()
        self.forgotten = False

    async def run(self) -> None:
        """Until one side ends; the server is reached once something may pass."""
        await self._passable()
        if self._network.mode in {"cut", "reset"}:
            return self.close(reset=self._network.mode == "reset")
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*self._network.target)
            self._writers.append(writer)
            await asyncio.gather(self._pass(self._reader, writer), self._pass(reader, self._writers[0]))
        return None

    def close(self, *, reset: bool) -> None:
        for writer in self._writers:
            if reset and (held := writer.get_extra_info("socket")):
                with contextlib.suppress(OSError):
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: what was read at a time waits until it may pass."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_CHUNKS)
        sending = asyncio.create_task(self._send(held, writer))
        try:
            while data := await reader.read(65536):
                await held.put((self._now(), data))
            await held.put((self._now(), b""))
            await sending
        finally:
            sending.cancel()

    async def _send(self, held: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            came_at, data = await held.get()
            if not data:
                await self._passable()
                return self.close(reset=False)
            while data:
                data = await self._send_some(came_at, data, writer)

    async def _send_some(self, came_at: float, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Sends what may pass now; what is left of it."""
        await self._passable()
        if self._network.mode == "slow" and not await self._still_until(came_at + DELAY_SECONDS):
            return data
        most = THIN_BYTES if self._network.mode == "thin" else len(data)
        writer.write(data[:most])
        await writer.drain()
        if self._network.mode == "thin":
            await self._still_until(self._now() + 1)
        return data[most:]

    async def _passable(self) -> None:
        while self.forgotten or self._network.mode == "silent":
            await self._changed(None)

    async def _still_until(self, moment: float) -> bool:
        """Whether nothing changed up to then."""
        return moment <= self._now() or not await self._changed(moment - self._now())

    async def _changed(self, seconds: float | None) -> bool:
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.changed.wait(), seconds)
        return False

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
