"""Load on a server: from wrk where it is installed, else from the bench's own generator."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.children import Event, Events, awaited, is_action, module
from bench.load import Load
from bench.services import LOOPBACK
from orders.errors import StartError

CONNECTIONS = 64
SCRIPT = Path(__file__).with_name("wrk.lua")
SLACK_SECONDS = 60.0
HOST = b"Host: 127.0.0.1\r\n"


def has_wrk() -> bool:
    """Whether wrk can be run."""
    return shutil.which("wrk") is not None


def paths_of(uids: Sequence[str]) -> list[str]:
    """The paths of orders."""
    return [f"/orders/{uid}" for uid in uids]


def gets(uids: Sequence[str]) -> list[bytes]:
    """Requests for orders, as they are sent."""
    return [b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), HOST) for path in paths_of(uids)]


def posts(orders: Sequence[bytes]) -> list[bytes]:
    """Requests that post orders, as they are sent."""
    head = b"POST /orders HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    return [head % (HOST, len(order), order) for order in orders]


def closed(folder: Path, port: int, uids: Sequence[str], seconds: float) -> Load:
    """64 connections, each of which asks again when it has its answer: the highest rate. All must be answered 200."""
    load = by_wrk(folder, port, uids, seconds) if has_wrk() else generated(folder, port, gets(uids), Pace(seconds))
    return only(load, HTTPStatus.OK)


def by_wrk(folder: Path, port: int, uids: Sequence[str], seconds: float) -> Load:
    """The same by wrk, with one thread."""
    paths = folder / "paths"
    paths.write_text("\n".join(paths_of(uids)) + "\n")
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(round(seconds), 1)}s", "-s", str(SCRIPT)]
    done = subprocess.run(
        ["wrk", *options, f"http://{LOOPBACK}:{port}"],
        env=os.environ | {"BENCH_PATHS": str(paths)},
        capture_output=True,
        check=True,
        timeout=seconds + SLACK_SECONDS,
    )
    said = msgspec.json.decode(done.stdout.splitlines()[-1])
    bad = said["not_ok"] + said["broken"]
    statuses = {"200": said["requests"] - bad} | ({"other": bad} if bad else {})
    latency = {name: said[name] / 1e6 for name in ("p50", "p99")}
    return Load(said["requests"], said["microseconds"] / 1e6, statuses, said["bytes"], latency)


class Pace(NamedTuple):
    """How long the bench's own generator asks; with a `rate` (requests a second) in the open loop."""

    seconds: float
    rate: float = 0.0
    connections: int = CONNECTIONS


def generated(folder: Path, port: int, requests: Sequence[bytes], pace: Pace) -> Load:
    """The same by our own generator."""
    with generating(folder, port, requests, pace) as loaded:
        return loaded().load


class Loaded(NamedTuple):
    """A load, and when its last answer had come (`perf_counter`)."""

    load: Load
    at: float


@contextmanager
def generating(folder: Path, port: int, requests: Sequence[bytes], pace: Pace) -> Iterator[Callable[[], Loaded]]:
    """A generator that has begun; what is yielded waits for its end."""
    file = folder / "requests"
    file.write_bytes(msgspec.msgpack.encode(list(requests)))
    given = {"port": port, "requests": str(file), **pace._asdict()}
    with module("load", folder, events := Events(), given):
        awaited(events, is_action("begins"))
        yield lambda: loaded(awaited(events, is_action("loaded"), pace.seconds + SLACK_SECONDS))


def loaded(event: Event) -> Loaded:
    """What a generator says in the end."""
    return Loaded(msgspec.convert(event.said["load"], Load), event.at)


def only(load: Load, status: HTTPStatus) -> Load:
    """The load, if every request had this status."""
    if set(load.statuses) != {str(status.value)}:
        raise StartError(f"the server answered otherwise than with {status.value}: {load.statuses}")
    return load
