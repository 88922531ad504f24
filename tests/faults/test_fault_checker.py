"""The checker itself: each invariant is broken on purpose, and it says which one, and the seed."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.memory.shared import Memory, Put
from orders.timing import monotonic
from support import watching
from support.background import Background
from support.checker import INVARIANTS, Broken, caught_up, check, of_answer
from support.machine import Machine
from support.services import Topics, fresh_database, open_folder
from support.traffic import Model, Traffic
from support.waiting import wait_for
from support.watching import Database, Guard, bound, recovery

pytestmark = pytest.mark.system
SEED = 606
TABLES = ("orders", "dead_letters", "positions")


class Scene:
    """A machine that holds what its topic says, and what that is."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.traffic = Traffic(SEED, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
        self.model = Model({}, set(), set())
        self.ingests = {kind for kind in machine.pids if kind.startswith("ingest")}

    def catch_up(self) -> None:
        caught_up(self.machine)
        self.model = self.traffic.model()

    def run(self, statement: str, *values: object) -> int:
        with psycopg.connect(self.machine.settings.postgres_dsn, autocommit=True) as connection:
            return connection.execute(statement, values).rowcount

    def rest(self) -> None:
        """Ends the ingests: they look every few seconds whether positions are theirs, and would fix what is broken."""
        for kind in self.ingests & self.machine.pids.keys():
            self.machine.tell(kind, signal.SIGTERM)
            assert self.machine.await_end(kind, 15)

    def consume(self) -> None:
        """Starts the ingests that were ended."""
        for kind in self.ingests - self.machine.pids.keys():
            self.machine.start(kind)
        wait_for(self.machine.is_ready, "the ingests have their partitions", 60)

    def stored(self, *, neighbour: bool) -> str:
        """The uid of a stored order whose last record lies beside an invalid message, or does not."""
        return next(uid for uid in self.model.orders if (uid in self.model.neighbours) == neighbour)


@pytest.fixture(scope="module")
def scene(postgres: PostgresService, kafka: KafkaService) -> Iterator[Scene]:
    topics = Topics(kafka.bootstrap)
    with open_folder() as folder, fresh_database(postgres) as dsn:
        try:
            with Machine(folder, dsn, kafka.bootstrap, topics.make()) as machine:
                scene = Scene(machine)
                scene.traffic.send(250)
                scene.catch_up()
                yield scene
        finally:
            topics.delete()


@pytest.fixture
def at_rest(scene: Scene) -> Scene:
    scene.rest()
    return scene


@pytest.fixture
def consuming(scene: Scene) -> Scene:
    scene.consume()
    return scene


@contextmanager
def undone(scene: Scene) -> Iterator[None]:
    """Tables and memory as they were before, in the end."""
    for table in TABLES:
        scene.run(f"create table kept_{table} as table {table}")
    try:
        yield
    finally:
        for table in TABLES:
            scene.run(f"truncate {table}")
            scene.run(f"insert into {table} overriding system value table kept_{table}")
            scene.run(f"drop table kept_{table}")
        empty_memory(scene)


def empty_memory(scene: Scene) -> None:
    """And until the keeper has filled it, which begins by emptying it once more."""
    memory = Memory.open(Path(scene.machine.settings.memory_path))
    memory.empty()
    wait_for(lambda: not memory.restore_wanted(), "memory is restored", 30)
    memory.close()


def test_what_is_whole_passes(scene: Scene) -> None:
    check(
        scene.machine, scene.model, {scene.stored(neighbour=False): scene.model.orders[scene.stored(neighbour=False)]}
    )


def lose(scene: Scene) -> None:
    scene.run("delete from orders where order_uid = %s", scene.stored(neighbour=False))


def lose_a_neighbour(scene: Scene) -> None:
    scene.run("delete from orders where order_uid = %s", scene.stored(neighbour=True))


def invent(scene: Scene) -> None:
    copied(scene, scene.stored(neighbour=False), "invented")


def copied(scene: Scene, order_uid: str, name: str) -> None:
    """Stores an order once more, under another name."""
    scene.run("create table one as select * from orders where order_uid = %s", order_uid)
    scene.run("update one set order_uid = %s, id = id + 1000000, version = version + 1000000", name)
    scene.run("insert into orders table one")
    scene.run("drop table one")


def number_twice(scene: Scene) -> None:
    scene.run("update orders set id = (select min(id) from orders)")


def change_items(scene: Scene) -> None:
    assert scene.run("update orders set items = '[]' where order_uid = %s", scene.stored(neighbour=False))


def store_half(scene: Scene) -> None:
    assert scene.run("update positions set next_offset = 1 where partition = 0")


def lose_a_dead_letter(scene: Scene) -> None:
    assert scene.run("delete from dead_letters where id = (select min(id) from dead_letters)")


def double_a_dead_letter(scene: Scene) -> None:
    scene.run("create table one as select * from dead_letters limit 1")
    scene.run('update one set id = 0, "offset" = "offset" + 1000')
    scene.run("update positions set next_offset = next_offset + 2000")
    scene.run("insert into dead_letters overriding system value table one")
    scene.run("drop table one")


def lose_headers(scene: Scene) -> None:
    assert scene.run("update dead_letters set header_names = '{}', header_values = '{}' where header_names <> '{}'")


def lose_reasons(scene: Scene) -> None:
    assert scene.run("update dead_letters set reason = ''")


def keep_an_older_one(scene: Scene) -> None:
    wanted = (
        "update orders set payment_amount = 1, items = regexp_replace(items::text, '_id\":[0-9]+', '_id\":1')::json"
    )
    assert scene.run(f"{wanted} where payment_amount = 2")


def keep_a_deleted_one(scene: Scene) -> None:
    copied(scene, scene.stored(neighbour=False), next(iter(scene.model.uids - scene.model.orders.keys())))


def poison_memory(scene: Scene) -> None:
    memory = Memory.open(Path(scene.machine.settings.memory_path))
    assert memory.put([Put(scene.stored(neighbour=False), 2**60, b'{"order":{}}')], monotonic())
    memory.close()


@pytest.mark.parametrize(
    ("invariant", "breaking"),
    [
        (1, lose),
        (2, invent),
        (2, number_twice),
        (2, change_items),
        (3, store_half),
        (4, lose_a_dead_letter),
        (4, double_a_dead_letter),
        (4, lose_headers),
        (4, lose_reasons),
        (5, lose_a_neighbour),
        (6, store_half),
        (8, keep_an_older_one),
        (8, keep_a_deleted_one),
        (9, lose),
        (9, poison_memory),
    ],
)
def test_a_broken_invariant_is_named_with_the_seed(
    at_rest: Scene, invariant: int, breaking: Callable[[Scene], None]
) -> None:
    if breaking is lose:
        check(at_rest.machine, at_rest.model, {})  # all GETs once: memory has every order
    with undone(at_rest):
        breaking(at_rest)
        with pytest.raises(Broken, match=f"seed {SEED}") as broken:
            check(at_rest.machine, at_rest.model, {})
    assert invariant in broken.value.invariants
    assert INVARIANTS[invariant] in str(broken.value)


def test_a_promise_that_was_not_kept_is_named(scene: Scene) -> None:
    with pytest.raises(Broken) as broken:
        check(scene.machine, scene.model, {"promised": b"{}"})
    assert broken.value.invariants == {1}


def test_a_late_recovery_is_named(consuming: Scene) -> None:
    with Background(lambda: consuming.traffic.send(4), every=0.05):
        assert recovery(consuming.machine, time.monotonic(), SEED, most=60) < 60
        with pytest.raises(Broken) as broken:
            recovery(consuming.machine, time.monotonic() - 11, SEED)
    consuming.catch_up()
    assert broken.value.invariants == {6}


def test_a_process_that_outgrows_its_bound_is_named(consuming: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(consuming.machine.settings.postgres_dsn)
    guard = Guard(consuming.machine, database, SEED)
    guard.step()
    assert set(guard.largest) == {"keep", "serve", "ingest 0", "ingest 1"}
    monkeypatch.setattr(watching, "PROCESS_BYTES", watching.PROCESS_BYTES - bound(consuming.machine))
    with pytest.raises(Broken) as broken:
        guard.step()
    database.close()
    assert broken.value.invariants == {7}


@pytest.mark.parametrize(
    ("got", "stored", "invariant"),
    [
        ((500, b""), b"{}", 10),
        ((503, b""), b"{}", 1),
        ((404, b'{"message":"Order not found"}'), b"{}", 9),
        ((200, b"{}"), None, 9),
    ],
)
def test_a_false_answer_is_named(got: tuple[int, bytes], stored: bytes | None, invariant: int) -> None:
    assert [breach.invariant for breach in of_answer("some", got, stored)] == [invariant]
