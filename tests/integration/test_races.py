"""Each race that memory's rule is there for, forced on the real write path: at every pair of moments of a batch.

The moments are the named points inside a batch. A slow reader reads PostgreSQL at one of them and puts what it read
at a later one; whatever the pair, memory never answers what PostgreSQL does not hold.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from pathlib import Path

import psycopg
import pytest

from orders.errors import Unavailable
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.memory.keeper import rows_from
from orders.memory.shared import Memory, Put
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Entry, Span
from orders.timing import monotonic
from support.entries import TOPIC_ID, delete, upsert
from support.waiting import wait_for

POINTS = ["begin", "before copy", "after copy", "before commit", "after commit", "after fill"]
PAIRS = list(combinations_with_replacement(POINTS, 2))


class Died(BaseException):
    """The ingest's sudden end, as far as one process can play it: no handler of ours catches it."""


class Scene:
    """A database, a memory, writers with what happens at their named points, and a slow reader."""

    def __init__(self, dsn: str, memory: Memory) -> None:
        self.dsn = dsn
        self.memory = memory
        self.stores: list[Store] = []
        self.read: list[tuple[Put, float]] = []

    def writer(self, at: Callable[[str], None]) -> Writer:
        store = Store(lambda: connect(self.dsn, "test"), "orders")
        self.stores.append(store)
        return Writer(store, self.memory, at=at)

    def held(self) -> dict[str, bytes]:
        """What PostgreSQL holds: the served document of each uid."""
        with connect(self.dsn, "test") as connection:
            return {put.order_uid: put.document for put in rows_from(connection, 0)}

    def read_through(self) -> None:
        as_of = monotonic()
        with connect(self.dsn, "test") as connection:
            self.read += [(put, as_of) for put in rows_from(connection, 0)]

    def put(self) -> None:
        for put, as_of in self.read:
            self.memory.put([put], as_of)
        self.read.clear()

    def is_true(self) -> bool:
        held = self.held()
        return self.memory.get(b"a") in (None, held.get("a"))


@pytest.fixture
def scene(postgres_dsn: str, tmp_path: Path) -> Iterator[Scene]:
    migrate(postgres_dsn)
    made = Scene(postgres_dsn, Memory.create(tmp_path / "memory", 4 * 2**20))
    store = Store(lambda: connect(postgres_dsn, "test"), "orders")
    store.begin(TOPIC_ID, {0: 0, 1: 0})
    store.close()
    yield made
    for one in made.stores:
        one.close()
    made.memory.close()


def write(writer: Writer, entry: Entry) -> None:
    record = entry.record
    writer.write(Batch((entry,), {record.partition: Span(record.offset, record.offset + 1)}), TOPIC_ID)


@pytest.mark.parametrize("change", [upsert("a", 2, offset=1), delete("a", offset=1)], ids=["replaced", "deleted"])
@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies after commit"])
def test_a_slow_read_never_brings_back_what_was_changed(scene: Scene, change: Entry, *, dies: bool) -> None:
    """Also where the ingest dies between COMMIT and its put."""
    offset = 0
    for read_at, put_at in PAIRS:
        if dies and "after fill" in (read_at, put_at):
            continue
        write(scene.writer(lambda _: None), upsert("a", 1, offset=offset))
        play(scene, change_at(change, offset + 1), read_at, put_at, dies=dies)
        assert scene.is_true(), f"read at {read_at}, put at {put_at}"
        offset += 2


def change_at(change: Entry, offset: int) -> Entry:
    order_uid = "a"
    return delete(order_uid, offset=offset) if change.record.value is None else upsert(order_uid, offset, offset=offset)


def play(scene: Scene, change: Entry, read_at: str, put_at: str, *, dies: bool) -> None:
    def at(point: str) -> None:
        if point == read_at:
            scene.read_through()
        if point == put_at:
            scene.put()
        if point in ("after commit", "after fill"):
            assert scene.is_true(), f"at {point}: read at {read_at}, put at {put_at}"
        if dies and point == "after commit":
            raise Died

    at("begin")
    try:
        write(scene.writer(at), change)
    except Died:
        scene.put()


def test_a_known_order_is_not_served_from_memory_between_fence_and_settling(scene: Scene) -> None:
    seen: dict[str, bytes | None] = {}
    write(scene.writer(lambda _: None), upsert("a", 1, offset=0))
    write(scene.writer(lambda point: seen.update({point: scene.memory.get(b"a")})), upsert("a", 2, offset=1))
    assert seen["after copy"] is not None
    assert seen["before commit"] is None
    assert seen["after commit"] is None
    assert b'"amount":2' in (seen["after fill"] or b"")


@pytest.mark.parametrize("point", ["before copy", "after copy", "before commit"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_two_ingests_that_meet_on_one_uid_both_write_it_one_after_the_other(
    scene: Scene, point: str, *, known: bool
) -> None:
    """The second waits for the first's locks, fails or not, and then decides on what the first left."""
    if known:
        write(scene.writer(lambda _: None), upsert("a", 1, offset=0))
    other = scene.writer(lambda _: None)
    second = threading.Thread(target=write, args=(other, upsert("a", 3, partition=1, offset=0)))

    def at(where: str) -> None:
        if where == point and not second.ident:
            second.start()
            waiting_for_us(scene.dsn, second)

    write(scene.writer(at), upsert("a", 2, offset=int(known)))
    second.join(20)
    assert not second.is_alive()
    assert b'"amount":3' in scene.held()["a"] or (point == "before copy" and not known)
    assert scene.is_true()


def test_a_delete_that_waits_for_a_replacement_finds_the_new_row(scene: Scene) -> None:
    write(scene.writer(lambda _: None), upsert("a", 1, offset=0))
    second = threading.Thread(target=write, args=(scene.writer(lambda _: None), delete("a", partition=1)))

    def at(point: str) -> None:
        if point == "before commit":
            second.start()
            waiting_for_us(scene.dsn, second)

    write(scene.writer(at), upsert("a", 2, offset=1))
    second.join(20)
    assert scene.held() == {}
    assert scene.memory.get(b"a") is None


def test_an_order_that_two_ingests_write_all_the_time_is_nobodys_fault(scene: Scene) -> None:
    """However often they meet, no record becomes a dead letter."""

    def keep_writing(partition: int) -> None:
        writer = scene.writer(lambda _: None)
        for offset in range(100):
            change = upsert("a", 1000 * partition + offset, partition=partition, offset=offset)
            write_in_the_end(writer, delete("a", partition=partition, offset=offset) if offset % 4 == 3 else change)

    threads = [threading.Thread(target=keep_writing, args=(partition,)) for partition in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with psycopg.connect(scene.dsn) as connection:
        assert connection.execute("select partition, next_offset from positions order by 1").fetchall() == [
            (0, 100),
            (1, 100),
        ]
        assert connection.execute("select reason from dead_letters").fetchall() == []


def write_in_the_end(writer: Writer, entry: Entry) -> None:
    while True:
        try:
            return write(writer, entry)
        except Unavailable:
            continue


def waiting_for_us(dsn: str, second: threading.Thread) -> None:
    """Until the second writer waits for a lock, or has finished."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        wait_for(lambda: not second.is_alive() or connection.execute(query).fetchone() != (0,), "the second waits")
