"""What the simulation found, each as the few steps that it takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orders.ingest.loop import CHECK_SECONDS
from support.simulation import invariants
from support.simulation.kafka import Said
from support.simulation.postgres import Work
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
