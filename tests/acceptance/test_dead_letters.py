"""The commands of `orders dead-letters` on a running system, as one would type them."""

import base64
import getpass
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.kafka.producer import Headers, OrderProducer
from orders.record import REPLAY_HEADER
from orders.sample import samples
from support.services import Topics, fresh_database, open_folder
from support.system import System, environment, orders, running
from support.traffic import whole_topic
from support.waiting import wait_for

pytestmark = pytest.mark.system

ENDS: LiteralString = "select partition, next_offset from positions order by 1"


@pytest.fixture(scope="module")
def system(postgres: PostgresService, kafka: KafkaService) -> Iterator[System]:
    """A system of this module's own, with a topic for copies."""
    topics = Topics(kafka.bootstrap)
    with fresh_database(postgres) as dsn, open_folder() as folder:
        topic, copies = topics.make(), topics.make(1)
        given = {"postgres-dsn": dsn, "kafka-bootstrap": kafka.bootstrap, "kafka-topic": topic, "kafka-group": topic}
        words = [
            word for name, value in (given | {"dead-letters-topic": copies}).items() for word in (f"--{name}", value)
        ]
        with running(folder / "data", words) as system:
            yield system
    topics.delete()


def option(system: System, name: str) -> str:
    words = system.process.args
    assert isinstance(words, list)
    return str(words[words.index(name) + 1])


def run(system: System, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """`orders dead-letters …`."""
    dsn = ("--postgres-dsn", option(system, "--postgres-dsn"))
    return orders(system.data, "dead-letters", *words, *dsn, given=given)


def rows(system: System, *words: str) -> list[dict[str, Any]]:
    """What a command writes for programs."""
    done = run(system, *words, "--json")
    assert done.returncode in (0, 1), done.stderr
    assert b"Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def query(system: System, sql: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(option(system, "--postgres-dsn"), autocommit=True) as connection:
        cursor = connection.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def send(system: System, key: bytes | None, value: bytes | None, headers: Headers = ()) -> tuple[int, int]:
    """Where a record lies, once it is consumed."""
    places: list[Any] = []
    kafka = {"bootstrap.servers": option(system, "--kafka-bootstrap")}
    producer = OrderProducer(kafka, option(system, "--kafka-topic"), 20)
    producer.produce(key, value, headers, places.append)
    producer.close(20)
    partition, offset = places[0]
    position: LiteralString = "select next_offset > %s from positions where partition = %s"
    wait_for(lambda: query(system, position, offset, partition) == [(True,)], "it is consumed", 20)
    return partition, offset


def dead_letter_at(system: System, place: tuple[int, int]) -> int:
    ((number,),) = query(system, 'select id from dead_letters where partition = %s and "offset" = %s', *place)
    return int(number)


def order(seed: int, **payment: object) -> tuple[str, bytes]:
    """An order of a test's own."""
    (text,) = samples(1, seed)
    told = json.loads(text)
    told["payment"] |= payment
    return told["order_uid"], json.dumps(told).encode()


def amount(system: System, uid: str) -> int:
    status, body = system.request("GET", f"/orders/{uid}")
    return int(body["order"]["payment"]["amount"]) if status == 200 else 0


def record_at(system: System, partition: int, offset: int) -> Any:
    """A record of the orders' topic."""
    bootstrap = option(system, "--kafka-bootstrap")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "look", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(option(system, "--kafka-topic"), partition, offset)])
        return wait_for(lambda: consumer.poll(0.5), "the record")
    finally:
        consumer.close()


def test_a_dead_letter_is_shown_edited_and_replayed_and_the_order_is_served(system: System, tmp_path: Path) -> None:
    uid, wrong = order(201, amount="lots")
    headers: Headers = (("trace", b"\x00\xff"), ("orders-reply", b"1"))
    number = dead_letter_at(system, send(system, b"not a uid, but a name", wrong, headers))

    (listed,) = [each for each in rows(system, "list") if each["id"] == number]
    assert (listed["key"], listed["key_bytes"], listed["state"]) == (None, 21, "open")
    assert listed["path"] == "$.payment.amount"
    assert b"a name" not in run(system, "list").stdout

    still = run(system, "edit", str(number), "-", "--json", given=order(201, amount=None)[1])
    assert still.returncode == 1
    assert json.loads(still.stdout)["path"] == "$.payment.amount"
    broken = run(system, "edit", str(number), "-", given=b'{\n "order_uid": "a",\n "payment"}')
    assert (broken.returncode, broken.stdout.decode()) == (
        1,
        "kept, and still wrong, -: Invalid JSON: expected ':' at byte 31 (line 3, column 11)\n",
    )
    (tmp_path / "fixed.json").write_bytes(order(201, amount=4242)[1])
    fixed = run(system, "edit", str(number), str(tmp_path / "fixed.json"))
    assert (fixed.returncode, fixed.stdout.decode()) == (
        0,
        f"kept: order {uid}; send it with `orders dead-letters replay {number}`\n",
    )

    done = run(system, "replay", str(number))
    assert (done.returncode, done.stdout) == (0, b"1 of 1 replayed (1 created)\n"), done.stderr
    assert amount(system, uid) == 4242

    (shown,) = rows(system, "show", str(number))
    assert (shown["state"], shown["value"]["text"]) == ("replayed", wrong.decode())
    assert shown["edit"]["text"] == order(201, amount=4242)[1].decode()
    assert shown["headers"][0] == {"name": "trace", "value": {"base64": base64.b64encode(b"\x00\xff").decode()}}
    actions = [(each["action"], each.get("by_user"), each.get("by_host")) for each in shown["actions"]]
    me = (getpass.getuser(), socket.gethostname())
    assert actions == [("edit", *me), ("edit", *me), ("edit", *me), ("replay", *me), ("outcome", None, None)]

    outcome = shown["actions"][-1]
    record = record_at(system, outcome["partition"], outcome["offset"])
    assert record.key() == uid.encode(), "it lies beside its order's other records"
    assert [name for name, _ in record.headers()] == ["trace", REPLAY_HEADER]
    for_a_person = run(system, "show", str(number)).stdout.decode().splitlines()
    assert for_a_person[:2] == [f"id       {number}", "state    replayed"]
    assert "path     $.payment.amount" in for_a_person


def test_a_replay_does_not_take_the_place_of_a_newer_order_unless_forced(system: System) -> None:
    uid, wrong = order(202, amount="lots")
    number = dead_letter_at(system, send(system, uid.encode(), wrong))
    send(system, uid.encode(), order(202, amount=2)[1])
    run(system, "edit", str(number), "-", given=order(202, amount=1)[1])

    done = run(system, "replay", str(number))
    assert done.returncode == 1
    assert done.stdout.decode() == (
        f"{number}: conflict, -: the stored order is newer than the dead letter\n0 of 1 replayed (1 conflict)\n"
    )
    assert amount(system, uid) == 2
    assert rows(system, "replay", str(number), "--force")[0]["outcome"] == "replaced"
    assert amount(system, uid) == 1


def test_what_is_refused_again_stays_open_and_makes_no_second_dead_letter(system: System) -> None:
    place = send(system, b"rubbish", b"\xff rubbish")
    number = dead_letter_at(system, place)
    before = query(system, "select count(*) from dead_letters")
    (result,) = rows(system, "replay", str(number))
    assert (result["outcome"], result["reason"]) == ("refused", "Invalid JSON: not UTF-8 at byte 0 (line 1, column 1)")
    assert rows(system, "replay", str(number))[0]["outcome"] == "refused"
    assert query(system, "select count(*) from dead_letters") == before
    (shown,) = rows(system, "show", str(number))
    assert (shown["state"], shown["value"]) == ("open", {"base64": base64.b64encode(b"\xff rubbish").decode()})


def test_what_postgresql_refused_comes_back_by_a_filter_once_it_takes_it(system: System) -> None:
    query(system, "alter table orders add constraint no check (payment_bank <> 'refused')")
    uids = []
    for seed in range(300, 310):
        uid, text = order(seed, bank="refused")
        send(system, uid.encode(), text)
        uids.append(uid)
    asked = run(system, "replay", "--reason", "SQLSTATE 23514")
    assert (asked.returncode, asked.stderr) == (2, b"orders: 10 dead letters would be replayed: add --yes to do it\n")
    query(system, "alter table orders drop constraint no")
    done = run(system, "replay", "--reason", "sqlstate 23514", "--yes")
    assert (done.returncode, done.stdout) == (0, b"10 of 10 replayed (10 created)\n")
    assert all(amount(system, uid) for uid in uids)
    again = run(system, "replay", "--reason", "SQLSTATE 23514", "--yes")
    assert (again.returncode, again.stdout) == (0, b"0 of 0 replayed (none)\n")
    assert again.stderr == b"10 more are not open and stay as they are\n"


def test_many_are_discarded_by_filters_and_keep_their_bytes(system: System) -> None:
    numbers = [dead_letter_at(system, send(system, None, b"discard me")) for _ in range(3)]
    partition = query(system, "select partition from dead_letters where id = %s", numbers[0])[0][0]
    since = query(system, "select at::text from dead_letters where id = %s", numbers[1])[0][0].replace("+00", "+00:00")
    assert run(system, "discard").stderr == b"orders: name them: by numbers, by filters, or with --all\n"
    assert rows(system, "discard", "--since", since, "--until", "2020-01-01", "--yes") == [
        {"discarded": 0, "left_out": 0}
    ]
    assert rows(system, "discard", "--topic", "another", "--yes") == [{"discarded": 0, "left_out": 0}]
    assert rows(system, "discard", "--since", since, "--yes") == [{"discarded": 2, "left_out": 0}]
    discarded = [each["id"] for each in rows(system, "list", "--state", "discarded")]
    assert discarded[:2] == [numbers[2], numbers[1]]
    assert numbers[0] not in discarded
    opened = [each["id"] for each in rows(system, "list", "--state", "open", "--partition", str(partition))]
    assert numbers[0] in opened
    assert rows(system, "show", str(numbers[2]))[0]["value"] == {"text": "discard me"}
    missing = run(system, "discard", str(numbers[0]), "999999")
    assert (missing.returncode, missing.stderr[:35]) == (2, b"orders: there is no dead letter 999")
    assert numbers[0] in [each["id"] for each in rows(system, "list", "--state", "open", "--limit", "1000")]


def typed(system: System, *words: str, keys: bytes = b"", editor: str = "") -> tuple[int, str]:
    """`orders dead-letters …` on a terminal: exit status, and what was seen there."""
    ours, theirs = pty.openpty()
    os.write(ours, keys)
    dsn = ("--postgres-dsn", option(system, "--postgres-dsn"))
    done = subprocess.run(
        [sys.executable, "-m", "orders", "dead-letters", *words, *dsn],
        env=environment(system.data) | {"TERM": "xterm", "VISUAL": editor, "EDITOR": editor},
        stdin=theirs, stdout=theirs, stderr=theirs, timeout=30, check=False,
    )  # fmt: skip
    os.write(theirs, b"the end")
    seen = b""
    while not seen.endswith(b"the end"):
        seen += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    return done.returncode, seen.decode()


def test_on_a_terminal_what_acts_on_many_asks_first(system: System) -> None:
    numbers = [dead_letter_at(system, send(system, b"asked", b"asked")) for _ in range(2)]
    since = str(query(system, "select to_json(at) #>> '{}' from dead_letters where id = %s", numbers[0])[0][0])
    status, seen = typed(system, "discard", "--since", since, keys=b"n\n")
    assert status == 1
    assert "2 dead letters will be discarded. Continue? [y/N]" in seen
    assert "orders: nothing was done" in seen
    assert rows(system, "show", str(numbers[0]))[0]["state"] == "open"
    status, seen = typed(system, "discard", "--since", since, keys=b"y\n")
    assert (status, "2 discarded" in seen) == (0, True)
    assert rows(system, "show", str(numbers[0]))[0]["state"] == "discarded"


def test_on_a_terminal_a_dead_letter_is_edited_with_the_editor(system: System, tmp_path: Path) -> None:
    number = dead_letter_at(system, send(system, b"by hand", order(204, amount="lots")[1]))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed \'s/"lots"/77/\' "$1" > "$1.new"\nmv "$1.new" "$1"\n')
    editor.chmod(0o755)
    status, seen = typed(system, "edit", str(number), editor=str(editor))
    assert (status, f"kept: order {order(204)[0]}" in seen) == (0, True), seen
    assert rows(system, "show", str(number))[0]["edit"]["text"] == order(204, amount=77)[1].decode()
    status, seen = typed(system, "edit", str(number), editor="true")
    assert (status, "the editor was left without a change: nothing was kept" in seen) == (1, True), seen
    assert run(system, "edit", str(number)).stderr.startswith(b"orders: this is not a terminal to edit on: ")


def test_each_has_a_copy_in_the_topic_for_them(system: System) -> None:
    partition, offset = send(system, b"copied", b"copy me")
    place = {"partition": str(partition).encode(), "offset": str(offset).encode()}
    expected = {f"__connect.errors.{name}": value for name, value in place.items()}

    def copied() -> bool:
        copies = whole_topic(option(system, "--kafka-bootstrap"), option(system, "--dead-letters-topic"))
        found: list[Any] = [dict(each.headers() or ()) for each in copies if each.key() == b"copied"]
        return any(headers.items() >= expected.items() for headers in found)

    wait_for(copied, "the copy", 20)


def test_a_topic_for_copies_that_is_not_there_is_reported_at_the_start(system: System, tmp_path: Path) -> None:
    given = ("--postgres-dsn", "--kafka-bootstrap", "--kafka-topic")
    words = [word for name in given for word in (name, option(system, name))]
    done = orders(tmp_path, "run", *words, "--dead-letters-topic", "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(b"orders: ")
    assert b"nowhere" in done.stderr


def test_dead_letters_are_exported_as_they_came_and_that_is_kept(system: System, tmp_path: Path) -> None:
    number = dead_letter_at(system, send(system, b"\xfe", b"\xff\x00", (("a", None),)))
    tombstone = dead_letter_at(system, send(system, b"no uid", None))
    numbers = (str(number), str(tombstone))
    first, second = rows(system, "export", *numbers)
    assert [base64.b64decode(first[name]) for name in ("key", "value")] == [b"\xfe", b"\xff\x00"]
    assert (first["headers"], second["value"]) == ([["a", None]], None)
    run(system, "edit", str(number), "-", given=b"{}")
    done = run(system, "export", *numbers, "--raw", str(tmp_path / "raw"))
    assert done.stdout.decode() == f"2 files in {tmp_path / 'raw'}; 1 have no value\n"
    assert (tmp_path / "raw" / str(number)).read_bytes() == b"\xff\x00"
    assert (tmp_path / "raw" / f"{number}.edited").read_bytes() == b"{}"
    assert [each["action"] for each in rows(system, "show", str(number))[0]["actions"]] == ["export", "edit", "export"]


def test_the_topic_read_again_from_its_start_changes_nothing(system: System) -> None:
    everything: LiteralString = (
        "select (select json_agg(o order by o.order_uid) from orders o)::text, "
        "(select json_agg(d order by d.id) from dead_letters d)::text, "
        "(select json_agg(a order by a.id) from dead_letter_actions a)::text"
    )
    number = dead_letter_at(system, send(system, b"again", order(203, amount="lots")[1]))
    run(system, "edit", str(number), "-", given=order(203, amount=3)[1])
    assert rows(system, "replay", str(number))[0]["outcome"] == "created"
    before, ends = query(system, everything), query(system, ENDS)
    query(system, "update positions set next_offset = 0")
    (ingest,) = wait_for(lambda: system.pids("ingest"))
    os.kill(ingest, signal.SIGKILL)  # the next one begins at the positions
    wait_for(lambda: query(system, ENDS) == ends, "all is read again", 40)
    assert query(system, everything) == before
