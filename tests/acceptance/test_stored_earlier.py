"""A database and topics that an earlier commit wrote, with all that rows and headers can say: today's code reads them.

What is stored is a contract: a state, a stop or a header that gets another name is still read under the old one, or a
migration renames it. The files are made once, by `support.earlier_written`, and are never changed with the code.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, LiteralString, NamedTuple

import httpx2
import psycopg
import pytest

from orders import ownership
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from support import earlier
from support.earlier import NEWER_ID, Earlier, Line
from support.metrics import series_of
from support.services import Topics, fresh_database, open_folder
from support.system import System, orders, running
from support.traffic import whole_topic
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]  # takes long

COMMITS = ["0a89f0a"]
READ = (0, 1)
"""Partitions that are not stopped."""
STOPS = {2: "dead_letters", 3: "retention", 4: "went_back", 5: "unreadable", 6: "new"}
"""Why the others are, by the words of `orders status`."""
CUT = 4
REPLAYED_NOW = {12: "created", 15: "refused"}
"""Dead letters, refused by PostgreSQL then and discarded, and what becomes of them."""
DELETED = "ea9964ee57854f2d7a14c1"
"""The order of a tombstone that no ingest had read."""
LOST = "983a7fe14535d72d7a17b"
"""The order whose last record Kafka lost, and of which it then got another."""


class Then(NamedTuple):
    """What was stored then, and a system of now on it; `consumed` are the records that it began with."""

    stored: Earlier
    system: System
    variables: dict[str, str]
    consumed: float

    def command(self, *words: str) -> list[Any]:
        """What a command writes for programs."""
        done = orders(self.system.data, *words, variables=self.variables)
        assert b"Traceback" not in done.stderr
        assert done.returncode in (0, 1), done
        return [json.loads(line) for line in done.stdout.splitlines()]

    def query(self, sql: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.variables["ORDERS_POSTGRES_DSN"], autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [line["row"] for line in self.stored.read("rows") if line.get("table") == table]

    def records(self) -> list[Line]:
        """Those of the topic of orders."""
        return [record for record in self.stored.read("records") if record["topic"] == self.stored.topic]

    def unread(self) -> list[Line]:
        """Those behind the stored positions; where the log was truncated, those that were written since."""
        stored = {row["partition"]: row for row in self.rows("positions") if row["topic_id"] == self.topic_id}
        ends = {number: row["next_offset"] for number, row in stored.items()} | {CUT: cut_at(self.rows("orders"))}
        return [each for each in self.records() if each["offset"] >= ends[each["partition"]]]

    @property
    def topic_id(self) -> str:
        return self.stored.names[NEWER_ID]

    def replay(self, number: int) -> list[Any]:
        done = orders(self.system.data, "dead-letters", "replay", str(number), "--json", variables=self.variables)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def get(self, uid: str) -> tuple[int, Any]:
        return self.system.request("GET", f"/orders/{uid}")

    def partitions(self) -> dict[int, Any]:
        (told,) = self.command("status", "--json")
        return {each["partition"]: each for each in told["partitions"]}


class Resumed(NamedTuple):
    """Why partitions were stopped, and what `orders resume` told of them."""

    stops: dict[int, str | None]
    told: list[Any]


@pytest.fixture(scope="module", params=COMMITS)
def then(request: pytest.FixtureRequest, postgres: PostgresService, kafka: KafkaService) -> Iterator[Then]:
    """A system that was started on what that commit left, once it has read what is not stopped."""
    topics = Topics(kafka.bootstrap)
    with fresh_database(postgres) as dsn, open_folder() as folder:
        stored = earlier.put(request.param, dsn, kafka.bootstrap, topics.make)
        variables = {
            "ORDERS_POSTGRES_DSN": dsn,
            "ORDERS_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "ORDERS_KAFKA_TOPIC": stored.topic,
            "ORDERS_KAFKA_GROUP": stored.topic,
            "ORDERS_DEAD_LETTERS_TOPIC": stored.copies,
        }
        with running(folder / "data", variables=variables) as system:
            found = Then(stored, system, variables, 0)
            wait_for(lambda: all(found.partitions()[n]["lag"] == 0 for n in READ), "all is read", 30)
            yield found._replace(consumed=consumed(system))
    topics.delete()


def consumed(system: System) -> float:
    series = series_of(metrics(system))
    return sum(value for name, value in series.items() if name.startswith("orders_records_total"))


def metrics(system: System) -> str:
    return httpx2.get(f"{system.url}/metrics", timeout=10).text


@pytest.fixture(scope="module")
def resumed(then: Then) -> Resumed:
    """The same once every stopped partition was resumed and read; the new one first: it would open by itself."""
    stops = {number: each["stop"] for number, each in then.partitions().items()}
    told = list[Any]()
    for words in (("6",), ("2", "5"), ("3", "4", "--from", "beginning")):
        numbers = [word for number in words if number.isdecimal() for word in ("--partition", number)]
        told += then.command("resume", *numbers, *(word for word in words if not word.isdecimal()), "--json")[0]
    wait_for(lambda: all(each["lag"] == 0 for each in then.partitions().values()), "all is read", 30)
    return Resumed(stops, told)


def test_every_order_is_served_as_it_was(then: Then) -> None:
    served = {line["order_uid"]: line["body"] for line in then.stored.read("served")}
    assert len(served) > 20
    for uid in served.keys() - {DELETED, LOST}:
        answer = httpx2.get(f"{then.system.url}/orders/{uid}", timeout=10)
        assert (answer.status_code, answer.text) == (200, served[uid])
    tombstones = {record["key"] for record in then.records() if record["value"] is None}
    gone = {uid for uid in tombstones - served.keys() if " " not in uid}
    assert gone
    assert {then.get(uid)[0] for uid in gone} == {404}


def test_dead_letters_are_listed_shown_and_exported_as_they_were(then: Then) -> None:
    shown = {dead_letter["id"]: dead_letter for dead_letter in then.stored.read("dead-letters")}
    for number in [number for number, dead_letter in shown.items() if is_changed(then, dead_letter)]:
        del shown[number]
    listed = {each["id"]: each for each in then.command("dead-letters", "list", "--limit", "1000", "--json")}
    fields = ("state", "topic", "partition", "offset", "time", "at", "reason", "path", "edited")
    for number, dead_letter in shown.items():
        assert [listed[number][name] for name in fields] == [dead_letter[name] for name in fields]
    assert {dead_letter["state"] for dead_letter in shown.values()} == {"open", "replayed"}
    for number in (n for n, dead_letter in shown.items() if dead_letter["actions"]):
        assert then.command("dead-letters", "show", str(number), "--json") == [shown[number]]
    assert [each["id"] for each in then.command("dead-letters", "list", "--state", "discarded", "--json")]
    untouched = [number for number, dead_letter in shown.items() if not dead_letter["actions"]][:12]
    rows = {row["id"]: row for row in then.rows("dead_letters")}
    for exported in then.command("dead-letters", "export", *map(str, untouched)):
        row = rows[exported["id"]]
        assert [hexed64(exported[name]) for name in ("key", "value")] == [row["key"], row["value"]]
        assert [name for name, _ in exported["headers"]] == row["header_names"]
        assert [hexed64(header[1]) for header in exported["headers"]] == row["header_values"]


def test_what_no_ingest_had_read_is_read_from_the_stored_positions_by_its_headers(then: Then, resumed: Resumed) -> None:
    """A condition holds, a reply comes, the outcome of a replay reaches its dead letter; nothing is read twice."""
    del resumed
    unread = then.unread()
    assert then.consumed == len([record for record in unread if record["partition"] in READ])
    for record in unread:
        if '"order_uid"' in (record["value"] or ""):
            assert then.get(json.loads(record["value"])["order_uid"])[0] == 200
    assert then.get(DELETED)[0] == 404

    asked: LiteralString = 'select outcome from outcomes where topic_id = %s and partition = %s and "offset" = %s'
    places = [(then.topic_id, each["partition"], each["offset"]) for each in unread if "orders-reply" in names(each)]
    assert sorted(then.query(asked, *place)[0][0] for place in places) == ["conflict", "created"]

    (dead_letter,) = then.command("dead-letters", "show", str(in_flight(then)), "--json")
    assert (dead_letter["state"], dead_letter["actions"][-1]["outcome"]) == ("replayed", "created")


def test_copies_of_dead_letters_have_the_headers_that_they_had(then: Then) -> None:
    (rubbish,) = [record for record in then.unread() if record["key"] == "rubbish"]
    before = [record for record in then.stored.read("records") if record["topic"] == then.stored.copies]
    like = next(record for record in before if record["key"] == "flood")

    def copy() -> list[str]:
        copies = whole_topic(then.variables["ORDERS_KAFKA_BOOTSTRAP"], then.stored.copies)
        found: list[Any] = [each.headers() for each in copies if each.key() == b"rubbish"]
        return [name for name, _ in found[0]] if found else []

    assert wait_for(copy, "the copy", 20) == names(rubbish) + names(like)


def test_stopped_partitions_are_shown_and_resumed_and_all_agrees(then: Then, resumed: Resumed) -> None:
    """What Kafka lost is forgotten where its log went back: other records are at those offsets now."""
    assert resumed.stops == STOPS | dict.fromkeys(READ)
    assert {each["partition"]: each["stop"] for each in resumed.told} == STOPS
    assert {each["state"] for each in resumed.told} <= {"reading", "idle"}
    assert {each["stop"] for each in then.partitions().values()} == {None}
    assert then.get(LOST)[1]["order"]["locale"] == "written after the loss"
    kept: LiteralString = "select stop from resumes where topic = %s group by stop"
    assert {stop for (stop,) in then.query(kept, then.stored.topic)} == {"anew", *STOPS.values()}

    (verified,) = then.command("verify", "--json")
    # Of orders that are in Kafka still, the place of the record was forgotten too.
    assert {(each["kind"], each["partition"]) for each in verified["shown"]} <= {("origin", CUT)}
    assert len(verified["shown"]) == sum(verified["differences"].values())
    assert verified["compared"]["memory"]


def test_stored_dead_letters_are_replayed(then: Then, resumed: Resumed) -> None:
    del resumed
    told = {each["id"]: each["outcome"] for n in REPLAYED_NOW for each in then.replay(n)}
    assert told == REPLAYED_NOW


def test_commands_find_a_running_system_by_the_state_of_an_earlier_one(then: Then) -> None:
    """It was upgraded while it runs: its processes are as they were, and so is state.json."""
    file = then.system.data / "state.json"
    now = file.read_bytes()
    (before,) = then.command("status", "--json")
    (state,) = then.stored.read("state")
    theirs = json.loads(now)["settings"]
    state["http_url"] = then.system.url
    state["settings"] |= {name: theirs[name] for name in ("data_dir", "memory_path", "http_port", "kafka_bootstrap")}
    state["processes"] = [each | {"birth": ownership.birth(each["pid"])} for each in before["processes"]]
    try:
        file.write_text(json.dumps(state))
        done = orders(then.system.data, "status", "--json")
        after = json.loads(done.stdout)
        assert [after[name] for name in ("processes", "http", "version")] == [
            before[name] for name in ("processes", "http", "version")
        ]
        assert after["kafka"] == {"bootstrap": theirs["kafka_bootstrap"], "topic": then.stored.topic}
        uid = then.rows("orders")[0]["order_uid"]
        assert json.loads(orders(then.system.data, "get", uid).stdout)["order"]["order_uid"] == uid
    finally:
        file.write_bytes(now)


def test_a_machine_with_an_earlier_release_tells_this_one_what_it_changed(then: Then) -> None:
    uid = then.rows("orders")[0]["order_uid"]
    change: LiteralString = (
        "update orders set locale = %s, version = version + 1 where order_uid = %s returning version"
    )

    def served() -> str:
        return str(then.get(uid)[1]["order"]["locale"])

    before = served()
    for written in ("by another machine", before):
        ((version,),) = then.query(change, written, uid)
        notice = {"memory": "another machine's", "changes": [[uid, version]]}
        then.query("select pg_notify('orders_changed', %s)", json.dumps(notice))
        wait_for(partial(matches, served, written), "the change is served")


def matches(look: Callable[[], str], wanted: str) -> bool:
    return look() == wanted


def cut_at(orders: list[dict[str, Any]]) -> int:
    """The first offset that Kafka gave to another record after its log went back."""
    (offset,) = [row["offset"] for row in orders if row["order_uid"] == LOST]
    return int(offset)


def is_changed(then: Then, dead_letter: Line) -> bool:
    """Whether something becomes of it here: it is replayed, or what its partition lost is forgotten."""
    places = [dead_letter, *dead_letter["actions"]]
    return dead_letter["id"] in (in_flight(then), *REPLAYED_NOW) or any(each.get("partition") == CUT for each in places)


def in_flight(then: Then) -> int:
    """The dead letter whose replay no ingest had read."""
    told = {row["attempt"] for row in then.rows("dead_letter_actions") if row["action"] == "outcome"}
    (number,) = {
        int(row["dead_letter"])
        for row in then.rows("dead_letter_actions")
        if row["action"] == "replay" and row["attempt"] not in told
    }
    return number


def names(record: Line) -> list[str]:
    return [name for name, _ in record["headers"]]


def hexed(value: bytes | None) -> str | None:
    """Bytes as PostgreSQL writes them in JSON."""
    return None if value is None else f"\\x{value.hex()}"


def hexed64(value: str | None) -> str | None:
    """The same of base64."""
    return None if value is None else hexed(b64decode(value))
