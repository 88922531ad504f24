"""`orders resume` on a real PostgreSQL and Kafka: what it changes, what it leaves, and what it notes."""

import json
from typing import Any, NamedTuple

import psycopg
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from orders.commands import watching
from orders.commands.cli import cli
from orders.errors import StartError, UsageError
from orders.ingest.store import Store
from orders.kafka.topic import TopicView
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Round, Stop
from support.outputs import hold_to_model
from support.services import MakeTopic


class Bench(NamedTuple):
    """A topic of two partitions with 10 records each, and its positions."""

    dsn: str
    bootstrap: str
    topic: str
    topic_id: str

    def store(self) -> Store:
        return Store(lambda: connect(self.dsn, "test"), self.topic)

    def stand(self, partition: int, offset: int, stop: Stop | None = None, topic_id: str = "") -> None:
        store = self.store()
        store.begin(topic_id or self.topic_id, {partition: offset})
        store.open(topic_id or self.topic_id, partition, Round(offset, {}, is_last=True))
        if stop:
            store.stop(topic_id or self.topic_id, partition, offset, stop)
        store.close()

    def run(self, query: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(query.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()

    def positions(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select partition, next_offset, stop, counted_from from positions order by topic_id, partition"
        )

    def resume(self, *words: str) -> Result:
        named = {"kafka-bootstrap": self.bootstrap, "kafka-topic": self.topic, "postgres-dsn": self.dsn}
        options = [word for name, value in named.items() for word in (f"--{name}", value)]
        done = CliRunner(env={"ORDERS_KAFKA_GROUP": self.topic}).invoke(cli, ["resume", *options, *words])
        hold_to_model(["resume", *words], done.stdout_bytes)
        return done


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ingest runs here, and none is waited for."""
    monkeypatch.setattr(watching, "NOBODY_SECONDS", 0.0)


@pytest.fixture
def bench(postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Bench:
    migrate(postgres_dsn)
    topic = make_topic(partitions=2)
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for number in range(20):
        producer.produce(topic, b"{}", b"k", number % 2)
    assert producer.flush(10) == 0
    topic_id = TopicView({"bootstrap.servers": kafka_bootstrap}, topic).look().topic_id
    return Bench(postgres_dsn, kafka_bootstrap, topic, topic_id)


LIMIT, BACK = Stop("dead_letters", "too many"), Stop("went_back", "it went back")


def test_a_partition_continues_where_it_stands_and_its_dead_letters_are_counted_again(bench: Bench) -> None:
    bench.stand(0, 4, LIMIT)
    bench.stand(1, 5, LIMIT)
    bench.run("update positions set refused = '\\xff', leader_epoch = 3")
    done = bench.resume("--partition", "0", "--records", "2", "--json")
    assert done.exit_code == 0, done
    resumed = {"partition": 0, "stop": "dead_letters", "from_offset": 4, "to_offset": 4, "counted_from": 6}
    known = {"end_offset": 10, "state": "waiting", "position": 4, "reason": watching.NOBODY}
    assert json.loads(done.stdout) == [resumed | known]
    assert bench.positions() == [(0, 4, None, 6), (1, 5, "dead_letters", 0)]
    assert bench.rows("select refused, leader_epoch, stop_reason, stopped_at from positions where partition = 0") == [
        (b"", 3, None, None)
    ]


def test_each_resume_is_noted_with_who_and_why(bench: Bench) -> None:
    bench.stand(0, 4, LIMIT)
    bench.stand(1, 5, LIMIT)
    assert bench.resume("--all").stdout.splitlines() == [
        f"{bench.topic} continues: partition 0 at 4, 1 at 5",
        f"{bench.topic}/0 waits at 4: no ingest runs: it is read once one is started",
        f"{bench.topic}/1 waits at 5: no ingest runs: it is read once one is started",
    ]
    noted = "select partition, stop, stop_reason, from_offset, to_offset, counted_from from resumes order by id"
    assert bench.rows(noted) == [(0, *LIMIT, 4, 4, 4), (1, *LIMIT, 5, 5, 5)]
    assert bench.rows("select distinct who like '%@%', role = session_user, topic_id from resumes") == [
        (True, True, bench.topic_id)
    ]
    assert bench.resume("--all").stdout == f"no partition of {bench.topic} is stopped\n"


def test_what_is_refused_changes_nothing(bench: Bench) -> None:
    bench.stand(0, 4, LIMIT)
    bench.stand(1, 5)
    before = bench.positions()
    for words, error in (
        (["--partition", "0", "--partition", "1"], StartError),
        (["--all", "--from", "end"], UsageError),
        (["--partition", "0", "--from", "11"], UsageError),
        ([], UsageError),
    ):
        assert isinstance(bench.resume(*words).exception, error), words
    assert bench.positions() == before
    assert bench.rows("select * from resumes") == []


def test_another_offset_has_no_epoch_that_is_known(bench: Bench) -> None:
    """The brokers would judge the new place by the old record's."""
    bench.stand(0, 4, Stop("unreadable", "damaged"))
    bench.run("update positions set leader_epoch = 3")
    assert bench.resume("--partition", "0", "--from", "6", "--skip").exit_code == 0
    assert bench.rows("select next_offset, leader_epoch from positions") == [(6, None)]


def test_a_topic_recreated_is_begun_in_all_partitions_and_the_old_positions_stay(bench: Bench) -> None:
    bench.stand(0, 700, topic_id="an-older-topic")
    assert isinstance(bench.resume("--all").exception, UsageError)
    done = bench.resume("--all", "--from", "beginning")
    assert done.stdout.startswith(f"{bench.topic} continues: partition 0 at 0, 1 at 0\n")
    stored = bench.rows("select topic_id, partition, next_offset from positions")
    assert sorted(stored) == sorted([("an-older-topic", 0, 700), (bench.topic_id, 0, 0), (bench.topic_id, 1, 0)])
    assert bench.resume("--all").stdout == f"no partition of {bench.topic} is stopped\n"


def test_after_a_log_truncation_rows_forget_the_offsets_that_others_have_now(bench: Bench) -> None:
    """Only those of the partition, at the offset or beyond; dead letters are kept."""
    bench.stand(0, 9, BACK)
    bench.run("update positions set leader_epoch = 3")
    lie = "from (values (0, 6), (0, 7), (0, 8), (1, 8)) as at (partition, place)"
    bench.run(
        f"insert into outcomes (topic_id, partition, \"offset\", outcome) select '{bench.topic_id}', partition, place, "
        f"'created' {lie}"
    )
    bench.run(
        'insert into dead_letters (topic, topic_id, partition, "offset", header_names, header_values, reason, path) '
        f"select '{bench.topic}', '{bench.topic_id}', partition, place, '{{}}', '{{}}', '', '' {lie}"
    )
    assert bench.resume("--partition", "0", "--from", "7", "--skip").exit_code == 0
    assert bench.rows('select partition, "offset" from outcomes order by 1, 2') == [(0, 6), (1, 8)]
    left = "select partition, \"offset\" from dead_letters where topic_id not like '% before %' order by 1, 2"
    assert bench.rows(left) == [(0, 6), (1, 8)]
    assert bench.rows("select count(*) from dead_letters where topic_id like '% before %'") == [(2,)]
    assert bench.rows("select next_offset, leader_epoch, stop from positions") == [(7, None, None)]


def test_a_topic_that_is_not_there_is_said(bench: Bench) -> None:
    elsewhere = bench._replace(topic="nowhere")
    assert str(elsewhere.resume("--all").exception) == "there is no topic nowhere"


def test_a_partition_without_anything_to_read_waits_for_nobody(bench: Bench) -> None:
    bench.stand(0, 10, LIMIT)
    assert bench.resume("--all").stdout.splitlines()[1] == f"{bench.topic}/0 has nothing to read: 10 is its end"


def test_a_partition_that_stops_again_is_exit_status_1(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No matter who stops it; what follows is looked for until it has come."""
    bench.stand(0, 4, LIMIT)

    def stop(_group: object) -> None:
        bench.run("update positions set next_offset = 7, stop = 'dead_letters', stop_reason = 'too many again'")

    monkeypatch.setattr("orders.kafka.admin.Brokers.members", lambda _self, group: stop(group))
    done = bench.resume("--partition", "0")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1] == f"{bench.topic}/0 stopped again at 7: too many again"
