"""What the simulation found, each as the few steps that it takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orders.errors import Unavailable
from orders.ingest.loop import CHECK_SECONDS
from orders.kafka.consumer import OrderConsumer
from orders.kafka.topic import TopicSnapshot
from orders.record import Round
from support.simulation import invariants
from support.simulation.kafka import Said
from support.simulation.postgres import Beside, Work
from support.simulation.reference import value_of
from support.simulation.world import World, quiet

TOPIC_ID = "topic-1"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An ingest that has written two orders, each in a transaction of its own, and now idles."""
    with quiet():
        made = World(0, tmp_path, partitions=1, machines=1, ingests=1)
        made.calm = True
        made.broker.share_out([made.ingests[0].name])
        made.ingests[0].start()
        for order_uid in ("a-0", "b-0"):
            made.broker.log[0].append(Said("upsert", order_uid, 1, order_uid.encode(), value_of(order_uid, 1), 0))
            idle(made, seconds=1)
        assert made.server.tables.positions == {(TOPIC_ID, 0): 2}
        yield made
        made.machines[0].memory.close()


def idle(world: World, seconds: float) -> None:
    """Lets the ingest go round for a while."""
    end = world.now + seconds
    while world.now < end:
        world.now += 0.1
        world.run(world.ingests[0])


def test_commits_that_a_standby_lacks_are_read_again_where_nothing_new_comes(world: World) -> None:
    world.server.fail_over(lost=1, ahead=0)
    world.before = world.server.tables
    assert world.server.tables.orders.keys() == {"a-0"}
    idle(world, CHECK_SECONDS + 1)
    assert world.server.tables.orders.keys() == {"a-0", "b-0"}
    invariants.check_commit(world)


def test_a_position_that_a_standby_lacks_is_given_again(world: World) -> None:
    world.server.fail_over(lost=3, ahead=0)
    assert world.server.tables.positions == {}
    idle(world, CHECK_SECONDS + 1)
    assert world.server.tables.positions == {(TOPIC_ID, 0): 2}


def test_a_position_that_a_person_sets_back_is_seen_where_nothing_new_comes(world: World) -> None:
    work = Work()
    work.positions[TOPIC_ID, 0] = 0
    world.server.commit(work)
    idle(world, CHECK_SECONDS + 1)
    assert world.server.tables.positions == {(TOPIC_ID, 0): 2}


def test_an_ingest_that_is_in_its_place_stays_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the positions does not make it read anything again."""
    moves: list[int] = []
    monkeypatch.setattr(world.ingests[0].loop, "placed", lambda partition, _position: moves.append(partition))
    idle(world, 3 * CHECK_SECONDS)
    assert moves == []


# -- new partitions of which Kafka's client gave more than might be read yet: that comes again before more is passed --


class Growing:
    """A topic that gains two partitions, in which records wait; rounds open but for those that are `refused`."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        self.world = world
        stream = world.ingests[0].loop.stream
        assert isinstance(stream, OrderConsumer)
        self.stream = stream
        self.refused = {1, 2}
        self.open = self.stream._positions.open
        patch.setattr(self.stream._positions, "open", self._open)
        for partition in (1, 2):
            said = [Said("upsert", uid, 1, uid.encode(), value_of(uid, 1), 0) for uid in uids_of(partition)]
            world.broker.log.append(said)
            world.broker.grown_at.append(world.now)

    def _open(self, topic_id: str, partition: int, planned: Round) -> bool:
        if partition in self.refused:
            raise Unavailable("busy")
        return self.open(topic_id, partition, planned)

    def begin(self, owners: dict[int, str]) -> None:
        """All that the client gives is dropped so far; it has given some of partition 1."""
        self.world.broker.wanted = owners
        idle(self.world, seconds=2)
        assert self.positions == {0: 2, 1: 0, 2: 0}
        assert 1 in self.stream._growth._cut

    def is_whole(self, *partitions: int) -> bool:
        """Whether each was read to its end; `check_commit` has seen by then that nothing is missing."""
        return all(self.positions[n] == len(self.world.broker.log[n]) for n in partitions)

    @property
    def positions(self) -> dict[int, int]:
        return {partition: offset for (_, partition), offset in self.world.server.tables.positions.items()}


def uids_of(partition: int) -> list[str]:
    return [f"{name}-{partition}" for name in ("a", "b", "a", "b")]


@pytest.fixture
def growing(world: World, monkeypatch: pytest.MonkeyPatch) -> Growing:
    return Growing(world, monkeypatch)


OURS = "ingest:0"


def test_a_round_that_opens_where_the_next_one_fails(growing: Growing) -> None:
    """PostgreSQL has too much to do, or stands still, between the rounds of two new partitions."""
    growing.begin({0: OURS, 1: OURS, 2: OURS})
    growing.refused = {2}
    idle(growing.world, seconds=2)
    assert growing.is_whole(1)
    growing.refused = set()
    idle(growing.world, seconds=2)
    assert growing.is_whole(1, 2)


def test_a_round_that_opens_where_the_group_cannot_be_asked(growing: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether each new partition has an owner is asked after the rounds; here one is another ingest's."""

    def owned(_group: str) -> set[int]:
        raise Unavailable("the coordinator moves")

    growing.begin({0: OURS, 1: OURS, 2: "another"})
    monkeypatch.setattr(growing.stream._view, "owned", owned)
    growing.refused = set()
    idle(growing.world, seconds=2)
    assert growing.is_whole(1)


@pytest.mark.parametrize("below", [2, None], ids=["a round whose reply was lost", "a person's resume"])
def test_what_was_opened_elsewhere_where_kafka_cannot_be_asked(
    growing: Growing, monkeypatch: pytest.MonkeyPatch, below: int | None
) -> None:
    """The ends for the next round of another partition are asked for once it is known what PostgreSQL opened."""
    growing.begin({0: OURS, 1: OURS, 2: OURS})
    growing.stream._growth._rounds.clear()  # they are planned again
    look, looks = growing.world.broker.look, iter(range(1_000))

    def every_second(*needed: str) -> TopicSnapshot:
        if next(looks) % 2:
            raise Unavailable("Kafka is unavailable")
        return look(*needed)

    monkeypatch.setattr(growing.stream._view, "look", every_second)
    work = Work()
    work.beside[TOPIC_ID, 1] = Beside(below=below, new_since=None if below is None else growing.world.now)
    growing.world.server.commit(work)
    idle(growing.world, seconds=2)
    assert growing.positions[1] == (below or len(growing.world.broker.log[1]))
