"""Writes what `earlier` reads: a database and topics with every state that rows and records can have, by real commands.

Run at the commit whose data is to be kept, as `PYTHONPATH=src:tests .venv/bin/python -m support.earlier_written`: it
writes `tests/data/stored-COMMIT` in five minutes. What lies there is never written again: it is what that commit's code
left behind. Used are commands, HTTP, and clients of Kafka and PostgreSQL. Left out are a message above 1 MB, for its
size, and header names that are not UTF-8, which no client sends.
"""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, LiteralString, NamedTuple, cast

import httpx2
import psycopg
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from psycopg import sql

from orders.embedded.kafka import KafkaService
from orders.sample import samples
from support.earlier import COPIES, NEWER_ID, OLDER_ID, TABLES, TOPIC
from support.machine import free_port
from support.services import fresh_database, open_folder, started_kafka, started_postgres
from support.system import ROOT, System, environment, orders, running
from support.traffic import until
from support.waiting import wait_for

Headers = list[tuple[str, str | bytes | None]]
GOOD, BAD, FULL, PASSED, CUT, DAMAGED, GAINED = range(7)
"""Partitions: orders; dead letters; stopped for too many, by retention, a log that went back, a damaged one; new."""


def order(seed: int, **changed: Any) -> tuple[bytes, bytes]:
    """Uid and text of an order; `payment` is laid over its own, other fields take their place."""
    (text,) = samples(1, seed)
    made = json.loads(text)
    made["payment"] |= changed.pop("payment", {})
    return made["order_uid"].encode(), json.dumps(made | changed, ensure_ascii=False).encode()


class Place(NamedTuple):
    """PostgreSQL and Kafka, and the variables that lead the commands there."""

    folder: Path
    dsn: str
    kafka: KafkaService

    @property
    def variables(self) -> dict[str, str]:
        return {
            "ORDERS_POSTGRES_DSN": self.dsn,
            "ORDERS_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "ORDERS_KAFKA_TOPIC": TOPIC,
            "ORDERS_DEAD_LETTERS_TOPIC": COPIES,
            "ORDERS_DEAD_LETTER_WINDOW": "10",
            "ORDERS_DEAD_LETTER_PERCENT": "100",
        }

    def administer(self, ask: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        for answer in ask(admin).values():
            answer.result(20)

    def topics(self) -> set[str]:
        return set(AdminClient({"bootstrap.servers": self.kafka.bootstrap}).list_topics(timeout=20).topics)

    def query(self, sql: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def make(self, topic: str, partitions: int) -> None:
        self.administer(lambda admin: admin.create_topics([NewTopic(topic, partitions, 1)]))

    @contextmanager
    def system(self) -> Iterator[System]:
        with running(self.folder / "data", variables=self.variables) as system:
            yield system

    def command(self, *words: str, given: bytes | None = None) -> str:
        """What a command says; an exit status of 1 is an answer too."""
        done = orders(self.folder / "data", *words, given=given, variables=self.variables)
        assert done.returncode in (0, 1), done
        assert b"Traceback" not in done.stderr, done
        return done.stdout.decode()

    def dead_letters(self, *words: str, given: bytes | None = None) -> str:
        return self.command("dead-letters", *words, given=given)

    def send(self, partition: int, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        producer.produce(TOPIC, value, key, partition, headers=headers or [])
        assert producer.flush(20) == 0

    def refused(self, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> str:
        """The number of a new dead letter."""
        last: LiteralString = "select coalesce(max(id), 0) from dead_letters"
        before = self.query(last)
        self.send(BAD, key, value, headers)
        wait_for(lambda: self.query(last) != before, "it is refused", 20)
        return str(self.query(last)[0][0])

    def stopped(self, kind: str) -> bool:
        return bool(self.query("select 1 from positions where stop = %s", kind))

    def end(self, partition: int) -> int:
        """Behind the last record in Kafka."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "read"})
        end = int(consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), 10)[1])
        consumer.close()
        return end

    def stored(self, *partitions: int) -> None:
        """Waits until PostgreSQL has all that Kafka has of them."""
        ends = {partition: self.end(partition) for partition in partitions}
        newest: LiteralString = "select partition, next_offset from positions order by at"
        wait_for(lambda: dict(self.query(newest)).items() >= ends.items(), "all is stored", 20)


def older_topic(place: Place) -> None:
    """Orders and a dead letter of a topic that was deleted, made again under its name, and resumed."""
    place.make(TOPIC, GAINED)
    place.make(COPIES, 1)
    with place.system() as system:
        for seed in (1, 2):
            place.send(0, *order(seed))
        place.send(0, b"old", b"no JSON, in a topic that is gone")
        place.stored(0)
        wait_for(lambda: place.query("select 1 from dead_letter_copies where next_offset = 3"), "the copy", 20)
        place.administer(lambda admin: admin.delete_topics([TOPIC]))
        wait_for(lambda: TOPIC not in place.topics(), "the end of the topic", 20)
        place.make(TOPIC, GAINED)
        wait_for(lambda: "was recreated" in str(system.request("GET", "/readyz")), "it is noticed", 60)
        place.command("resume", "--all", "--from", "beginning")


def orders_of_all_kinds(place: Place, system: System) -> None:
    """Created, replaced, repeated, deleted, created again; with unknown fields; POSTs and conditions."""
    for seed in range(10, 16):
        place.send(GOOD, *order(seed))
    place.send(GOOD, *order(11, locale="replaced"))
    place.send(GOOD, *order(12))
    place.send(GOOD, order(13)[0], None)
    place.send(GOOD, order(14)[0], None)
    place.send(GOOD, *order(14, locale="again"))
    unknown = {"note": "поле", "nested": {"a": [1, 2.50, None]}}
    place.send(GOOD, *order(16, **unknown, payment={"coupon": "X\u00e9"}))
    place.send(GOOD, order(15)[0], order(15, locale="never")[1], [("orders-condition", b"version=999999999")])
    place.stored(GOOD)
    ((version,),) = place.query("select version from orders where order_uid = %s", order(12)[0].decode())
    asked: Headers = [("orders-reply", b"1"), ("orders-condition", f"version={version}".encode())]
    place.send(GOOD, *order(12, locale="as its condition says"), asked)
    place.send(GOOD, *order(17))
    place.send(GOOD, order(17)[0], None, asked[:1])
    place.stored(GOOD)
    for number, wanted in ((20, 201), (21, 201), (20, 200)):
        assert system.request("POST", "/orders", order(number)[1])[0] == wanted
    assert system.request("POST", "/orders", order(20, locale="other")[1])[0] == 409


def dead_letters_of_all_kinds(place: Place) -> None:
    """Every fault that has few bytes, left open; good records between them keep the partition going."""
    many = {f"field{n}": n for n in range(300)}
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    binary: Headers = [("trace", b"\x00\xff"), ("none", None), ("", b"")]
    place.refused(b"not json", b"{\xff", binary)
    place.refused(order(30)[0], order(30, payment={"amount": "lots"})[1])
    place.send(BAD, *order(31))
    place.refused(order(32)[0], order(32, date_created="2021-13-26T06:22:19Z")[1])
    place.refused(order(33)[0], order(33, **many)[1])
    place.refused(order(34)[0], order(34, deep=deep)[1])
    place.send(BAD, *order(35))
    place.refused(order(36)[0], order(36)[1].replace(b'"entry": "', b'"entry": "\\u0000'))
    place.refused(order(37)[0], order(37)[1].replace(b'"entry": "', b'"entry": "\\ud800'))
    place.refused(b"no uid, in a key", None)
    place.send(BAD, *order(38))
    place.refused(order(39)[0], order(39)[1], [("orders-condition", b"perhaps"), ("orders-reply", b"1")])
    place.refused(order(40)[0], order(40)[1], [("orders-condition", b"absent")] * 2)
    place.send(BAD, *order(41))
    place.query("alter table orders add constraint no check (payment_bank <> 'refused')")
    place.refused(order(42)[0], order(42, payment={"bank": "refused"})[1])
    place.query("alter table orders drop constraint no")


def what_was_done_about_dead_letters(place: Place) -> None:
    """Edits, discards, an export, and replays of each outcome."""

    def wrong(seed: int) -> str:
        return place.refused(order(seed)[0], order(seed, payment={"amount": "lots"})[1])

    def replayed(number: str, outcome: str, *words: str) -> None:
        told = json.loads(place.dead_letters("replay", number, *words, "--json"))
        assert told["outcome"] == outcome, told

    place.dead_letters("edit", wrong(50), "-", given=order(50, locale="edited")[1])
    place.dead_letters("edit", wrong(51), "-", given=b"{}")
    place.dead_letters("discard", wrong(52))
    place.dead_letters("export", wrong(53))
    place.send(BAD, *order(54))
    created = wrong(55)
    place.dead_letters("edit", created, "-", given=order(55, locale="edited")[1])
    replayed(created, "created")
    replaced = wrong(31)
    place.dead_letters("edit", replaced, "-", given=order(31, locale="edited")[1])
    replayed(replaced, "replaced")
    unchanged = wrong(35)
    place.dead_letters("edit", unchanged, "-", given=order(35)[1])
    replayed(unchanged, "unchanged")
    place.send(BAD, *order(56))
    replayed(place.refused(order(38)[0], None, [("orders-condition", b"perhaps")]), "deleted", "--force")
    for seed, forced in ((57, False), (58, True)):
        number = wrong(seed)
        place.send(BAD, *order(seed, locale="newer"))
        place.dead_letters("edit", number, "-", given=order(seed, locale="older")[1])
        replayed(number, "conflict")
        if forced:
            replayed(number, "replaced", "--force")
    replayed(place.refused(b"twice", b"no JSON"), "refused")


class Written(NamedTuple):
    """What is no more to be seen in the end: where Kafka lost records, what a disk then damaged, and `state.json`."""

    lost: int
    damaged: list[str]
    state: str


def stop(place: Place) -> Written:
    """Stops a partition for each reason but a recreated topic."""
    with place.system():
        for partition in (PASSED, CUT, DAMAGED):
            for seed in range(3):
                place.send(partition, *order(partition * 100 + seed))
        lost = place.end(CUT)
        place.send(CUT, order(CUT * 100 + 3)[0], order(CUT * 100 + 3, locale="lost by Kafka")[1])
        place.send(CUT, b"lost", b"no JSON, and lost by Kafka")
        place.stored(PASSED, CUT, DAMAGED)
        for _ in range(10):
            place.send(FULL, b"flood", b"no JSON")
        place.send(FULL, *order(60))
        wait_for(lambda: place.stopped("dead_letters"), "too many", 20)
    for seed in range(3, 7):
        place.send(PASSED, *order(PASSED * 100 + seed))
    place.send(DAMAGED, *order(61, locale="a locale that is damaged"))
    damaged = list(records(place, TOPIC, DAMAGED))
    low = place.end(PASSED) - 2
    place.administer(lambda admin: admin.delete_records([TopicPartition(TOPIC, PASSED, low)]))
    ours: LiteralString = "select topic_id from positions order by at desc limit 1"
    ((topic_id,),) = place.query(ours)
    move: LiteralString = "update positions set next_offset = %s where partition = %s and topic_id = %s"
    place.query(move, lost + 4, CUT, topic_id)
    damage(place, b"a locale that is damaged")
    with place.system() as system:
        for kind in ("retention", "went_back", "unreadable"):
            wait_for(partial(place.stopped, kind), kind, 30)
        place.administer(lambda admin: admin.create_partitions([NewPartitions(TOPIC, GAINED + 1)]))
        wait_for(lambda: place.query("select 1 from positions where read_below is not null"), "the new one", 60)
        return Written(lost, damaged, (system.data / "state.json").read_text())


def damage(place: Place, value: bytes) -> None:
    """Changes bytes of a record where Kafka keeps it."""
    (log,) = (place.kafka._directory / "data" / f"{TOPIC}-{DAMAGED}").glob("*.log")
    log.write_bytes(log.read_bytes().replace(value, value.swapcase()))


def in_flight(place: Place) -> Iterator[str]:
    """What lies in the topic and no ingest has read: POSTs, a replay, what was sent, a tombstone, rubbish.

    Gives what GETs answered of every order, a line each.
    """
    port = str(free_port())
    given = {"ORDERS_MEMORY_PATH": str(place.folder / "memory"), "ORDERS_HTTP_PORT": port, "ORDERS_POST_DEADLINE": "1"}
    variables = environment(place.folder / "alone") | place.variables | given
    processes = [subprocess.Popen([sys.executable, "-m", "orders", kind], env=variables) for kind in ("keep", "serve")]
    try:
        url = f"http://127.0.0.1:{port}/orders"
        uids = [uid for (uid,) in place.query("select order_uid from orders order by id")]
        wait_for(lambda: body(f"{url}/{uids[0]}"), "serve answers", 30)
        for uid in uids:
            yield json.dumps({"order_uid": uid, "body": body(f"{url}/{uid}")}, ensure_ascii=False)
        for text in (order(70)[1], order(11, locale="refused by its condition")[1]):
            assert httpx2.post(url, content=text, timeout=20).status_code == httpx2.codes.ACCEPTED
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)
    ((number,),) = place.query("select min(dead_letter) from dead_letter_actions where action = 'edit'")
    assert json.loads(place.dead_letters("replay", str(number), "--deadline", "0", "--json"))["outcome"] is None
    place.command("send", "-", given=order(71)[1])
    place.send(GOOD, order(10)[0], None)
    place.send(GOOD, b"rubbish", b"no JSON, and not read yet", [("trace", b"1")])
    place.send(CUT, *order(CUT * 100 + 3, locale="written after the loss"))
    place.send(GAINED, *order(72))


def body(url: str) -> str:
    """What a GET answers; nothing where that is not an order."""
    with suppress(httpx2.TransportError):
        answer = httpx2.get(url, timeout=5)
        return answer.text if answer.status_code == httpx2.codes.OK else ""
    return ""


def as_cut(lines: Iterator[str], lost: int) -> Iterator[str]:
    """What Kafka has of a partition after it lost two records and gave their offsets to others."""
    for line in lines:
        record = json.loads(line)
        if record["offset"] not in (lost, lost + 1):
            offset = record["offset"] - 2 * (record["offset"] > lost)
            yield json.dumps(record | {"offset": offset}, ensure_ascii=False)


def as_json(value: str | bytes | None) -> Any:
    """Bytes as text where they are text, else as base64."""
    if value is None or isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def records(place: Place, topic: str, *partitions: int, begin: int = 0) -> Iterator[str]:
    """The records of a topic's partitions from an offset on, a line each."""
    consumer = Consumer({"bootstrap.servers": place.kafka.bootstrap, "group.id": "read", "enable.auto.commit": False})
    try:
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
            first = max(low, begin)
            consumer.assign([TopicPartition(topic, partition, first)])
            for message in until(consumer, high, first):
                told = {
                    "topic": topic,
                    "partition": partition,
                    "offset": message.offset(),
                    "time": message.timestamp()[1],
                    "key": as_json(message.key()),
                    "headers": [[name, as_json(value)] for name, value in headers_of(message)],
                    "value": as_json(message.value()),
                }
                yield json.dumps(told, ensure_ascii=False)
    finally:
        consumer.close()


def headers_of(message: Message) -> Headers:
    return cast("Headers", message.headers() or [])


def rows(place: Place) -> Iterator[str]:
    """Every row of every table, and every sequence, a line each; JSON as PostgreSQL writes it, which keeps `json`."""
    for table, keys in TABLES.items():
        line: LiteralString = "select json_build_object('table', {}, 'row', row_to_json(t))::text from {} t order by {}"
        names = [sql.Identifier(key) for key in keys]
        asked = sql.SQL(line).format(sql.Literal(table), sql.Identifier(table), sql.SQL(", ").join(names))
        with psycopg.connect(place.dsn) as connection:
            yield from (row for (row,) in connection.execute(asked))
    for sequence, last in place.query("select sequencename, last_value from pg_sequences order by 1"):
        yield json.dumps({"sequence": sequence, "last": last})


def write(folder: Path, place: Place) -> None:
    """All of it, in files of lines."""
    older_topic(place)
    with place.system() as system:
        orders_of_all_kinds(place, system)
        dead_letters_of_all_kinds(place)
        what_was_done_about_dead_letters(place)
    written = stop(place)
    served = list(in_flight(place))
    place.query("update dead_letter_actions set by_host = 'a-machine' where by_host is not null")
    place.query("update resumes set who = 'somebody@a-machine'")
    numbers = [str(number) for (number,) in place.query("select id from dead_letters order by id")]
    ids = [topic_id for (topic_id,) in place.query("select topic_id from positions group by 1 order by min(at)")]
    names = dict(zip(ids, (OLDER_ID, NEWER_ID), strict=True)) | {str(place.folder): "/folder"}
    lines = {
        "served": served,
        "rows": rows(place),
        "dead-letters": (place.dead_letters("show", number, "--json").rstrip() for number in numbers),
        "records": chain(
            records(place, TOPIC, GOOD, BAD, FULL, PASSED),
            as_cut(records(place, TOPIC, CUT), written.lost),
            written.damaged,
            records(place, TOPIC, DAMAGED, begin=len(written.damaged)),
            records(place, TOPIC, GAINED),
            records(place, COPIES, 0),
        ),
        "state": [json.dumps(json.loads(written.state))],
    }
    folder.mkdir(parents=True)
    for name, each in lines.items():
        text = "".join(f"{line}\n" for line in each)
        for told, kept in names.items():
            text = text.replace(told, kept)
        (folder / f"{name}.jsonl").write_text(text)


def main() -> None:
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    with (
        open_folder() as folder,
        started_postgres() as postgres,
        started_kafka() as kafka,
        fresh_database(postgres) as dsn,
    ):
        write(ROOT / "tests/data" / f"stored-{commit}", Place(folder, dsn, kafka))


if __name__ == "__main__":
    main()
