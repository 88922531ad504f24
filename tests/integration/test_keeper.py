"""The keeper restores memory from one snapshot and hears what other machines changed, on a real PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders import sample
from orders.decoder import read
from orders.keeper import Keeper
from orders.memory import Memory
from orders.migrations import migrate
from orders.order import Content
from orders.pipeline import Writer
from orders.postgres import connect
from orders.record import Batch, Entry, Record, Span
from orders.store import Store
from support.entries import TOPIC_ID, delete, upsert
from support.proxy import LosingProxy
from support.waiting import wait_for

BUDGET = 4 * 2**20
END_KEEPERS = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name = 'orders keep' and datname = current_database()
"""


class Machine:
    """One memory with its writer, and its keeper in a thread when asked for."""

    def __init__(self, dsn: str, path: Path, budget: int = BUDGET) -> None:
        self.memory = Memory.create(path, budget)
        self._store = Store(lambda: connect(dsn, "test"), "orders")
        self._writer = Writer(self._store, self.memory)
        self._stop = threading.Event()
        self._keeper = Keeper(lambda: connect(dsn, "keep"), self.memory, self._stop.is_set)
        self._thread = threading.Thread(target=self._keeper.run)

    def write(self, *entries: Entry) -> None:
        spans = {0: Span(entries[0].record.offset, entries[-1].record.offset + 1)}
        self._writer.write(Batch(entries, spans), TOPIC_ID)

    def keep(self) -> None:
        self._thread.start()
        wait_for(lambda: not self.memory.restore_wanted(), "restored", 20)

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._store.close()
        self.memory.close()


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    store = Store(lambda: connect(postgres_dsn, "test"), "orders")
    store.begin(TOPIC_ID, 0, 0)
    store.close()
    return postgres_dsn


@pytest.fixture
def machine(dsn: str, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(address: str = dsn, budget: int = BUDGET) -> Machine:
        made.append(Machine(address, tmp_path / f"memory-{len(made)}", budget))
        return made[-1]

    yield make
    for one in made:
        one.close()


def entries(count: int, first: int = 0) -> list[Entry]:
    values = sample.samples(count, 7)
    return [read(Record(0, first + i, 1_000, None, value)) for i, value in enumerate(values)]


def uid(entry: Entry) -> bytes:
    assert isinstance(entry.content, Content)
    return entry.content.row.order_uid.encode()


def test_a_restore_gives_the_bytes_that_were_served_before(machine: Callable[..., Machine]) -> None:
    before, after = machine(), machine()
    stored = entries(700)
    before.write(*stored)
    after.keep()
    served = [before.memory.get(uid(e)) for e in stored]
    assert None not in served
    assert [after.memory.get(uid(e)) for e in stored] == served


def test_a_restore_begins_where_the_budget_does_and_keeps_the_newest(machine: Callable[..., Machine]) -> None:
    before, after = machine(), machine(budget=512 * 1024)
    stored = entries(1000)
    before.write(*stored)
    after.keep()
    kept = [after.memory.get(uid(e)) is not None for e in stored]
    assert all(kept[-200:])
    assert not any(kept[:200])
    assert after.memory.stats().used <= 512 * 1024


def test_an_empty_database_is_restored_at_once(machine: Callable[..., Machine]) -> None:
    one = machine()
    one.keep()
    assert one.memory.stats().documents == 0


def test_what_another_machine_replaces_or_deletes_leaves_memory(machine: Callable[..., Machine]) -> None:
    here, there = machine(), machine()
    here.write(upsert("a", 1, offset=0), upsert("b", 1, offset=1), upsert("c", 1, offset=2))
    here.keep()
    there.write(upsert("a", 2, offset=3), delete("b", offset=4))
    wait_for(lambda: here.memory.get(b"a") is None and here.memory.get(b"b") is None, "heard", 10)
    assert here.memory.get(b"c") is not None


def test_after_a_lost_connection_memory_is_compared_and_filled_again(machine: Callable[..., Machine], dsn: str) -> None:
    """What changed while nobody listened is not served from memory afterwards."""
    place = conninfo_to_dict(dsn)
    with LosingProxy(str(place["host"]), int(str(place["port"]))) as proxy:
        here, there = machine(make_conninfo(dsn, port=proxy.port, sslmode="disable")), machine()
        there.write(upsert("a", 1, offset=0))
        here.keep()
        assert here.memory.get(b"a") is not None
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(END_KEEPERS)
            there.write(upsert("a", 2, offset=1))
        wait_for(lambda: b'"amount":2' in (here.memory.get(b"a") or b""), "restored anew", 15)


def test_an_unreachable_database_is_waited_for_and_memory_stays(machine: Callable[..., Machine], dsn: str) -> None:
    here = machine()
    here.write(upsert("a", 1, offset=0))
    here.keep()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(END_KEEPERS)
    assert here.memory.get(b"a") is not None
    wait_for(lambda: b'"ready"' in here.memory.board().get("keeper", b""), "back", 15)


def test_outcomes_that_nobody_waits_for_are_pruned(machine: Callable[..., Machine], dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into outcomes values ('t', 0, 0, 'created', 'a', 1, null, null, now() - interval '1 h')"
        )
    machine().keep()

    def pruned() -> bool:
        with psycopg.connect(dsn) as connection:
            return connection.execute("select count(*) from outcomes").fetchone() == (0,)

    wait_for(pruned, "pruned", 15)
