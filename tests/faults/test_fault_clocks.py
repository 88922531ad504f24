"""A machine's wall clock is set while it works: by libfaketime, for one kind of its processes at a time, under load.

Their monotonic clock continues, as it does on Linux when the time of day is set.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import httpx2
import psycopg
import pytest

from orders.memory.shared import Memory
from support.background import Background
from support.group import Group
from support.machine import Machine
from support.services import MakeTopic, open_folder, started_postgres
from support.traffic import Traffic
from support.waiting import wait_for
from support.watching import Load, recovery, under_load

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""The one for programs with threads."""
BACKENDS = "select pid from pg_stat_activity where application_name = %s"
MOST_BACKENDS = {"ingest": 2, "serve": 8, "keep": 2}
SILENT_SECONDS = 10.0
"""After which `/readyz` takes a process that has told nothing for gone."""
SEED = 95
OLDEST = 'select topic_id, partition, "offset" from outcomes order by at limit 20'

MakeMachine = Callable[[Path, Mapping[str, dict[str, str]]], Machine]


class WallClock:
    """The time of day of some processes, which may be set while they run."""

    def __init__(self, folder: Path) -> None:
        if not LIBRARIES:
            pytest.skip("libfaketime is not installed (Debian's package faketime)")
        self._file = folder / "clock"
        self.set("+0")
        self.variables = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """So far from the true time; anyone who reads finds the old value or the new one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._file)


@pytest.fixture
def clock() -> Iterator[WallClock]:
    before = left()
    with open_folder() as folder:
        yield WallClock(folder)
    for path in left() - before:
        path.unlink()


def left() -> set[Path]:
    """What libfaketime keeps of processes that are gone."""
    return set(Path("/dev/shm").glob("*faketime*"))  # noqa: S108 - named by the library


@pytest.fixture(params=["ingest", "serve", "keep"])
def kind(request: pytest.FixtureRequest) -> str:
    """Whose clock is set."""
    return str(request.param)


@pytest.fixture
def made(postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> MakeMachine:
    """Makes a machine in a folder, with more variables for processes."""

    def make(folder: Path, logins: Mapping[str, dict[str, str]]) -> Machine:
        return Machine(folder, postgres_dsn, kafka_bootstrap, make_topic(), logins=logins)

    return make


@pytest.fixture
def machine(made: MakeMachine, tmp_path: Path, clock: WallClock, kind: str) -> Iterator[Machine]:
    with made(tmp_path, {kind: clock.variables}) as machine:
        yield machine


class Backends:
    """The connections to PostgreSQL of one kind of process that were ever seen."""

    def __init__(self, connection: "psycopg.Connection[tuple[object, ...]]", kind: str) -> None:
        self._connection = connection
        self._name = f"orders {kind}"
        self.seen: set[object] = set()

    def look(self) -> None:
        self.seen |= {row[0] for row in self._connection.execute(BACKENDS, (self._name,)).fetchall()}


class Times:
    """By what clock processes tell each other how they are: one that is the same in all of them, and never set."""

    def __init__(self, machine: Machine) -> None:
        self._memory = Memory.open(Path(machine.settings.memory_path))
        self.told: set[str] = set()

    def look(self) -> None:
        for name, notice in self._memory.board().items():
            age = time.monotonic() - json.loads(notice)["at"]
            assert 0 <= age < SILENT_SECONDS, f"{name} told how it is {age:.1f} s ago"
            self.told.add(name)

    def close(self) -> None:
        self._memory.close()


def all_goes_on(machine: Machine, load: Load) -> None:
    """Records are consumed, POSTs saved, GETs answered, and /readyz says so."""
    recovery(machine, time.monotonic(), SEED)
    promised, compared = len(load.poster.promised), load.getter.compared
    wait_for(lambda: len(load.poster.promised) > promised + 20, "POSTs are saved", 20)
    wait_for(lambda: load.getter.compared > compared + 20, "GETs are answered", 20)
    assert machine.is_ready()


def test_a_wall_clock_that_is_set_while_it_runs_loses_and_doubles_nothing(
    machine: Machine, clock: WallClock, kind: str
) -> None:
    """An hour ahead and back all continues, over the same connections and with the same members.

    An hour back Kafka's client, whose waits libfaketime leaves to the true clock, waits for nothing at all: consumption
    or POSTs may pause, and continue by themselves once the clock is right.
    """
    group = Group(machine)
    with (
        closing(Times(machine)) as times,
        psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection,
        under_load(machine, SEED) as load,
    ):
        backends = Backends(connection, kind)
        wait_for(lambda: len(load.poster.promised) > 20, "POSTs are saved", 20)
        first = connection.execute(OLDEST).fetchall()
        with (
            Background(backends.look, every=0.1),
            Background(group.look, every=0.5),
            Background(times.look, every=0.1),
        ):
            for step in ("+3600s", "+0"):
                clock.set(step)
                all_goes_on(machine, load)
        assert len(backends.seen) <= MOST_BACKENDS[kind], "connections are kept"
        (members,) = group.seen
        assert members, "members are kept"
        assert len(times.told) > 2, "keeper and ingests tell how they are"
        clock.set("-3600s")
        compared = load.getter.compared
        wait_for(lambda: load.getter.compared > compared + 100, "GETs are answered", 20)
        clock.set("+0")
        wait_for(machine.is_ready, "it heals without a person", 30)
        all_goes_on(machine, load)
        assert connection.execute(OLDEST).fetchall() == first, "no outcome is removed early"


def test_record_times_that_kafka_does_not_take_cost_a_post_and_nothing_more(
    made: MakeMachine, tmp_path: Path, clock: WallClock
) -> None:
    """From an hour ahead on (`message.timestamp.after.max.ms`) a POST is 503, nothing is stored; then all is well."""
    with made(tmp_path, {"serve": clock.variables}) as machine, httpx2.Client(base_url=machine.url, timeout=20) as http:
        traffic = Traffic(SEED, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
        order = traffic.order("early", 1).text
        clock.set("+7200s")
        assert http.post("/orders", content=order).status_code == 503
        assert http.get("/orders/early").status_code == 404
        clock.set("+0")
        assert http.post("/orders", content=order).status_code == 201
        assert http.get("/orders/early").content.endswith(order[1:] + b"}")


@pytest.mark.parametrize("step", ["+3600s", "-3600s"])
def test_postgresqls_clock_that_is_set_loses_and_doubles_nothing(
    step: str, tmp_path: Path, clock: WallClock, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """Ahead it makes outcomes old that are waited for: such a POST is told 202 at worst, and its order is stored."""
    with ExitStack() as up:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in clock.variables.items():
                patch.setenv(name, value)
            postgres = up.enter_context(started_postgres())
        connection = up.enter_context(psycopg.connect(postgres.dsn, autocommit=True))
        machine = up.enter_context(Machine(tmp_path, postgres.dsn, kafka_bootstrap, make_topic()))
        load = up.enter_context(under_load(machine, SEED))
        wait_for(lambda: len(load.poster.promised) > 20, "POSTs are saved", 20)
        clock.set(step)
        told = connection.execute("select clock_timestamp()").fetchone()
        assert told
        assert abs(told[0].timestamp() - time.time()) > 3000, "its clock is another"
        all_goes_on(machine, load)
        clock.set("+0")
        all_goes_on(machine, load)
