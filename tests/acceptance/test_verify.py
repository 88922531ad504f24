"""`orders verify` on real services: clean under load, and each kind of difference told exactly once it is planted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import psycopg
import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from orders import decoder
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.kafka.consumer import record_of
from orders.kafka.topic import TopicView
from orders.memory.shared import Memory, Put
from orders.order import text
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import CONDITION_HEADER, REPLAY_HEADER, Batch, Entry, Replay, Span
from orders.settings import Settings, environment
from orders.timing import monotonic
from orders.verify import report, run, served
from support.background import Background
from support.entries import content
from support.machine import Machine
from support.services import MakeTopic, Topics, fresh_database
from support.system import orders
from support.traffic import Traffic, whole_topic
from support.waiting import wait_for

pytestmark = pytest.mark.system

TABLES = {
    "orders": "",
    "dead_letters": "overriding system value",
    "positions": "",
    "resumes": "overriding system value",
}
ITEMS = (
    '[{"chrt_id":1,"track_number":"WBIL","price":453,"rid":"ab42","name":"Mascaras","sale":30,"size":"0",'
    '"total_price":317,"nm_id":2389212,"brand":"Vivienne Sabo","status":202}]'
)


def valid(order_uid: str, amount: int = 1) -> bytes:
    """The canonical text of an order."""
    return text(content(order_uid).row._replace(items=ITEMS, payment_amount=amount))


def send(settings: Settings, *messages: tuple[str, bytes | None], headers: Mapping[str, bytes] = {}) -> tuple[int, int]:
    """Produces messages, each a key and a value, all with the same headers; partition and offset of the last."""
    places = [(-1, -1)]

    def delivered(_: object, message: Message) -> None:
        places.append((message.partition() or 0, message.offset() or 0))

    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "partitioner": "murmur2_random"})
    for key, value in messages:
        producer.produce(settings.kafka_topic, value, key, headers=dict(headers), on_delivery=delivered)
    assert producer.flush(30) == 0
    return places[-1]


def send_replays(settings: Settings) -> None:
    """A dead letter that was replayed, well and then badly; and an order that says it replays one that never was."""
    topic_id = TopicView(settings.kafka, settings.kafka_topic).look().topic_id
    partition, offset = send(settings, ("replayed", b"broken"))
    for attempt, value in enumerate([valid("replayed"), b"broken again"]):
        replay = Replay(topic_id=topic_id, partition=partition, offset=offset, attempt=f"{attempt:032x}")
        send(settings, ("replayed", value), headers={REPLAY_HEADER: msgspec.json.encode(replay)})
    send(settings, ("aged", valid("aged", 1)))
    never = Replay(topic_id="older", partition=0, offset=0, attempt="f" * 32)
    send(settings, ("aged", valid("aged", 2)), headers={REPLAY_HEADER: msgspec.json.encode(never)})


def store(settings: Settings) -> None:
    """What ingest does with all that the topic holds, in this process and without Kafka's group."""
    made = Store(lambda: connect(settings.postgres_dsn, "test"), settings.kafka_topic)
    memory = Memory.create(Path(settings.memory_path), settings.memory_bytes)
    topic_id = TopicView(settings.kafka, settings.kafka_topic).look().topic_id
    parts = dict[int, list[Entry]]()
    for message in whole_topic(settings.kafka_bootstrap, settings.kafka_topic):
        entry = decoder.read(record_of(message))
        parts.setdefault(entry.record.partition, []).append(entry)
    made.begin(topic_id, dict.fromkeys(parts, 0))
    for partition, entries in parts.items():
        Writer(made, memory).write(Batch(tuple(entries), {partition: Span(0, len(entries))}), topic_id)
    memory.close()
    made.close()


@contextmanager
def stored(folder: Path, dsn: str, bootstrap: str, topic: str) -> Iterator[Settings]:
    """Traffic, and orders that the tests know: one replaced, one deleted, one sent twice as if new, and replays."""
    migrate(dsn)
    settings = Settings(
        data_dir=str(folder),
        postgres_dsn=dsn,
        kafka_bootstrap=bootstrap,
        kafka_topic=topic,
        memory_path=str(folder / "memory"),
    )
    Traffic(6, bootstrap, topic).send(400)
    send(settings, ("replaced", valid("replaced", 1)), ("replaced", valid("replaced", 2)))
    send(settings, ("gone", valid("gone")), ("gone", None))
    absent = {CONDITION_HEADER: b"absent"}
    send(settings, ("claimed", valid("claimed", 1)), ("claimed", valid("claimed", 2)), headers=absent)
    send_replays(settings)
    store(settings)
    yield settings


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresService, kafka: KafkaService
) -> Iterator[Settings]:
    """Topic, PostgreSQL and memory without a difference; what PostgreSQL holds is kept beside."""
    topics = Topics(kafka.bootstrap)
    with (
        fresh_database(postgres) as dsn,
        stored(tmp_path_factory.mktemp("verify"), dsn, kafka.bootstrap, topics.make()) as settings,
    ):
        with psycopg.connect(dsn) as connection:
            for table in TABLES:
                connection.execute(f"create table kept_{table} as table {table}".encode())
        yield settings
    topics.delete()


@pytest.fixture
def planted(whole: Settings) -> Iterator[psycopg.Connection]:
    """A connection to plant differences with, which are taken back afterwards."""
    with psycopg.connect(whole.postgres_dsn, autocommit=True) as connection:
        yield connection
        for table, how in TABLES.items():
            connection.execute(f"truncate {table}".encode())
            connection.execute(f"insert into {table} {how} table kept_{table}".encode())


def verified(settings: Settings, *, memory: bool = False) -> report.VerifyReport:
    return run.verify(settings, memory=memory, limit=100)


# -- without a difference --


def test_a_system_under_load_is_found_whole_each_time(
    tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """With the records of a batch half committed, orders replaced and deleted, and memory changed meanwhile."""
    seen = list[report.Compared]()
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic()) as machine:
        traffic = Traffic(2027, kafka_bootstrap, machine.settings.kafka_topic)
        with Background(lambda: traffic.send(50), every=0.02):
            for _ in range(4):
                wait_for(lambda: traffic.made > 300 * (len(seen) + 1), "more traffic", 60)
                done = orders(tmp_path, "verify", "--json", variables=environment(machine.settings))
                found = msgspec.json.decode(done.stdout, type=report.VerifyReport)
                assert (done.returncode, found.differences, found.unjudged) == (0, {}, {}), found
                seen.append(found.compared)
    assert all(before.records < after.records for before, after in pairwise(seen))
    assert all(compared.memory and compared.dead_letters for compared in seen)


def test_what_is_whole_is_said_to_be_and_how_much_was_compared(whole: Settings) -> None:
    found = verified(whole, memory=True)
    assert (found.same, found.differences, found.unjudged, found.shown) == (True, {}, {}, [])
    assert found.compared.records == 411
    assert found.compared.memory == found.compared.orders > 100
    assert report.text(found).endswith("\nno difference")


# -- differences --

COPY = (
    "insert into orders select made.* from orders o, jsonb_populate_record(o, jsonb_build_object("
    "'order_uid', '{}', 'id', 0, 'version', 0)) as made where o.order_uid = 'replaced'"
)
AT_REPLACED = "update {} where order_uid = 'replaced'"
DEAD_LETTER = (
    "insert into dead_letters "
    '(topic, topic_id, partition, "offset", key, value, header_names, header_values, reason, path) '
    "select p.topic, o.topic_id, o.partition, o.\"offset\" - {back}, 'replaced', "
    "convert_to('{value}', 'UTF8'), '{{}}', '{{}}', '{reason}', '' "
    "from orders o join positions p using (topic_id, partition) where order_uid = 'replaced'"
)
RENAME = "update {} set topic_id = 'older'"
AT_DEAD_LETTER = "{} where id = (select min(id) from dead_letters)"


def dead_letter(back: int, amount: int, reason: str) -> str:
    """Plants a dead letter of the order that was replaced: of the record that it came from, or of one before."""
    return DEAD_LETTER.format(back=back, value=valid("replaced", amount).decode(), reason=reason)


PLANTED: Mapping[str, tuple[str, dict[str, int], dict[str, int]]] = {
    "a lost order": ("delete from orders where order_uid = 'replaced'", {"missing": 1}, {}),
    "an order that nobody sent": (COPY.format("nobody"), {"unsent": 1}, {}),
    "an order that was deleted": (COPY.format("gone"), {"deleted": 1}, {}),
    "another value": (AT_REPLACED.format("orders set payment_amount = 7"), {"content": 1}, {}),
    "an older value": (AT_REPLACED.format("orders set payment_amount = 1"), {"content": 1}, {}),
    "what a condition refused": (
        "update orders set payment_amount = 2 where order_uid = 'claimed'",
        {"content": 1},
        {},
    ),
    "an older place": (AT_REPLACED.format('orders set "offset" = "offset" - 1'), {"origin": 1}, {}),
    "another partition": (AT_REPLACED.format("orders set partition = (partition + 1) % 4"), {"origin": 1}, {}),
    "an id twice": (
        AT_REPLACED.format("orders set id = (select max(id) from orders where order_uid <> 'replaced')"),
        {"duplicate id": 1},
        {},
    ),
    "a version twice": (
        AT_REPLACED.format("orders set version = (select max(version) from orders where order_uid <> 'replaced')"),
        {"duplicate version": 1},
        {},
    ),
    "an order of a dead letter": (dead_letter(0, 2, "PostgreSQL refused it (23514)"), {"refused": 1}, {}),
    "a dead letter that this release would take": (
        dead_letter(1, 1, "Expected something else"),
        {},
        {"other rules": 1},
    ),
    "a dead letter of a record that was refused by trial": (
        dead_letter(1, 1, "PostgreSQL refused it (23514)"),
        {},
        {},
    ),
    "another value where a replay was": (
        "update orders set payment_amount = 7 where order_uid = 'replayed'",
        {"content": 1},
        {},
    ),
    "another value where a replay was of no dead letter": (
        "update orders set payment_amount = 7 where order_uid = 'aged'",
        {},
        {"condition": 1},
    ),
    "a lost dead letter": (AT_DEAD_LETTER.format("delete from dead_letters"), {"dead letter missing": 1}, {}),
    "other bytes of a dead letter": (
        AT_DEAD_LETTER.format("update dead_letters set value = 'other', key = 'other'"),
        {"dead letter differs": 1},
        {},
    ),
    "other headers of a dead letter": (
        AT_DEAD_LETTER.format("update dead_letters set header_names = '{a}', header_values = '{x}'"),
        {"dead letter differs": 1},
        {},
    ),
    "a dead letter elsewhere": (
        AT_DEAD_LETTER.format('update dead_letters set "offset" = 100000'),
        {"dead letter missing": 1, "dead letter unsent": 1},
        {},
    ),
    "a position beyond the end": (
        "update positions set next_offset = 100000 where partition = 0",
        {"position beyond the end": 1},
        {},
    ),
    "a position of no partition": (
        "insert into positions select topic, topic_id, 99, 0 from positions limit 1",
        {"position elsewhere": 1},
        {},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_planted_is_reported_and_nothing_else(whole: Settings, planted: psycopg.Connection, name: str) -> None:
    statement, differences, unjudged = PLANTED[name]
    assert planted.execute(statement.encode()).rowcount == 1
    found = verified(whole)
    assert (found.differences, found.unjudged) == (differences, unjudged)
    assert found.same == (not differences)
    assert len(found.shown) == sum(differences.values())


def test_a_position_before_the_start_is_reported_and_what_is_beyond_it_cannot_be_judged(
    whole: Settings, planted: psycopg.Connection
) -> None:
    planted.execute("update positions set next_offset = -1 where partition = 0")
    found = verified(whole)
    assert found.differences == {"position before the start": 1}
    assert set(found.unjudged) == {"ahead"}


def test_what_was_skipped_when_consumption_continued_is_no_difference(
    whole: Settings, planted: psycopg.Connection
) -> None:
    """But for the order of a replay: what became of that is kept."""
    planted.execute("delete from orders")
    lost = planted.execute("delete from dead_letters").rowcount
    planted.execute(
        "insert into resumes "
        "(who, topic, topic_id, partition, stop, stop_reason, from_offset, to_offset, counted_from) "
        "select 'test', topic, topic_id, partition, 'dead_letters', '', 0, next_offset, 0 from positions"
    )
    found = verified(whole)
    assert [(each.kind, each.order_uid) for each in found.shown] == [("missing", "replayed")]
    assert found.unjudged == {"skipped": lost}


def test_of_a_topic_that_was_recreated_nothing_is_judged(whole: Settings, planted: psycopg.Connection) -> None:
    for table in ("orders", "dead_letters", "positions"):
        planted.execute(RENAME.format(table).encode())
    found = verified(whole)
    assert found.differences == {"position lost": 1}
    assert found.unjudged == {"older topic": found.compared.orders + found.compared.dead_letters}


def test_the_place_and_the_parts_that_differ_are_reported_without_their_content(
    whole: Settings, planted: psycopg.Connection
) -> None:
    planted.execute(AT_DEAD_LETTER.format("update dead_letters set value = 'secret'").encode())
    planted.execute("update orders set delivery_name = 'Secret' where order_uid = 'replaced'")
    done = orders(Path(whole.data_dir), "verify", "--no-memory", variables=environment(whole))
    said = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (1, b"")
    assert said[0].startswith("dead letter differs: partition ")
    assert said[0].endswith("the dead letter is not what the record holds (value)")
    assert said[1].startswith("content: replaced, partition ")
    assert said[1].endswith("PostgreSQL has other content than the last record (delivery_name)")
    assert said[-1] == "2 differences: 1 content, 1 dead letter differs"
    assert b"ecret" not in done.stdout


def test_all_differences_are_counted_and_the_first_are_shown(whole: Settings, planted: psycopg.Connection) -> None:
    lost = planted.execute("delete from orders where order_uid <> 'aged'").rowcount
    found = run.verify(whole, memory=False, limit=3)
    assert (found.differences, len(found.shown)) == ({"missing": lost}, 3)
    assert f"and {lost - 3:,} more; --limit shows more" in report.text(found)


def test_what_memory_has_else_than_postgresql_is_reported(
    whole: Settings, planted: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown to PostgreSQL, of another version, with other bytes; one is right."""
    monkeypatch.setattr(served, "LOOK_SECONDS", 0.0)
    rows = planted.execute("select order_uid, version, document from documents order by order_uid limit 3").fetchall()
    (right, newer, other) = (Put(uid, version, document.encode()) for uid, version, document in rows)
    memory = Memory.create(tmp_path / "memory", 2**20)
    puts = [right, newer._replace(version=newer.version + 1), other._replace(document=b"{}"), Put("nobody", 1, b"{}")]
    assert memory.put(puts, monotonic()) == 4
    memory.close()
    found = verified(msgspec.structs.replace(whole, memory_path=str(tmp_path / "memory")), memory=True)
    assert found.compared.memory == 4
    assert {(each.kind, each.order_uid) for each in found.shown} == {
        ("memory version", newer.order_uid),
        ("memory content", other.order_uid),
        ("memory unknown", "nobody"),
    }


# -- what cannot be judged, what cannot be read --


def test_what_retention_removed_cannot_be_judged_and_what_came_after_it_can(
    tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    with stored(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(partitions=1)) as settings:
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})  # its answers do not come once it is gone
        cut = TopicPartition(settings.kafka_topic, 0, 400)  # all but the records that are known
        admin.delete_records([cut])[cut].result(30)
        found = verified(settings, memory=True)
        assert (found.compared.records, found.differences) == (11, {})
        assert found.unjudged == {"retention": found.compared.orders - 4 + found.compared.dead_letters - 1}
        with psycopg.connect(postgres_dsn) as connection:
            connection.execute("update orders set payment_amount = 7 where order_uid = 'replaced'")
        assert verified(settings).differences == {"content": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ORDERS_KAFKA_TOPIC": "missing"}, b"topic 'missing' does not exist"),
        ({"ORDERS_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, b"Kafka cannot be reached at 127.0.0.1:1"),
        ({"ORDERS_POSTGRES_DSN": "postgresql://127.0.0.1:1/x"}, b"PostgreSQL cannot be reached"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_one_sentence(whole: Settings, wrong: dict[str, str], said: bytes) -> None:
    done = orders(Path(whole.data_dir), "verify", variables=environment(whole) | wrong)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1
    assert said in done.stderr
