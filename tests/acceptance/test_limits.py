"""Clients that would tip a service over, at a running system: what is too large or too slow ends, others continue."""

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from typing import Any

import psutil
import pytest

from bench.drips import request
from orders import sample
from support.services import open_folder
from support.system import System, orders, running
from support.waiting import wait_for

ORDER = next(iter(sample.samples(1, 0)))
MB = 2**20
HUGE = 200 * MB
GROWTH = 16 * MB
"""Most that a body of any size adds to a serve process: the largest order, its chunks on the way, and noise."""
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
BOMB = gzip.compress(bytes(16 * MB), mtime=0)
HEAD = "POST /orders HTTP/1.1\r\nHost: localhost\r\n"
BODIES = {
    "announced": (f"{HEAD}Content-Length: {HUGE}\r\n\r\n".encode(), b" " * 0x10000),
    "chunked": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), CHUNK),
    "compressed": (
        f"{HEAD}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
        b"%x\r\n%b\r\n" % (len(BOMB), BOMB),
    ),
}

pytestmark = pytest.mark.system  # it takes long


def connected(system: System) -> socket.socket:
    return socket.create_connection(system.address, timeout=10)


def status_of(connection: socket.socket, path: str) -> int:
    """What a GET on this connection is answered; the whole answer is read."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


@contextmanager
def growth_of(system: System) -> Iterator[list[int]]:
    """By how many bytes the serve process grew at most, looked at all the time, once the block is left."""
    (pid,) = system.pids("serve")
    process = psutil.Process(pid)
    before, most, done = process.memory_info().rss, [0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], process.memory_info().rss - before)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield most
    finally:
        done.set()
        watching.join()


@pytest.mark.parametrize("shape", BODIES)
def test_a_body_of_200_mb_is_refused_before_memory_grows(system: System, shape: str) -> None:
    """413 while it arrives, from anyone who sends on without reading; the service continues."""
    head, part = BODIES[shape]
    with growth_of(system) as most, connected(system) as connection:
        connection.sendall(head)
        with suppress(ConnectionError, TimeoutError):
            for _ in range(HUGE // 0x10000):
                connection.sendall(part)
        answer = b""
        with suppress(ConnectionError):
            answer = connection.recv(65536)
    # A connection that is closed while bytes are on their way is reset, and may take the answer with it.
    assert answer.startswith(b"HTTP/1.1 413 ") or not answer
    assert most[0] < GROWTH
    assert system.request("GET", "/livez") == (200, {"alive": True})


def test_413_is_reported_while_the_body_is_still_to_come(system: System) -> None:
    """A client that waits after the bound, as one does that reads while it writes, has its answer."""
    with connected(system) as connection:
        connection.sendall(BODIES["chunked"][0] + CHUNK * 16)
        assert http.client.HTTPResponse(connection).fp.readline().startswith(b"HTTP/1.1 413 ")


def test_sockets_that_drip_are_cut_and_others_are_answered(addresses: list[str]) -> None:
    """Those in a head by its deadline, those in a body by theirs; a place that is free again is taken."""
    options = ["--http-head-deadline", "2", "--http-body-deadline", "3", "--http-connections", "200", *addresses]
    head = f"{HEAD}Content-Length: 100000\r\n\r\n".encode()
    with open_folder() as folder, running(folder / "data", options) as system, ExitStack() as up:
        dripping = {up.enter_context(connected(system)): request() for _ in range(90)}
        bodies = [up.enter_context(connected(system)) for _ in range(90)]
        for connection in bodies:
            connection.sendall(head)
        dripping |= {connection: repeat(b" ") for connection in bodies}
        for connection in dripping:
            connection.setblocking(False)

        def drip() -> bool:
            """Sends a byte on each; whether all were cut."""
            for connection, rest in list(dripping.items()):
                try:
                    connection.send(next(rest))
                except BlockingIOError:
                    continue
                except ConnectionError:
                    del dripping[connection]
            assert system.request("GET", "/livez")[0] == 200
            assert system.request("GET", "/orders/nobody")[0] == 404
            return not dripping

        wait_for(drip, "the end of all that drips", 30)


def test_an_order_that_nests_too_deep_is_refused_alike_by_post_and_through_kafka(addresses: list[str]) -> None:
    nested = ORDER[:-1] + b',"x":[[[]]]}'
    with open_folder() as folder, running(folder / "data", ["--order-nesting", "3", *addresses]) as system:
        status, problem = system.request("POST", "/orders", nested)
        assert (status, problem["errors"]) == (422, [{"detail": "Nested deeper than 3 levels", "pointer": "#"}])
        named = addresses[addresses.index("--kafka-bootstrap") :][:4]
        assert orders(system.data, "send", "--as-is", "-", *named, given=nested + b"\n").returncode == 0

        def dead_letters() -> list[Any]:
            found = orders(system.data, "dead-letters", "list", "--json", *addresses[:2])
            return [json.loads(line) for line in found.stdout.splitlines()]

        (dead_letter,) = wait_for(dead_letters, "the dead letter")
        assert dead_letter["reason"] == "Nested deeper than 3 levels"


def test_a_connection_too_many_is_reported_and_the_place_is_free_again_when_one_ends(addresses: list[str]) -> None:
    options = ["--http-connections", "5", *addresses]
    with open_folder() as folder, running(folder / "data", options) as system:
        with ExitStack() as up:
            held = [up.enter_context(connected(system)) for _ in range(5)]
            for connection in held:
                assert status_of(connection, "/livez") == 200
            told, problem = system.request("GET", "/orders/nobody")
            assert (told, problem["type"]) == (503, "/problems/busy")
            assert system.request("GET", "/livez")[0] == 200
            assert status_of(held[0], "/orders/nobody") == 404
        wait_for(lambda: system.request("GET", "/orders/nobody")[0] == 404, "room")


def test_a_client_that_uses_an_unknown_name_is_reported_the_setting_and_so_is_the_log_once(
    addresses: list[str],
) -> None:
    """Whichever serve process it meets: all of them together write one line."""
    with open_folder() as folder, running(folder / "data", ["--http-workers", "3", *addresses]) as system:
        for _ in range(60):
            connection = http.client.HTTPConnection(*system.address, timeout=10)
            connection.request("GET", "/readyz", headers={"Host": "orders.internal:8080"})
            answer = connection.getresponse()
            told = json.loads(answer.read())
            connection.close()
            assert (answer.status, told["detail"]) == (
                421,
                "Unknown host name 'orders.internal': add it to ORDERS_HTTP_HOSTS",
            )
        wait_for(lambda: "unknown_host " in system.said, "the line", deadline=10)
        assert system.said.count("unknown_host ") == 1
