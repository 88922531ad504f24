"""Shared memory among processes of their own, some of them killed with -9 at the worst moment."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orders.memory.shared import Change, Memory, Put
from support.waiting import wait_for

MIB = 2**20

PRELUDE = """
import sys, time
from pathlib import Path
from orders.memory.shared import Change, Memory, Put
memory = Memory.open(Path(sys.argv[1]))
def say(what):
    print(what, flush=True)
def hear():
    return sys.stdin.readline().strip()
"""
PUTS_WHAT_IT_HEARS = """
while order_uid := hear():
    memory.put([Put(order_uid, 1, order_uid.encode())], time.monotonic())
    say("put")
"""
SAYS_WHAT_IT_SEES = """
while order_uid := hear():
    say(memory.get(order_uid.encode()))
"""
STOPS_INSIDE_A_WRITE = """
def stop(work):
    work.put([Put(f"lost-{n}", 1, b"x" * 5000) for n in range(100)], time.monotonic(), lambda *_: True)
    work.fence(["old"], 7)
    say("inside")
    hear()
memory._write(stop)
"""
STOPS_INSIDE_A_READ = """
reader = memory._env.begin()
reader.get(b"old", None, memory._numbers)
say("inside")
hear()
"""
WRITES_WITHOUT_END = """
say("begun")
version = 0
while True:
    version += 1
    memory.fence(["busy"], version)
    memory.settle([Change("busy", version, b"%d" % version)], version, time.monotonic())
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Memory]:
    made = Memory.create(tmp_path / "memory", 4 * MIB)
    yield made
    made.close()


@pytest.fixture
def start(shared: Memory) -> Iterator[Start]:
    """Starts a process that opens the same memory and runs a script; all are killed at the end."""
    with ExitStack() as stack:

        def started(script: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", PRELUDE + script, shared._env.path()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield started


def ask(process: "subprocess.Popen[str]", line: str = "") -> str:
    """Sends a line, if any, and waits for the answer."""
    assert process.stdin
    assert process.stdout
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()


def test_processes_see_each_others_puts_at_once(shared: Memory, start: Start) -> None:
    """What one has put is there for the others as soon as its call is over, both ways."""
    writer, reader = start(PUTS_WHAT_IT_HEARS), start(SAYS_WHAT_IT_SEES)
    for n in range(50):
        assert ask(reader, f"order-{n}") == "None"
        assert ask(writer, f"order-{n}") == "put"
        assert ask(reader, f"order-{n}") == f"b'order-{n}'"
        assert shared.get(b"order-%d" % n) == b"order-%d" % n
    shared.fence(["order-0"], 7)
    assert ask(reader, "order-0") == "None"


def test_a_writer_killed_inside_a_write_leaves_a_usable_memory(shared: Memory, start: Start) -> None:
    """Readers continue meanwhile; nothing of the write is left, and the next writer does not wait for the dead."""
    shared.put([Put("old", 1, b"{}")], time.monotonic())
    for n in range(3):
        writer = start(STOPS_INSIDE_A_WRITE)
        assert ask(writer) == "inside"
        assert shared.get(b"old") == b"{}"
        kill(writer)
        assert shared.put([Put(f"new-{n}", 1, b"{}")], time.monotonic()) == 1
    stats = shared.stats()
    assert (stats.documents, stats.restrictions, shared.get(b"lost-1")) == (4, 0, None)


def test_a_writer_killed_at_any_moment_leaves_a_usable_memory(shared: Memory, start: Start) -> None:
    """Random moments: what is served afterwards is whole, and newer work of others is taken."""
    for n in range(5):
        writer = start(WRITES_WITHOUT_END)
        assert ask(writer) == "begun"
        wait_for(lambda: shared.get(b"busy"), "the writer's puts")
        kill(writer)
        served = shared.get(b"busy")
        assert served is None or served.isdigit()
        version = 10**9 + n
        shared.empty()
        shared.fence(["mine"], version)
        shared.settle([Change("mine", version, b"%d" % version)], version, time.monotonic())
        assert shared.get(b"mine") == b"%d" % version


def test_dead_readers_are_cleared(shared: Memory, start: Start) -> None:
    """A killed reader holds all pages that were in use; cleared, they are used again and puts continue."""
    shared.put([Put("old", 1, b"{}")], time.monotonic())
    reader = start(STOPS_INSIDE_A_READ)
    assert ask(reader) == "inside"
    kill(reader)
    version = fill(shared)
    assert shared.clear_dead_readers() == 1
    assert shared.put([Put("new", version, b"x" * MIB)], time.monotonic()) == 1
    assert shared.clear_dead_readers() == 0


def test_a_fence_heals_what_a_dead_reader_filled(shared: Memory, start: Start) -> None:
    """Ingest does not wait for the keeper: a fence that finds the map full clears dead readers and empties."""
    shared.put([Put("old", 1, b"{}")], time.monotonic())
    reader = start(STOPS_INSIDE_A_READ)
    assert ask(reader) == "inside"
    kill(reader)
    fill(shared)
    shared.fence([f"order-{n:0100}" for n in range(20_000)], 7)
    assert shared.stats().restrictions == 20_000


def fill(shared: Memory) -> int:
    """Puts until the map is full; returns the next version."""
    version = 2
    while shared.put([Put(f"order-{n}", version, b"x" * 50_000) for n in range(20)], time.monotonic()):
        version += 1
    return version
