"""Messages that nobody should send, through Kafka and over HTTP: each is a dead letter once, whole, or a clear answer.

The tests share one machine; each looks only at what it sent.
"""

import signal
import struct
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

import httpx2
import psycopg
import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, not exported
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from hypothesis import given, settings

from orders.decoder import decode
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.http.problems import pointer
from orders.memory.keeper import rows_from
from orders.order import Content
from orders.postgres.connection import connect
from orders.record import Invalid
from orders.sample import samples
from orders.violations import faults
from support.checker import positions, without_id
from support.hostile import REFUSED, TAKEN, Hostile, put
from support.machine import Machine
from support.metrics import series_of
from support.mutations import mutations
from support.services import Topics, fresh_database
from support.transactions import in_a_transaction
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

MANY_ITEMS = [
    Hostile("a million items", put(["items"], b"[" + b",".join([b"{}"] * 1_000_000) + b"]")),
    Hostile("items as many as fit", put(["items"], b"[" + b",".join([b"{}"] * 330_000) + b"]"), "$.items[0]"),
]
CORPUS = [*REFUSED, *MANY_ITEMS]
KEYLESS = "orders_records_without_own_key_total"
Headers = Sequence[tuple[str, bytes | None]]


class Sent(NamedTuple):
    """A record that Kafka acknowledged."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Letter(NamedTuple):
    """A row of `dead_letters`, but for its place."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    reason: str
    path: str
    note: str | None


class Sender:
    """Produces, and keeps where each record came to lie. Compressed, large records pass the topic's limit."""

    def __init__(self, machine: Machine, codec: str = "gzip") -> None:
        self._topic = machine.settings.kafka_topic
        self._sent: list[Sent] = []
        self._refused: list[KafkaError] = []
        self.producer = Producer(
            {
                "bootstrap.servers": machine.settings.kafka_bootstrap,
                "message.max.bytes": 10 * 2**20,
                "compression.type": codec,
                "partitioner": "murmur2_random",
            }
        )

    def send(self, value: bytes | None, key: bytes | None = None, headers: Headers = (), at: int = 0) -> None:
        """`at` is the record's time in milliseconds since 1970; 0: now."""

        def report(error: KafkaError | None, message: Message) -> None:
            if error:
                self._refused.append(error)
            self._sent.append(Sent(message.partition() or 0, message.offset() or 0, key, value, tuple(headers)))

        self.producer.produce(self._topic, value, key, headers=list(headers), timestamp=at, on_delivery=report)

    def orders(self, values: Iterable[bytes]) -> None:
        """Valid orders under their uids."""
        for value in values:
            self.send(value, uid_of(value).encode())

    def done(self) -> list[Sent]:
        assert self.producer.flush(60) == 0
        assert not self._refused, self._refused[0]
        return self._sent


def uid_of(value: bytes) -> str:
    content = decode(value)
    assert isinstance(content, Content)
    return content.row.order_uid


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresService, kafka_bootstrap: str
) -> Iterator[Machine]:
    topics = Topics(kafka_bootstrap)
    with fresh_database(postgres) as dsn:
        folder = tmp_path_factory.mktemp("machine")
        try:
            with Machine(folder, dsn, kafka_bootstrap, topics.make(), ingests=1) as made:
                yield made
        finally:
            topics.delete()


def settle(machine: Machine, sent: Iterable[Sent]) -> None:
    """Until the positions have passed all that was sent."""
    ends: dict[int, int] = {}
    for record in sent:
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
    with psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection:
        wait_for(lambda: all(positions(connection)[p] >= end for p, end in ends.items()), "all is consumed", 60)


def dead_letters(machine: Machine) -> dict[tuple[int, int], Letter]:
    columns = "topic, key, value, header_names, header_values, reason, path, note"
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        rows = connection.execute(f'select partition, "offset", {columns} from dead_letters'.encode()).fetchall()  # noqa: S608 - fixed
    return {
        (partition, offset): Letter(topic, key, value, tuple(zip(names, values, strict=True)), *rest)
        for partition, offset, topic, key, value, names, values, *rest in rows
    }


def stored(machine: Machine) -> dict[str, bytes]:
    """Canonical texts by uid."""
    with connect(machine.settings.postgres_dsn, "test") as connection:
        return {row.order_uid: without_id(row.document) for row in rows_from(connection, 0)}


def told(machine: Machine, name: str) -> float:
    return series_of(httpx2.get(f"{machine.url}/metrics").text).get(name, 0.0)


def check_dead_letters(machine: Machine, sent: Iterable[Sent]) -> None:
    """Each of these records is kept as it came, with the decoder's reason; `dead_letters` has one for a place."""
    kept = dead_letters(machine)
    for record in sent:
        wrong = decode(record.value or b"")
        assert isinstance(wrong, Invalid)
        expected = Letter(
            machine.settings.kafka_topic, record.key, record.value, record.headers, wrong.reason, wrong.path, None
        )
        assert kept.get((record.partition, record.offset)) == expected


@pytest.mark.parametrize(("bad", "good"), [(len(CORPUS), 0), (len(CORPUS), len(CORPUS)), (20, 2_000)])
def test_what_is_hostile_is_a_dead_letter_and_its_neighbours_are_stored(machine: Machine, bad: int, good: int) -> None:
    """Alone, every other message, one in a hundred."""
    random = Random(bad + good)
    values = list(samples(good, seed=bad + good))
    mixed = [*values, *[each.value for each in random.sample(CORPUS, bad)]]
    random.shuffle(mixed)
    sender, valid = Sender(machine), set(values)
    for number, value in enumerate(mixed):
        sender.send(value, uid_of(value).encode() if value in valid else b"%d" % number, [("n", b"%d" % number)])
    sent = sender.done()
    settle(machine, sent)
    check_dead_letters(machine, [record for record in sent if record.value not in valid])
    assert {(r.partition, r.offset) for r in sent if r.value in valid}.isdisjoint(dead_letters(machine))
    documents = stored(machine)
    assert all(documents[uid_of(value)] == value for value in values)
    with httpx2.Client(base_url=machine.url) as http:
        for value in values[:50]:
            assert without_id(http.get(f"/orders/{uid_of(value)}").content) == value


def test_each_message_ten_times_is_an_order_once_and_a_dead_letter_each_time(machine: Machine) -> None:
    """In any order; the rows are those of the first ones, which nine more of the same do not touch."""
    random = Random(70)
    values = list(samples(60, seed=70))
    mixed = [*values, *[each.value for each in random.sample(REFUSED, 6)]] * 10
    random.shuffle(mixed)
    sender, valid = Sender(machine), set(values)
    for number, value in enumerate(mixed):
        sender.send(value, uid_of(value).encode() if value in valid else b"%d" % number)
    sent = sender.done()
    settle(machine, sent)
    check_dead_letters(machine, [record for record in sent if record.value not in valid])
    assert {uid_of(value): value for value in values}.items() <= stored(machine).items()
    places: dict[str, tuple[int, int]] = {}
    for record in sorted(record for record in sent if record.value in valid):
        places.setdefault(uid_of(record.value or b""), (record.partition, record.offset))
    assert places.items() <= origins(machine).items()


def origins(machine: Machine) -> dict[str, tuple[int, int]]:
    """Where the record lies that wrote each row."""
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        rows = connection.execute('select order_uid, partition, "offset" from orders').fetchall()
    return {order_uid: (partition, offset) for order_uid, partition, offset in rows}


def test_hostile_bodies_are_the_clients_fault_and_never_the_services(machine: Machine) -> None:
    with httpx2.Client(base_url=machine.url, timeout=20) as http:
        for hostile in CORPUS:
            answer = http.post("/orders", content=hostile.value)
            assert refusal(answer) == expected(hostile.value, decode(hostile.value)), hostile.name
    assert machine.is_ready()


def refusal(answer: httpx2.Response) -> tuple[int, set[str]]:
    """Status, and the JSON Pointers of what is wrong."""
    return answer.status_code, {each["pointer"] for each in answer.json().get("errors", [])}


def expected(value: bytes, verdict: Content | Invalid) -> tuple[int, set[str]]:
    """What a POST is told of a message of which ingest says `verdict`."""
    assert isinstance(verdict, Invalid)
    if verdict.fault == "too_large":
        return 413, set()
    return (422, {pointer(each.path) for each in faults(value, verdict)}) if verdict.is_json else (400, set())


def test_any_bytes_have_the_same_verdict_by_post_and_through_kafka(machine: Machine) -> None:
    changed = list[bytes]()

    @settings(max_examples=100)
    @given(value=mutations())
    def collect(value: bytes) -> None:
        changed.append(value)

    collect()
    verdicts = {value: decode(value) for value in changed}
    bad = [value for value, verdict in verdicts.items() if isinstance(verdict, Invalid)]
    with httpx2.Client(base_url=machine.url, timeout=20) as http:
        for value, verdict in verdicts.items():
            answer = http.post("/orders", content=value)
            if isinstance(verdict, Invalid):
                assert refusal(answer) == expected(value, verdict)
            else:
                assert answer.status_code in {200, 201, 409}
    sender = Sender(machine)
    for number, value in enumerate(verdicts):
        sender.send(value, b"%d" % number)
    sent = sender.done()
    settle(machine, sent)
    check_dead_letters(machine, [record for record in sent if record.value in bad])
    good = {(record.partition, record.offset) for record in sent if record.value not in bad}
    assert good.isdisjoint(dead_letters(machine))
    assert machine.is_ready()


def test_strange_bodies_are_taken_over_http_and_the_service_lives(machine: Machine) -> None:
    with httpx2.Client(base_url=machine.url, timeout=20) as http:
        for strange in TAKEN:
            assert http.post("/orders", content=strange.value).status_code in {200, 201, 409}, strange.name
    assert machine.is_ready()


def test_orders_under_no_key_or_another_one_are_stored_and_counted(machine: Machine) -> None:
    before = told(machine, KEYLESS)
    sender = Sender(machine)
    values = list(samples(7, seed=21))
    keys = [None, b"", b"another", b"\xff\xfe", b"k" * 100_000, uid_of(values[0]).encode(), uid_of(values[6]).encode()]
    for value, key in zip(values, keys, strict=True):
        sender.send(value, key)
    sender.send(None)
    sender.send(None, b"")
    sender.send(b"{", b"k" * 100_000)
    sent = sender.done()
    settle(machine, sent)
    assert {uid_of(value): value for value in values}.items() <= stored(machine).items()
    wait_for(lambda: told(machine, KEYLESS) == before + 6, "all but the last are counted")
    kept = dead_letters(machine)
    bad = [kept[r.partition, r.offset] for r in sent if r.value in {None, b"{"}]
    assert {(each.key, each.reason) for each in bad} == {
        (None, "Tombstone without a valid key"),
        (b"", "Tombstone without a valid key"),
        (b"k" * 100_000, "Invalid JSON: unexpected end at byte 1 (line 1, column 2)"),
    }


def test_headers_of_any_kind_and_number_are_kept(machine: Machine) -> None:
    many: Headers = [(f"h{n}", None if n % 3 else b"%d" % n) for n in range(10_000)]
    large: Headers = [("large", b"x" * 2**20), ("", b"\0\xff"), ("ключ", None)]
    (first, second) = samples(2, seed=22)
    sender = Sender(machine)
    sender.send(first, uid_of(first).encode(), many)
    sender.send(second, uid_of(second).encode(), large)
    for headers in (many, large):
        sender.send(b"{", b"bad", headers)
    sent = sender.done()
    settle(machine, sent)
    assert {uid_of(first): first, uid_of(second): second}.items() <= stored(machine).items()
    kept = dead_letters(machine)
    found = {kept[r.partition, r.offset].headers for r in sent if r.value == b"{"}
    assert found == {tuple(many), tuple(large)}


def test_header_names_that_are_not_utf_8_are_noted(machine: Machine, kafka: KafkaService) -> None:
    """No client makes them, so they are written into Kafka's log while nobody reads."""
    machine.tell("ingest 0", signal.SIGTERM)
    assert machine.await_end("ingest 0", 20)
    (value,) = samples(1, seed=23)
    try:
        sender = Sender(machine, "none")
        sender.send(value, uid_of(value).encode(), [("NAME-IN-UTF-8", b"1")])
        sender.send(b"{", b"bad", [("NAME-IN-UTF-8", b"1")])
        sent = sender.done()
        for partition in {record.partition for record in sent}:
            rename(kafka, machine.settings.kafka_topic, partition, b"NAME-IN-UTF-8", b"\xff\xfe\0\xc3-IN-UTF-8")
    finally:
        machine.start("ingest 0")  # the other tests need it
    settle(machine, sent)
    assert stored(machine)[uid_of(value)] == value
    (bad,) = [dead_letters(machine)[r.partition, r.offset] for r in sent if r.value == b"{"]
    assert (bad.key, bad.value, bad.headers) == (b"bad", b"{", ())
    assert bad.note == "header names that are not UTF-8 were lost"


def rename(kafka: KafkaService, topic: str, partition: int, old: bytes, new: bytes) -> None:
    """Exchanges bytes in a log's record batches, as Kafka's protocol lays them out, with the right checksums."""
    assert len(old) == len(new)
    for log in (kafka._directory / "data" / f"{topic}-{partition}").glob("*.log"):
        data = bytearray(log.read_bytes())
        start = 0
        while start < len(data):
            end = start + 12 + int(struct.unpack_from(">i", data, start + 8)[0])
            if old in (body := bytes(data[start + 21 : end])):
                body = body.replace(old, new)
                with log.open("r+b") as file:
                    file.seek(start + 17)
                    file.write(struct.pack(">I", crc32c(body)) + body)
            start = end


def crc32c(data: bytes) -> int:
    """RFC 3720, B.4: the polynomial 0x1EDC6F41, bits reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_every_codec_of_kafka_is_read(machine: Machine) -> None:
    for number, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        values = list(samples(50, seed=30 + number))
        sender = Sender(machine, codec)
        sender.orders(values)
        sender.send(b"{", b"bad")
        sent = sender.done()
        settle(machine, sent)
        check_dead_letters(machine, [record for record in sent if record.value == b"{"])
        assert {uid_of(value): value for value in values}.items() <= stored(machine).items(), codec


def test_what_postgresql_alone_refuses_is_one_dead_letter(machine: Machine) -> None:
    """By a check that was added by hand, which the decoder does not know."""
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        connection.execute("alter table orders add check (entry <> 'refused by hand')")
    values = list(samples(200, seed=40))
    bad = put(["entry"], b'"refused by hand"').replace(b'"order_uid":"', b'"order_uid":"by-hand-')
    sender = Sender(machine)
    sender.orders([*values[:77], bad, *values[77:]])
    sent = sender.done()
    settle(machine, sent)
    assert {uid_of(value): value for value in values}.items() <= stored(machine).items()
    kept = dead_letters(machine)
    found: dict[bytes | None, str] = {
        r.value: kept[r.partition, r.offset].reason for r in sent if (r.partition, r.offset) in kept
    }
    assert list(found) == [bad]
    assert "23514" in found[bad]


def test_times_that_are_none_or_impossible_are_taken(machine: Machine) -> None:
    """Kafka's -1 for none, before 1970, the first, the first beyond what PostgreSQL's client holds, and far beyond."""
    configure(machine, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    values = list(samples(5, seed=50))
    sender = Sender(machine)
    for value, at in zip(values, [-1, -2, 1, 253_402_300_800_000, 2**62], strict=True):
        sender.send(value, uid_of(value).encode(), at=at)
    settle(machine, sender.done())
    assert {uid_of(value): value for value in values}.items() <= stored(machine).items()
    assert times(machine, values) == [None, None, "1970-01-01 00:00:00.001", None, None]


def test_a_topic_may_give_records_the_brokers_time(machine: Machine) -> None:
    """Whatever the producer said, orders and dead letters have the time at which the broker took them."""
    configure(machine, {"message.timestamp.type": "LogAppendTime"})
    try:
        (value,) = samples(1, seed=51)
        sender = Sender(machine)
        sender.send(value, uid_of(value).encode(), at=1)
        sender.send(b"{", b"brokers-time", at=-1)
        settle(machine, sender.done())
    finally:
        configure(machine, {"message.timestamp.type": "CreateTime"})  # the other tests' own times
    query = """
        select bool_and(record_time > now() - interval '2 minutes' and record_time < now() + interval '2 minutes'),
               count(*)
        from (select record_time from orders where order_uid = %s
              union all select record_time from dead_letters where key = 'brokers-time') as found
    """
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        assert connection.execute(query, (uid_of(value),)).fetchone() == (True, 2)


def configure(machine: Machine, entries: dict[str, str]) -> None:
    """Sets properties of the topic."""
    changes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in entries.items()]
    topic = ConfigResource(ResourceType.TOPIC, machine.settings.kafka_topic, incremental_configs=changes)
    admin = AdminClient({**machine.settings.kafka})  # it has to live as long as what it was asked
    for altered in admin.incremental_alter_configs([topic]).values():
        altered.result(20)


def times(machine: Machine, values: Sequence[bytes]) -> list[str | None]:
    """The record times that are stored, in UTC."""
    query = "select order_uid, (record_time at time zone 'UTC')::text from orders where order_uid = any(%s)"
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        found: dict[str, str | None] = dict(connection.execute(query, (list(map(uid_of, values)),)).fetchall())
    return [found[uid_of(value)] for value in values]


def test_records_of_aborted_transactions_are_not_read(machine: Machine) -> None:
    """Their offsets and those of the control records are gaps, which stop nothing."""
    kept, aborted, after = samples(3, seed=60)
    for value, is_kept in ((kept, True), (aborted, False)):
        in_a_transaction(machine, [value, b"{" + value], b"same", kept=is_kept)
    sender = Sender(machine)
    sender.send(after, b"same")
    (last,) = sender.done()
    settle(machine, [last])
    found = stored(machine)
    assert [uid_of(value) in found for value in (kept, aborted, after)] == [True, False, True]
    values = {each.value for each in dead_letters(machine).values()}
    assert [b"{" + value in values for value in (kept, aborted)] == [True, False]
