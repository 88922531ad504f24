"""`orders send` on a real Kafka and PostgreSQL: records that are too large, and waiting without an ingest."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orders.commands.cli import cli
from orders.dead_letters.replay import Replays
from orders.errors import StartError, UsageError
from orders.ingest.store import Store
from orders.kafka.lag import reading
from orders.kafka.producer import OrderProducer
from orders.kafka.topic import TopicView
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Stop
from orders.sample import samples
from support.outputs import hold_to_model
from support.services import MakeTopic

TAKEN = 5000


@pytest.fixture
def narrow(make_topic: MakeTopic) -> str:
    """A topic of one partition that takes 5,000 bytes."""
    return make_topic(1, {"max.message.bytes": str(TAKEN)})


def send(bootstrap: str, topic: str, given: bytes, *words: str) -> Result:
    options = ["--kafka-bootstrap", bootstrap, "--kafka-topic", topic, "--json", *words]
    done = CliRunner().invoke(cli, ["send", "-", *options], input=given)
    hold_to_model(["send", *options], done.stdout_bytes)
    return done


def values_of(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    with reading({"bootstrap.servers": bootstrap}, topic, "test", {0: 0}) as consumer:
        return [message.value() for _ in range(count) if (message := consumer.poll(10))]


def padded(order: bytes, size: int) -> bytes:
    return order[:-1] + b',"padding":"' + b"x" * size + b'"}'


@pytest.mark.parametrize("words", [[], ["--as-is"]])
def test_what_the_topic_refuses_is_named_and_small_orders_beside_it_are_not_refused_with_it(
    kafka_bootstrap: str, narrow: str, words: list[str]
) -> None:
    """Brokers judge batches: those of more bytes than the topic takes are never made."""
    them = list(samples(40, 5))
    them[20] = padded(them[20], TAKEN)
    done = send(kafka_bootstrap, narrow, b"\n".join(them), *words)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["sent"], told["refused"], told["unknown"]) == (1, 39, 1, 0)
    (refused,) = told["first_refused"]
    assert refused["line"] == 21
    assert "max.message.bytes" in refused["reason"]
    assert str(TAKEN) in refused["reason"]
    assert values_of(kafka_bootstrap, narrow, 39) == them[:20] + them[21:]


def test_a_replay_that_the_topic_refuses_is_unsent_and_small_ones_beside_it_are_sent(
    postgres_dsn: str, kafka_bootstrap: str, narrow: str
) -> None:
    """A batch that brokers refuse whole is tried again, each alone; nothing consumes here, so no outcome comes."""
    migrate(postgres_dsn)
    add = (
        'insert into dead_letters (topic, topic_id, partition, "offset", value, header_names, header_values, reason, '
        "path) values ('orders', 'id', 0, %s, %s, '{}', '{}', 'Invalid JSON', '') returning id"
    )
    with connect(postgres_dsn, "test") as connection:
        values = [b"x" * (TAKEN if number == 7 else 600) for number in range(20)]
        rows = [connection.execute(add, row).fetchone() for row in enumerate(values)]
        numbers = [int(row[0]) for row in rows if row]
        producer = OrderProducer({"bootstrap.servers": kafka_bootstrap}, narrow, 10)
        results = list(Replays(connection, producer, forced=False, deadline=0.1).run(numbers))
        producer.close()
    assert [number for number, each in enumerate(results) if each.outcome == "unsent"] == [7]
    assert "max.message.bytes" in results[7].reason
    assert sorted(filter(None, values_of(kafka_bootstrap, narrow, 19))) == sorted(values[:7] + values[8:])


def test_a_wait_ends_where_the_partition_is_stopped_or_nothing_is_stored(
    postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """No ingest runs here: what is not stored is counted, with why."""
    migrate(postgres_dsn)
    topic = make_topic(partitions=1)
    topic_id = TopicView({"bootstrap.servers": kafka_bootstrap}, topic).look().topic_id
    store = Store(lambda: connect(postgres_dsn, "test"), topic)
    store.begin(topic_id, {0: 0})
    wait = ("--wait", "--timeout", "0.5", "--postgres-dsn", postgres_dsn)
    done = send(kafka_bootstrap, topic, b"\n".join(samples(3, 5)), *wait)
    found = json.loads(done.stdout)["wait"]
    assert (done.exit_code, found["stored"], found["pending"]) == (1, 0, 3)
    assert "is an ingest running?" in found["reasons"][0]
    store.stop(topic_id, 0, 0, Stop("dead_letters", "too many"))
    store.close()
    done = send(kafka_bootstrap, topic, b"\n".join(samples(3, 6)), "--wait", "--postgres-dsn", postgres_dsn)
    found = json.loads(done.stdout)["wait"]
    assert (done.exit_code, found["reasons"]) == (1, [f"{topic}/0 is stopped at offset 0: too many"])


def test_a_wait_without_postgresql_sends_nothing(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    """Whether its address is wrong or none is known."""
    wrong, unknown = ["--postgres-dsn", "postgresql://127.0.0.1:1/none"], ["--data-dir", str(tmp_path)]
    for words, error, said in ((wrong, StartError, "nothing was sent"), (unknown, UsageError, "--postgres-dsn")):
        done = send(kafka_bootstrap, topic, next(iter(samples(1, 5))), "--wait", *words)
        assert isinstance(done.exception, error)
        assert said in str(done.exception)
    assert TopicView({"bootstrap.servers": kafka_bootstrap}, topic).look().ends == dict.fromkeys(range(4), 0)
