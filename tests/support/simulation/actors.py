"""The processes of a simulated schedule: the real ingest and the real keeper, on what is simulated around them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar
from unittest.mock import patch

from orders.ingest.batcher import Batcher
from orders.ingest.loop import Ingest
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.kafka import clients
from orders.kafka.consumer import OrderConsumer
from orders.memory import keeper
from orders.memory.layout import Work
from orders.memory.shared import Memory
from orders.timing import Clock
from support.simulation.kafka import METADATA_SECONDS, MOST_AT_ONCE, TOPIC, Broker, made
from support.simulation.postgres import Server

T = TypeVar("T")

GROWTH_SECONDS = 2 * METADATA_SECONDS


class Around(Protocol):
    """What a process has around it."""

    server: Server
    broker: Broker

    @property
    def clock(self) -> Clock: ...
    def at(self, owner: str, point: str) -> None: ...
    def memory_at(self, owner: str, point: str) -> None: ...


class Machine:
    """A shared memory, and what its keeper has not yet heard: uids with the versions that others wrote."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.unheard: dict[str, float] = {}
        self.emptied_at = memory._state().emptied_at
        self.writes = 0
        """How often memory was written."""

    def forget_what_was_emptied(self) -> None:
        """What was unheard of before memory was emptied is in it no more."""
        emptied_at = self.memory._state().emptied_at
        if emptied_at != self.emptied_at:
            self.emptied_at = emptied_at
            self.unheard.clear()


class Door(Memory):
    """One process' door to its machine's memory; between it and others stands the schedule."""

    def __init__(self, around: Around, machine: Machine, owner: str, clock: Clock) -> None:
        super().__init__(machine.memory._env, machine.memory._trees, clock)
        self._around, self._machine, self._owner = around, machine, owner

    def _write(self, change: Callable[[Work], T]) -> T:
        self._around.memory_at(self._owner, "memory")
        result = super()._write(change)
        self._machine.writes += 1
        self._machine.forget_what_was_emptied()
        self._around.at(self._owner, "memory written")
        return result

    def raise_minimum_versions(self, versions: Sequence[tuple[str, int]]) -> None:
        super().raise_minimum_versions(versions)
        for order_uid, version in versions:
            if self._machine.unheard.get(order_uid, 0) <= version:
                self._machine.unheard.pop(order_uid, None)


class IngestProcess:
    """An ingest; `start` makes it again, as its supervisor would."""

    def __init__(self, around: Around, machine: Machine, name: str, records: int) -> None:
        self.around, self.machine, self.name, self._records = around, machine, name, records
        self.skew = 0.0
        self.is_running = False
        self.loop: Ingest

    def clock(self) -> float:
        return self.around.clock() + self.skew

    def start(self) -> None:
        memory = Door(self.around, self.machine, self.name, self.clock)
        store = Store(lambda: self.around.server.connect(self.name), TOPIC)
        writer = Writer(store, memory, self.clock, lambda point: self.around.at(self.name, point))
        self.loop = Ingest(self.name, Batcher(self._records, 10**6, 0.25), writer, memory, self.clock)
        config: dict[str, Any] = {"group.id": "orders", "client.id": self.name, "group.protocol": "classic"}
        with patch.object(clients, "consumer", lambda config: made(config, self.around.broker)):
            self.loop.stream = OrderConsumer(config, self.around.broker.view, store, self.loop, GROWTH_SECONDS)
        self.is_running = True

    def turn(self) -> None:
        self.loop.step()
        batch = self.loop._batcher.batch()
        held = len(batch.entries) if batch else 0
        assert held < self._records + MOST_AT_ONCE, f"7 {self.name} holds {held} records of {self._records}"

    @property
    def ailment(self) -> str:
        """Why it does not consume, or ""."""
        if not self.is_running:
            return "dead"
        return str(self.loop._paused_by or self.loop.stream.trouble or "")


class KeeperProcess:
    """A keeper; one `turn` is a session of its own that follows for some seconds, or tries to."""

    def __init__(self, around: Around, machine: Machine, name: str) -> None:
        self.around, self.machine, self.name = around, machine, name
        self.is_running = False
        self._asked = 0

    def start(self) -> None:
        memory = Door(self.around, self.machine, self.name, self.around.clock)
        connect = self.around.server.connect
        self._keeper = keeper.Keeper(lambda: connect(self.name), memory, self._is_stopping, self.around.clock)
        self.is_running = True

    def _is_stopping(self) -> bool:
        self._asked -= 1
        return self._asked < 0

    def turn(self) -> None:
        self._asked = 8
        self._keeper.run()
