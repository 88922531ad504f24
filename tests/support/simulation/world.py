"""Schedules of faults for the real write path and the real keeper, each drawn from one seed.

Real are `Ingest`, `Writer`, `Batcher`, `fold`, the decoder, `OrderConsumer`, `Store`, the verdicts on PostgreSQL's
errors, `Memory` with its LMDB and its rule, and `Keeper`. Simulated are PostgreSQL's server, Kafka with its client,
and time.

There are no threads: what happens while a process stands between two of its steps happens inside of that step, down to
some depth. So of two transactions that overlap, the one that began later ends first, or meets a lock. Nothing waits and
no clock is read: time passes when the schedule says so. `Chance` is the only source of what happens, so that a seed is
a schedule.
"""

import logging
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import lmdb
import structlog
from psycopg import errors

from orders.memory import keeper
from orders.memory.notices import changed_orders
from orders.memory.shared import Memory, Put
from orders.postgres.connection import translated
from orders.timing import Clock
from support.simulation import events, invariants
from support.simulation.actors import IngestProcess, KeeperProcess, Machine
from support.simulation.chance import Chance
from support.simulation.kafka import Broker
from support.simulation.postgres import Killed, Server, Session
from support.simulation.reference import MOVING, POISONED, SHARED, Truth, truth_of

STEPS = 30
"""Events of a schedule, those not counted that happen inside of others."""
DEPTH = 3
"""So many processes may stand in the middle of a step at the same time."""
BUDGETS = (3 * 4096, 2**20)
"""Of memory, in bytes: one that evicts all the time, and one that never does."""
STALLS = (1.0, 9.0, 11.0, 31.0, 61.0)
"""Seconds for which a stopped process stands: around the time-outs of sessions, and of fences and minimum versions."""
HEALING_TURNS = 150
START = 1_000.0
SHARED_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - where memory is kept on Linux
TOLD = 60
"""Lines of the story that a failure tells."""

OWN_NAMES = 3
NAMES = [f"{name}-{partition}" for partition in range(events.MOST_PARTITIONS) for name in ("a", "b", POISONED)]
"""Three uids of each partition."""

Process = IngestProcess | KeeperProcess


class Read(NamedTuple):
    """A read-through whose answer was not yet put."""

    machine: Machine
    puts: list[Put]
    as_of: float


class World:
    """One schedule: machines with their memories, ingests and keepers, a topic and a database."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        partitions: int | None = None,
        machines: int | None = None,
        ingests: int | None = None,
        clocks_step: bool = False,
    ) -> None:
        """How many there are of each is drawn unless given."""
        self.clocks_step = clocks_step
        self.chance = chance = Chance(seed)
        self.now = START
        self.calm = False
        self.outage = ""
        self.busy: list[str] = []
        self.reads: list[Read] = []
        self.last_amount = 1_000
        self.moving: int | None = None
        """The last amount of `MOVING`; None where it was deleted, or never was."""
        self.order_is_lost = False
        """Whether nobody can know the order of two partitions: the topic grew before it was first read, or a person has
        set a position back."""
        self.memory_fails = chance.one_in(4)
        self._truths: dict[tuple[int, int], Truth] = {}
        self._looked_at: tuple[object, ...] = ()
        self.server = Server(self._read_clock)
        self.broker = Broker(chance, partitions or 1 + chance.below(3))
        self.known_partitions = self.partitions_at_first = len(self.broker.log)
        self.machines = [self._machine(folder, number) for number in range(machines or 1 + chance.below(2))]
        self.ingests = [self._ingest(number) for number in range(ingests or 1 + chance.below(3))]
        self.keepers = [KeeperProcess(self, machine, f"keeper:{n}") for n, machine in enumerate(self.machines)]
        self.before = self.server.tables
        self.server.at, self.server.contend = self._session_at, self._contend
        self.server.committed, self.server.connecting = self._committed, self._connecting
        self.broker.at, self.broker.pass_time = self.at, self.pass_time

    def _machine(self, folder: Path, number: int) -> Machine:
        return Machine(Memory.create(folder / f"memory-{number}", self.chance.pick(BUDGETS), self._read_clock))

    def _ingest(self, number: int) -> IngestProcess:
        machine = self.machines[number % len(self.machines)]
        return IngestProcess(self, machine, f"ingest:{number}", 2 + self.chance.below(7))

    @property
    def processes(self) -> Sequence[Process]:
        return [*self.ingests, *self.keepers]

    @property
    def clock(self) -> Clock:
        return self._read_clock

    def _read_clock(self) -> float:
        return self.now

    @property
    def uids(self) -> list[str]:
        """All that orders may be named."""
        return [*NAMES[: len(self.broker.log) * OWN_NAMES], SHARED, MOVING]

    def truth(self, partition: int, position: int) -> Truth:
        """What a partition says up to a position."""
        if (partition, position) not in self._truths:
            self._truths[partition, position] = truth_of(self.broker.log[partition][:position])
        return self._truths[partition, position]

    def has_changed(self) -> bool:
        """Whether there is anything new for a GET to find since this was last asked."""
        state = (self.server.changes, *((machine.writes, len(machine.unheard)) for machine in self.machines))
        changed, self._looked_at = state != self._looked_at, state
        return changed

    def keep_read(self, machine: Machine, puts: list[Put], as_of: float) -> None:
        """An answer was read on a machine, and is put when it comes to it."""
        self.reads.append(Read(machine, puts, as_of))

    def pass_time(self, seconds: float) -> None:
        """Somebody waits."""
        self.now += seconds

    def tell(self, text: str) -> None:
        self.chance.tell(f"{self.now - START:8.2f} {'  ' * len(self.busy)}{text}")

    # -- the schedule --

    def play(self) -> None:
        """Everything: from the start of all processes to the last comparison."""
        self.broker.share_out([ingest.name for ingest in self.ingests])
        for process in self.processes:
            process.start()
        for _ in range(STEPS):
            self.event()
        self.heal()
        if self.chance.one_in(4):  # and nothing new comes
            events.postgres_fails_over(self)
            self.heal()
        invariants.check_end(self)

    def event(self) -> None:
        """What happens next, whatever it is."""
        self.now += self.chance.seconds(0.001, 0.2)
        self.chance.weighed(events.EVENTS)(self)
        invariants.check_memory(self)

    def run(self, process: Process) -> None:
        """Lets a process take a turn, unless it stands in the middle of one."""
        if process.name in self.busy or not process.is_running:
            return
        self.busy.append(process.name)
        try:
            process.turn()
        except Killed:
            self.bury(process)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"10 {process.name} ended: {error!r}") from error
        finally:
            self.busy.remove(process.name)

    def bury(self, process: Process) -> None:
        """A process is gone; its sessions end at once, or only when PostgreSQL notices."""
        process.is_running = False
        for session in [s for s in self.server.sessions if s.owner == process.name]:
            if session.listening or not session.work or self.chance.one_in(1.5):
                session.end()

    def heal(self) -> None:
        """All faults are over: without a person everything is read, everybody is well, and every notice is heard."""
        self.calm = True
        self.tell("all faults are over")
        events.end_outages(self)
        if self.clocks_step:
            events.mend_clocks(self)
        self.broker.share_out([ingest.name for ingest in self.ingests])
        for process in self.processes:
            if not process.is_running:
                process.start()
        for _ in range(HEALING_TURNS):
            self.now += 0.5
            for process in self.processes:
                self.run(process)
            events.put(self)
            invariants.check_memory(self)
            if invariants.is_healed(self):
                return
        raise AssertionError(f"6 not healed: {invariants.ailments(self)}")

    # -- between two steps --

    def at(self, owner: str, point: str) -> None:
        """Between two steps of a process: it may end here, and others may continue."""
        if self.calm:
            return
        invariants.check_memory(self)
        if owner in self.busy and self.chance.one_in(250):
            self.tell(f"{owner} is killed at {point}")
            raise Killed
        if len(self.busy) < DEPTH and self.chance.one_in(12):
            self._meanwhile(owner, point)

    def _meanwhile(self, owner: str, point: str) -> None:
        stalls = self.chance.one_in(6)
        self.tell(f"{owner} stands at {point}{', for long' if stalls else ''}")
        if stalls:
            self.now += self.chance.pick(STALLS)
        for _ in range(1 + self.chance.below(10 if stalls else 3)):
            self.event()
        self.tell(f"{owner} continues")

    def memory_at(self, owner: str, point: str) -> None:
        """Before memory's write transaction, which may fail."""
        self.at(owner, point)
        if self.memory_fails and not self.calm and self.chance.one_in(10):
            self.tell(f"{owner} cannot write into memory")
            raise lmdb.MapFullError("full")

    def _session_at(self, session: Session, point: str) -> None:
        self.at(session.owner, point)
        if not self.calm and self.chance.one_in(8 if point == "committed" else 70):
            self.tell(f"{session.owner}: {events.trouble(self, session, point)} at {point}")

    def _connecting(self, owner: str) -> None:
        """What `connect` raises is ours already; the verdicts are the real ones."""
        if self.outage in {"down", "full"}:
            with translated():
                raise errors.OperationalError if self.outage == "down" else errors.TooManyConnections
        self.at(owner, "connect")

    def _contend(self, holder: Session) -> None:
        """A lock is met: it is not got, or its holder stands still for too long."""
        self.now += self.chance.seconds(0.1, 10.5)
        self.tell(f"a lock of {holder.owner} is met")
        if self.chance.one_in(2):
            holder.end()

    def _committed(self, notices: Sequence[str]) -> None:
        self.tell(f"COMMIT: {sorted(self.server.tables.positions.items())}")
        self.order_is_lost |= bool(self.broker.grown_at) and not self.before.positions
        invariants.check_commit(self)
        for changed in map(changed_orders, notices):
            for machine in self.machines:
                if machine.memory.identity != changed.memory:
                    machine.unheard.update(changed.changes)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged, and what is drawn elsewhere (the pauses between tries) comes from the seed too."""
    config, state = structlog.get_config(), random.getstate()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**config)
        random.setstate(state)


def simulate(seed: int, *, clocks_step: bool = False) -> None:
    """Plays the schedule of a seed; raises AssertionError with the seed and the end of its story."""
    story_of(seed, clocks_step=clocks_step)


def story_of(seed: int, *, clocks_step: bool = False) -> list[str]:
    """The same; what happened, a line an event."""
    with quiet(), tempfile.TemporaryDirectory(prefix="simulation-", dir=SHARED_FOLDER) as folder:
        random.seed(seed)
        world = World(seed, Path(folder), clocks_step=clocks_step)
        time = SimpleNamespace(sleep=world.pass_time, time=world.clock)
        try:
            with patch.object(keeper, "time", time), patch.object(keeper, "RESTORE_CHUNK", 2):
                world.play()
        except Exception as error:
            story = "\n".join(world.chance.story[-TOLD:])
            again = f"pytest tests/simulation --simulation-seed {seed}"
            raise AssertionError(f"seed {seed}: {error!r}; again with `{again}`\n{story}") from error
        else:
            return world.chance.story
        finally:
            for machine in world.machines:
                machine.memory.close()
