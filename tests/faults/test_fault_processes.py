"""Processes that are killed, stopped or asked to stop under load: what they held is free again, nothing is lost."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import pytest

from orders import deadlines
from orders.memory.shared import Memory
from support.decided import all_decided_once
from support.machine import Machine
from support.services import MakeTopic, open_folder
from support.supervised import Supervised
from support.system import left_of
from support.waiting import wait_for
from support.watching import RECOVERY_SECONDS, recovery, under_load

pytestmark = pytest.mark.system
SESSION_SECONDS = 6.0
"""After which Kafka gives a silent member's partitions away."""
IDLE_SECONDS = 10.0
"""After which PostgreSQL ends the transaction of a client that is silent inside of it."""
POINTS = ["before copy", "after copy", "before commit", "after commit", "after fill", "before mirror"]
"""Inside of a batch, without memory's writer lock: where that is held the supervisor kills."""


@pytest.fixture
def machine(
    tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic, request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """Two ingests; `request.param` is their group protocol."""
    protocol: Literal["classic", "consumer"] = getattr(request, "param", "classic")
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), protocol=protocol) as made:
        yield made


@pytest.fixture
def supervised(postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Supervised]:
    with open_folder() as folder:
        made = Supervised(folder, postgres_dsn, kafka_bootstrap, make_topic())
        try:
            made.begin()
            yield made
        finally:
            made.end()


@pytest.mark.parametrize("machine", ["classic", "consumer"], indirect=True)
def test_consumption_is_back_within_ten_seconds_of_a_kill(machine: Machine) -> None:
    """Takes up to half a minute: three kills, each until Kafka ends the session of the killed."""
    with under_load(machine, 61) as load:
        for victim in ["ingest 0", "ingest 1", "ingest 0"]:
            killed = time.monotonic()
            machine.kill(victim)
            assert machine.await_end(victim, 5)
            machine.start(victim)
            print(f"{victim}: consumption is back after {recovery(machine, killed, 61):.1f} s")  # noqa: T201 - a figure
    assert load.getter.compared


def test_partitions_of_an_ingest_that_does_not_come_back_go_to_the_other(machine: Machine) -> None:
    """Takes over 10 s: its session has to end."""
    with under_load(machine, 62):
        killed = time.monotonic()
        machine.kill("ingest 0")
        assert machine.await_end("ingest 0", 5)
        took = recovery(machine, killed, 62)
        print(f"the other ingest has all partitions after {took:.1f} s")  # noqa: T201 - a figure
        machine.start("ingest 0")


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(2, id="two points", marks=pytest.mark.timeout(240)),
        pytest.param(len(POINTS), id="every point", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
def test_what_a_stopped_ingest_does_on_waking_changes_nothing(machine: Machine, count: int) -> None:
    """At points inside a batch, drawn by the seed of the run. Without a supervisor, so that it wakes.

    Takes 25 s: at each point its session and its transaction have to end.
    """
    with under_load(machine, 63):
        for point in random.sample(POINTS, count):
            stop_and_wake(machine, point, most=SESSION_SECONDS + IDLE_SECONDS)
        assert machine.status("ingest 0") is None
    all_decided_once(machine)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", ["consumer"], indirect=True)
def test_what_an_ingest_of_kip_848_does_on_waking_changes_nothing(machine: Machine) -> None:
    """As above, where the broker moves partitions to a member that is new to it."""
    with under_load(machine, 68):
        for point in POINTS:
            stop_and_wake(machine, point, most=SESSION_SECONDS + IDLE_SECONDS)
        assert machine.status("ingest 0") is None
    all_decided_once(machine)


@pytest.mark.faults
@pytest.mark.timeout(240)
def test_what_holds_locks_without_idling_is_ended_with_its_whole_transaction(machine: Machine) -> None:
    """PostgreSQL sees no idle transaction there; and the ingest wakes after its partitions moved."""
    with under_load(machine, 63):
        stop_and_wake(machine, "after many", most=SESSION_SECONDS + deadlines.TRANSACTION)
        assert machine.status("ingest 0") is None
    all_decided_once(machine)


def stop_and_wake(machine: Machine, point: str, most: float) -> None:
    """Stops an ingest at a point of a batch until the other one has its partitions and their locks; it wakes then."""
    machine.at("ingest 0", point, signal.SIGSTOP)
    process = psutil.Process(machine.pids["ingest 0"])
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, f"a batch to stop in {point}", 20)
    took = recovery(machine, time.monotonic(), 63, most=most)
    print(f"stopped {point}: the other ingest continues after {took:.1f} s")  # noqa: T201 - a figure
    process.resume()
    wait_for(lambda: not machine.order("ingest 0").exists())
    recovery(machine, time.monotonic(), 63)


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["ingest", "keep"], id="who writes all the time"),
        pytest.param(["serve"], id="who writes after a miss", marks=[pytest.mark.faults]),
    ],
)
def test_what_a_stopped_process_held_is_free_again_within_seconds(supervised: Supervised, kinds: list[str]) -> None:
    """Takes 15 s: a start, and the supervisor's patience twice."""
    with under_load(supervised, 64):
        for kind in kinds:
            written = threading.Event()
            memory = Memory.open(supervised.memory)  # nobody may hold the writer lock then
            pid = supervised.stop_in_memory(kind, memory if kind == "serve" else None)
            stopped = time.monotonic()
            threading.Thread(target=write_to, args=(memory, written), daemon=True).start()
            assert not written.wait(0.5), "nobody held the writer lock"
            assert written.wait(RECOVERY_SECONDS), "the writer lock is still held"
            took = recovery(supervised, stopped, 64)
            print(f"{kind} stopped with memory's writer lock: consumption is back after {took:.1f} s")  # noqa: T201 - a figure
            wait_for(lambda: not psutil.pid_exists(pid), "its end")  # noqa: B023 - called at once
        assert "stopped_process_killed" in supervised.system.said


def write_to(memory: Memory, written: threading.Event) -> None:
    """Writes to memory once, and closes it."""
    memory.post("test", b"{}")
    memory.close()
    written.set()


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(3), id="3 ends", marks=pytest.mark.timeout(240)),
        pytest.param(range(3, 23), id="20 ends", marks=[pytest.mark.faults, pytest.mark.timeout(1200)]),
    ],
)
def test_a_system_that_is_killed_or_stopped_under_load_leaves_nothing_and_starts_again(
    supervised: Supervised, seeds: range
) -> None:
    """Takes 20 s: four starts of a system."""
    with under_load(supervised, seeds.start):
        for seed in seeds:
            chance = random.Random(seed)
            threading.Event().wait(chance.uniform(0.2, 1.0))
            number = [signal.SIGTERM, signal.SIGKILL][seed % 2]
            asked = time.monotonic()
            supervised.tell(number)
            supervised.system.process.wait(20)
            wait_for(lambda: not left_of(supervised.data), "an end of all processes", 10)
            took = time.monotonic() - asked
            print(f"seed {seed}: all is gone {took:.1f} s after {number.name}")  # noqa: T201 - a figure
            assert took < RECOVERY_SECONDS
            supervised.begin()


@pytest.mark.faults
@pytest.mark.timeout(240)
def test_each_http_worker_and_the_keeper_are_replaced_when_they_are_killed_under_load(supervised: Supervised) -> None:
    with under_load(supervised, 67) as load:
        victims = {name: pid for name, pid in supervised.pids.items() if name.split()[0] in {"serve", "keep"}}
        assert len(victims) == 3
        for name, pid in victims.items():
            compared = load.getter.compared
            psutil.Process(pid).kill()
            wait_for(lambda: supervised.pids.get(name, pid) != pid, f"{name} runs again", RECOVERY_SECONDS)  # noqa: B023 - called at once
            wait_for(lambda: load.getter.compared > compared + 20, "GETs continue", RECOVERY_SECONDS)  # noqa: B023 - called at once


def test_each_process_that_is_asked_to_stop_under_load_is_gone_in_time(machine: Machine) -> None:
    with under_load(machine, 65):
        for kind in ["ingest 0", "serve", "keep"]:
            recovery(machine, time.monotonic(), 65)
            asked = time.monotonic()
            machine.tell(kind, signal.SIGTERM)
            assert machine.await_end(kind, RECOVERY_SECONDS), f"{kind} is gone"
            print(f"{kind}: gone after {time.monotonic() - asked:.1f} s")  # noqa: T201 - a figure
            assert machine.status(kind) in {0, -signal.SIGTERM}, "no crash"
            machine.start(kind)
        recovery(machine, time.monotonic(), 65)
