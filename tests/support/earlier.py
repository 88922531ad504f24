"""What an earlier commit left in PostgreSQL and Kafka, put there again: lines of JSON in `tests/data/stored-COMMIT`.

rows          every row of every table, and the sequences
records       the topic and that of the copies; what lies behind the stored positions no ingest had read
served        what GETs answered then, before that
dead-letters  what `orders dead-letters show` told then
state         state.json of the system that ran then

`earlier_written` made them. Names and ids of topics are `TOPIC`, `COPIES` and so on, and become those that there are.
"""

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import psycopg
from confluent_kafka import Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql

from support.services import MakeTopic
from support.system import ROOT

TOPIC, COPIES = "orders-then", "dead-letters-then"
OLDER_ID, NEWER_ID = "older-topic-id", "newer-topic-id"
TABLES = {
    "orders": ("id",),
    "positions": ("topic_id", "partition"),
    "dead_letters": ("id",),
    "dead_letter_actions": ("id",),
    "dead_letter_copies": ("topic_id", "partition"),
    "outcomes": ("topic_id", "partition", "offset"),
    "resumes": ("id",),
    "migrations": ("name",),
}
"""Every table, and what its rows are put in order by."""
HISTORY: LiteralString = """
create table migrations (name text primary key, sha256 text not null, at timestamptz not null default now())
"""
SECONDS = 20.0

Line = dict[str, Any]


class Earlier(NamedTuple):
    """A folder of such lines, and what stands for the names in them now."""

    folder: Path
    names: Mapping[str, str]

    def lines(self, kind: str) -> Iterator[str]:
        text = (self.folder / f"{kind}.jsonl").read_text("utf-8")
        for then, now in self.names.items():
            text = text.replace(then, now)
        return iter(text.splitlines())

    def read(self, kind: str) -> list[Line]:
        return [json.loads(line) for line in self.lines(kind)]

    @property
    def topic(self) -> str:
        return self.names[TOPIC]

    @property
    def copies(self) -> str:
        return self.names[COPIES]


def put(commit: str, dsn: str, bootstrap: str, make_topic: MakeTopic) -> Earlier:
    """Fills an empty database, with the schema of that commit, and topics of their own."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic, copies = make_topic(7), make_topic(1)
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(SECONDS)
    names = {TOPIC: topic, COPIES: copies, NEWER_ID: str(described.topic_id)}
    earlier = Earlier(ROOT / "tests/data" / f"stored-{commit}", names)
    lows = produce(bootstrap, earlier.read("records"))
    for answer in admin.delete_records(lows).values():
        answer.result(SECONDS)
    with psycopg.connect(dsn) as connection:
        insert(connection, list(earlier.lines("rows")))
    return earlier


def produce(bootstrap: str, records: Iterable[Line]) -> list[TopicPartition]:
    """Writes records to the offsets where they were; gives where partitions begin that lost what was before."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    ends = dict[tuple[str, int], int]()
    lows = list[TopicPartition]()
    for record in records:
        place = record["topic"], record["partition"]
        if place not in ends and record["offset"]:
            lows.append(TopicPartition(*place, record["offset"]))
        for _ in range(ends.get(place, 0), record["offset"]):
            producer.produce(place[0], b"removed by retention", None, place[1])
        ends[place] = record["offset"] + 1
        headers: list[tuple[str, str | bytes | None]] = [(name, bytes_in(value)) for name, value in record["headers"]]
        producer.produce(
            *(place[0], bytes_in(record["value"]), bytes_in(record["key"]), place[1]),
            headers=headers,
            timestamp=record["time"],
            on_delivery=at(record["offset"]),
        )
    assert producer.flush(SECONDS) == 0
    return lows


def at(offset: int) -> Any:
    """Checks that a record lies there."""

    def delivered(_: object, message: Message) -> None:
        assert message.offset() == offset

    return delivered


def bytes_in(value: str | Line | None) -> bytes | None:
    """Bytes of a line: text, or base64."""
    return None if value is None else value.encode() if isinstance(value, str) else b64decode(value["base64"])


def insert(connection: psycopg.Connection[Any], lines: Iterable[str]) -> None:
    """Makes the schema by the migrations that are in the rows, then the rows and sequences; `json` stays as it was."""
    parsed = [(json.loads(line), line) for line in lines]
    connection.execute(HISTORY)
    for found, _ in parsed:
        if found.get("table") == "migrations":
            (file,) = ROOT.glob(f"src/orders/**/migrations/{found['row']['name']}")
            connection.execute(file.read_bytes())
    for found, line in parsed:
        if "table" in found:
            table = sql.Identifier(found["table"])
            row: LiteralString = "select * from json_populate_record(null::{0}, %s::json -> 'row')"
            statement = sql.SQL("insert into {0} overriding system value " + row).format(table)
            connection.execute(statement, (line,))
        else:
            connection.execute("select setval(%s::text::regclass, %s)", (found["sequence"], found["last"]))
