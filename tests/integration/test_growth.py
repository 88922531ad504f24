"""A topic that grows, on real services: what an order was before is stored before what it became."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined] # public, not exported

from orders.commands import status
from orders.commands.cli import cli
from orders.commands.status import StoredPartition, Where
from orders.errors import Unavailable
from orders.ingest.batcher import Batcher
from orders.ingest.loop import Ingest
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.kafka.consumer import OrderConsumer, consumer_config
from orders.kafka.topic import TopicView
from orders.memory.shared import Memory
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Round
from orders.settings import Settings
from orders.system.state import SystemState
from support.simulation.reference import value_of
from support.waiting import wait_for

UIDS = [f"moves-{number}" for number in range(40)]
BACKLOG = 4_000
"""Records that wait in the older partitions: more than an ingest takes in one batch."""


class Member:
    """An ingest in a thread; `stream` is its consumer."""

    def __init__(self, scene: "Scene", name: str, growth_seconds: float, protocol: str) -> None:
        dsn, bootstrap, topic, memory = scene.dsn, scene.bootstrap, scene.topic, scene.memory
        self._store = Store(lambda: connect(dsn, "test"), topic)
        self._loop = Ingest(name, Batcher(500, 2**22, 0.1), Writer(self._store, memory), memory)
        kafka = {"bootstrap.servers": bootstrap, "topic.metadata.refresh.interval.ms": "300"}
        config = consumer_config(
            kafka=kafka, group=topic, member=name, protocol=protocol, session_seconds=6, queue_bytes=2**20
        )
        self.stream = OrderConsumer(config, TopicView(kafka, topic), self._store, self._loop, growth_seconds)
        self._loop.stream = self.stream
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run(self._stopping.is_set)
        self._store.close()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


class Scene:
    """A topic of four partitions, PostgreSQL, and ingests."""

    def __init__(self, dsn: str, bootstrap: str, topic: str, memory: Memory) -> None:
        self.dsn, self.bootstrap, self.topic, self.memory = dsn, bootstrap, topic, memory
        self.members: list[Member] = []

    def start(self, count: int, growth_seconds: float, name: str = "member", protocol: str = "classic") -> None:
        names = [f"{self.topic}-{name}-{number}" for number in range(count)]
        self.members += [Member(self, each, growth_seconds, protocol) for each in names]

    def stop(self) -> None:
        for member in self.members:
            member.stop()
        self.members.clear()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def send(self, uids: Sequence[str], amount: int) -> dict[str, int]:
        """From a producer that has just asked how many partitions there are; in which each lies."""
        found: dict[str, int] = {}

        def note(_error: object, message: Message) -> None:
            found[(message.key() or b"").decode()] = message.partition() or 0

        producer = Producer({"bootstrap.servers": self.bootstrap})
        for uid in uids:
            producer.produce(self.topic, value_of(uid, amount), uid.encode(), on_delivery=note)
        assert producer.flush(20) == 0
        return found

    def send_late(self, places: Mapping[str, int], amount: int) -> None:
        """From a producer that knows these places still."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for uid, partition in places.items():
            producer.produce(self.topic, value_of(uid, amount), uid.encode(), partition)
        assert producer.flush(20) == 0

    def fill(self, count: int) -> None:
        """Others' orders wait in the four partitions that there are."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "queue.buffering.max.messages": 10**6})
        for number in range(count):
            producer.produce(self.topic, value_of(f"other-{number}", 1), b"k", number % 4)
        assert producer.flush(60) == 0

    def grow(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_partitions([NewPartitions(self.topic, 8)]).values():
            future.result(10)

    @property
    def positions(self) -> dict[int, int]:
        return dict(self.sql("select partition, next_offset from positions"))

    @property
    def new(self) -> list[int]:
        found = self.sql("select partition from positions where read_below is not null order by partition")
        return [number for (number,) in found]

    @property
    def amounts(self) -> dict[str, int]:
        return dict(self.sql("select order_uid, payment_amount from orders where order_uid like 'moves-%'"))

    def is_read(self) -> bool:
        ends = TopicView({"bootstrap.servers": self.bootstrap}, self.topic).look().ends
        return self.positions == ends

    def stop_partition(self, partition: int) -> None:
        stop = "update positions set stop = 'dead_letters', stop_reason = 'too many'"
        self.sql(f"{stop} where partition = {partition}")

    def resume(self, *words: str) -> str:
        named = {"kafka-bootstrap": self.bootstrap, "kafka-topic": self.topic, "postgres-dsn": self.dsn}
        options = [word for name, value in named.items() for word in (f"--{name}", value)]
        done = CliRunner(env={"ORDERS_KAFKA_GROUP": self.topic}).invoke(cli, ["resume", *options, *words])
        assert done.exit_code == 0, done.output
        return done.output

    def standing(self) -> list[StoredPartition]:
        """What `orders status` shows."""
        settings = Settings(postgres_dsn=self.dsn, kafka_topic=self.topic)
        found = status._stored(Where(settings, "http://127.0.0.1:9", SystemState(), [])).standing
        assert isinstance(found, list), found
        return found

    def trouble(self) -> str:
        return " ".join(str(member.stream.trouble or "") for member in self.members)


@pytest.fixture
def scene(postgres_dsn: str, kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path) -> Iterator[Scene]:
    migrate(postgres_dsn)
    memory = Memory.create(tmp_path / "memory" / "file", 2**22)
    made = Scene(postgres_dsn, kafka_bootstrap, make_topic(partitions=4), memory)
    yield made
    made.stop()
    memory.close()


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The uids whose records came into new partitions."""
    found = [uid for uid in UIDS if before[uid] != after[uid]]
    assert found, "some of forty orders move from four partitions to eight"
    return found


def test_what_lay_in_the_older_partitions_before_the_topic_grew_is_stored_first(scene: Scene) -> None:
    """By two ingests, neither of which has all partitions; after `growth_seconds` the new ones are like any other.

    Those that were stopped keep the older partitions until their session ends: the new ones could be read before.
    """
    scene.start(2, growth_seconds=1.0)
    wait_for(lambda: scene.positions == dict.fromkeys(range(4), 0), "four partitions are begun", 30)
    assert scene.new == [], "the partitions of the first start wait for nobody"
    scene.stop()
    scene.fill(BACKLOG)
    before = scene.send(UIDS, 1)
    scene.grow()
    moved(before, scene.send(UIDS, 2))
    scene.start(2, growth_seconds=1.0, name="other")
    wait_for(lambda: len(scene.positions) == 8 and scene.is_read(), "all is read", 60)
    assert scene.amounts == dict.fromkeys(UIDS, 2)
    wait_for(lambda: not scene.new, "the new partitions are read like the others", 30)
    scene.send(UIDS, 3)
    wait_for(scene.is_read, "all is read", 30)
    assert scene.amounts == dict.fromkeys(UIDS, 3)


def test_partitions_that_came_while_the_ingests_restarted_are_read(scene: Scene) -> None:
    """Static members get what they had, and no member looks at the topic: they join the group again."""
    scene.start(2, growth_seconds=600)
    wait_for(lambda: scene.positions == dict.fromkeys(range(4), 0), "four partitions are begun", 30)
    scene.stop()
    scene.grow()
    scene.send(UIDS, 1)
    scene.start(2, growth_seconds=600)
    wait_for(lambda: len(scene.positions) == 8 and scene.is_read(), "all is read", 60)
    assert scene.amounts == dict.fromkeys(UIDS, 1)


def test_a_producer_that_learns_late_is_waited_for_and_a_stopped_partition_holds_what_is_new(
    scene: Scene, protocol: str
) -> None:
    """It writes to an older partition after the new ones were found and read; then that partition stops."""
    scene.start(2, growth_seconds=600, protocol=protocol)
    before = scene.send(UIDS, 1)
    wait_for(lambda: scene.positions and scene.is_read(), "all is read", 30)
    scene.grow()
    wait_for(lambda: scene.new == [4, 5, 6, 7], "the new partitions are found", 30)
    uids = moved(before, scene.send(UIDS, 2))
    wait_for(scene.is_read, "a first round brings what is there", 30)
    assert scene.amounts == dict.fromkeys(UIDS, 2)
    old = before[uids[0]]
    scene.stop_partition(old)
    late = {uid: before[uid] for uid in uids if before[uid] == old}
    scene.send_late(late, 3)
    scene.send(list(late), 4)
    waits = f"which is new, waits for {scene.topic}/{old}, which is stopped: too many"
    wait_for(lambda: waits in scene.trouble(), "the stopped partition is named", 30)
    assert [each.stop for each in scene.standing()] == ["dead_letters" if n == old else None for n in range(4)] + [
        "new"
    ] * 4
    assert {scene.amounts[uid] for uid in late} == {2}
    scene.resume("--all")
    wait_for(scene.is_read, "all is read", 30)
    assert {scene.amounts[uid] for uid in late} == {4}
    assert scene.new == [4, 5, 6, 7], "producers may still not know of them"


def test_records_that_came_before_they_might_be_read_are_not_lost_where_another_round_fails(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL opens the round of one new partition, of which Kafka's client gave more already, and not the next."""
    refused = {4, 5, 6, 7}
    open_round = Store.open

    def refusing(store: Store, topic_id: str, partition: int, planned: Round) -> bool:
        if partition in refused:
            raise Unavailable("busy")
        return open_round(store, topic_id, partition, planned)

    monkeypatch.setattr(Store, "open", refusing)
    scene.start(1, growth_seconds=600)
    wait_for(lambda: scene.positions == dict.fromkeys(range(4), 0), "four partitions are begun", 30)
    scene.grow()
    places = scene.send(UIDS, 1)
    new, growth = set(places.values()) - set(range(4)), scene.members[0].stream._growth
    wait_for(lambda: new <= set(growth._cut), "the client gives what may not be read yet", 30)
    refused -= {4}
    wait_for(lambda: scene.positions[4] > 0, "the first new partition is read", 30)
    refused.clear()
    wait_for(scene.is_read, "all is read", 30)
    assert scene.amounts == dict.fromkeys(UIDS, 1)


def test_a_person_may_have_a_new_partition_read_at_once(scene: Scene) -> None:
    """`orders resume --partition` lets it no longer wait for one that is stopped, and says what that may do."""
    scene.start(1, growth_seconds=600)
    before = scene.send(UIDS, 1)
    wait_for(lambda: scene.positions and scene.is_read(), "all is read", 30)
    scene.grow()
    wait_for(lambda: scene.new == [4, 5, 6, 7], "the new partitions are found", 30)
    for partition in range(4):
        scene.stop_partition(partition)
    scene.send_late({uid: before[uid] for uid in UIDS}, 2)
    after = scene.send(UIDS, 3)
    wait_for(lambda: "waits for" in scene.trouble(), "the new partitions wait", 30)
    uid = moved(before, after)[0]
    said = scene.resume("--partition", str(after[uid]))
    assert "what waits in older partitions may now take the place of newer orders" in said
    wait_for(lambda: scene.amounts[uid] == 3, "it is read", 30)
    assert after[uid] not in scene.new
