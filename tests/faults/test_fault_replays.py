"""An ingest is killed inside of the batch that holds a replay: the dead letter is told once what became of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orders.dead_letters import stored
from orders.dead_letters.replay import Replayed, Replays
from orders.dead_letters.stored import NewAction, Wanted
from orders.kafka.producer import OrderProducer
from orders.postgres.connection import Connection, connect
from support.checker import caught_up
from support.machine import Machine
from support.services import MakeTopic
from support.traffic import Traffic

pytestmark = pytest.mark.system

POINTS = ("after copy", "after commit", "after fill")
DEADLINE = 40.0


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(1), ingests=1) as made:
        yield made


def test_a_kill_while_a_replay_is_written_tells_its_dead_letter_once(machine: Machine) -> None:
    """Points before COMMIT, after it, and after memory is filled; the replay waits on and hears its outcome."""
    settings = machine.settings
    traffic = Traffic(19, settings.kafka_bootstrap, settings.kafka_topic)
    producer = OrderProducer(settings.kafka, settings.kafka_topic, 20)
    try:
        producer.send([(b"refused", b"{")] * len(POINTS), lambda *_: None)
        caught_up(machine)
        with connect(settings.postgres_dsn, "test") as connection, ThreadPoolExecutor(1) as pool:
            ids, _ = stored.chosen(connection, Wanted())
            for number, point in zip(ids, POINTS, strict=True):
                stored.keep(connection, [NewAction(number, "edit", value=traffic.new().text)])
                machine.order("ingest 0").write_text(point)
                result = pool.submit(replay, connection, producer, number)
                assert machine.await_end("ingest 0", 20), f"no batch to die in {point}"
                machine.start("ingest 0")
                assert result.result(DEADLINE + 5).outcome == "created", point
                told = [each.outcome for each in stored.actions(connection, number) if each.action == "outcome"]
                assert told == ["created"], point
            caught_up(machine)
            rows = connection.execute("select order_uid from orders order by id").fetchall()
            assert rows == [(f"order-{number + 1}",) for number in range(len(POINTS))]
            assert stored.chosen(connection, Wanted(state="replayed")) == (ids, 0)
    finally:
        producer.close()


def replay(connection: Connection, producer: OrderProducer, number: int) -> Replayed:
    (result,) = Replays(connection, producer, forced=False, deadline=DEADLINE).run([number])
    return result
