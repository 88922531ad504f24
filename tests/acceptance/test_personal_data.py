"""Names, phones, addresses and e-mail addresses stay in the orders: no log, error, metric or command shows them."""

import http.client
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.kafka.producer import Headers, OrderProducer
from orders.record import CONDITION_HEADER, REPLY_HEADER
from orders.sample import samples
from support import hostile
from support.listed import index_by_hand
from support.services import open_folder
from support.system import System, orders, running
from support.waiting import wait_for

MARK = b"qx7persona"
PERSONAL = json.loads(hostile.VALID)["delivery"]
SENDABLE_BYTES = 900_000
GIVEN = ("--log-level", "debug", "--dead-letter-percent", "0")
"""The level that says most, and no end to what may be refused."""


def marked(value: bytes) -> bytes:
    """A message with marks in place of what is personal, as long as it was."""
    for name in ("name", "phone", "email", "address", "city"):
        text = PERSONAL[name]
        for raw in {text.encode(), json.dumps(text)[1:-1].encode()}:
            value = value.replace(raw, (MARK * 20)[: len(raw)] if len(raw) >= len(MARK) else MARK)
    return value


def more() -> Iterator[bytes]:
    """Marks where they do not belong: other types, unknown fields and their names, no JSON at all."""
    text = b'"' + MARK + b'"'
    items: list[Sequence[str | int]] = [["items", 0, "price"], ["items", 0]]
    fields: list[Sequence[str | int]] = [["sm_id"], ["date_created"], ["payment", "amount"], ["delivery"], ["payment"]]
    yield from (hostile.put(place, text) for place in items + fields)
    yield hostile.put([MARK.decode()], text)
    yield hostile.put(["delivery", MARK.decode()], rb'"' + MARK + rb'\u0000"')
    yield hostile.put([MARK.decode()], b"[" * 100 + text + b"]" * 100)
    yield hostile.member(MARK + rb"\ud800")
    yield hostile.member(MARK + b"\xff")
    yield from (MARK, text, b"{" + text, MARK.decode().encode("utf-16"), b'{"name":' + text + b"}")


def messages() -> list[bytes]:
    """All that is hostile or strange, and a few good orders, marked."""
    refused, taken = [each.value for each in hostile.REFUSED], [each.value for each in hostile.TAKEN]
    return [*map(marked, refused + taken), *more(), *refusable()]


def refusable() -> Iterator[bytes]:
    """Orders of their own that the decoder takes and PostgreSQL does not, by a condition that a test adds."""
    for number, order in enumerate(samples(3, 77)):
        told = json.loads(order)
        told["delivery"] |= {name: f"{MARK.decode()} {number}" for name in ("name", "address", "email")}
        yield json.dumps(told | {"entry": "refused by PostgreSQL"}).encode()


def said_by(answer: bytes) -> bytes:
    """All of an answer but the orders that were looked for and their uids; cursors also as what their base64 holds."""
    told = json.loads(answer)
    for name in ("orders", "missing"):
        told.pop(name, None)
    cursors = [urlsafe_b64decode(told[name] + "===") for name in ("next", "prev") if told.get(name)]
    return json.dumps(told).encode() + b" ".join(cursors)


def searches() -> list[dict[str, Any]]:
    """For what is personal, right and wrong, on pages of one order that continue."""
    mark = MARK.decode()
    right = ({"name": mark}, {"name_prefix": mark[:4]}, {"email": mark}, {"q": mark}, {"phone": mark + "1234"})
    lookups = ([f"{mark}@example.com"], [mark * 1000])
    return [
        *({**each, "limit": 1} for each in right),
        *({name: mark} for name in ("phone", "cursor", "fields", "view", "created_from")),
        {"name": [mark]},
        {"email": "\0" + mark},
        *({"order_uids": uids} for uids in lookups),
    ]


KEYS = (b"key", b"name " + MARK, MARK + b"@example.com")
HEADERS: list[Headers] = [
    (),
    ((REPLY_HEADER, b"1"), (CONDITION_HEADER, MARK)),
    ((REPLY_HEADER, MARK), ("name", MARK), (MARK.decode(), b"")),
]


class Told:
    """All that was said, by whom."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.by: list[tuple[str, bytes]] = []

    def post(self, bodies: list[bytes]) -> None:
        """Each on one connection, as far as it is kept; fields and bodies of the answers."""
        address = urlsplit(self.system.url).netloc
        fields = {
            "X-Request-ID": f"{MARK.decode()}@example.com",
            "Authorization": MARK.decode(),
            "Cookie": MARK.decode(),
        }
        with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            for body in bodies:
                connection.request(
                    "POST", f"/orders?name={MARK.decode()}"[: 7 if len(body) % 2 else None], body, fields
                )
                answer = connection.getresponse()
                self.by.append((f"answer {answer.status}", str(answer.getheaders()).encode() + answer.read()))

    def search(self, bodies: list[dict[str, Any]]) -> None:
        """By POST, and what of it is wrong as a list; fields of all answers, bodies of errors, cursors of pages."""
        address = urlsplit(self.system.url).netloc
        with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            for body in bodies:
                for path in ("/orders/search", "/orders/lookup"):
                    connection.request("POST", path, json.dumps(body))
                    answer = connection.getresponse()
                    text = answer.read()
                    self.by.append((f"search {answer.status}", str(answer.getheaders()).encode() + said_by(text)))

    def get(self, path: str) -> bytes:
        with closing(http.client.HTTPConnection(urlsplit(self.system.url).netloc, timeout=30)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        self.by.append((path[:12], str(answer.getheaders()).encode() + body))
        return body

    def command(self, *arguments: str, given: bytes | None = None, shown: bool = True) -> None:
        """What a command says; what it shows by its purpose may be left out."""
        done = orders(self.system.data, *arguments, given=given)
        self.by.append((f"orders {arguments[0]}", done.stderr + (done.stdout if shown else b"")))

    def speakers(self) -> list[str]:
        """Who named a mark, and in which words; nobody should."""
        said = [*self.by, ("processes", self.system.output.read_bytes())]
        found = ((who, re.search(rb"(?i).{0,80}" + MARK + rb".{0,40}", text)) for who, text in said)
        return [f"{who}: {match[0]!r}" for who, match in found if match]


def produce(bootstrap: str, topic: str, bodies: list[bytes]) -> int:
    """Sends the messages with each set of headers; how many."""
    producer = OrderProducer({"bootstrap.servers": bootstrap}, topic, 30)
    sendable = [body for body in bodies if len(body) < SENDABLE_BYTES]
    for number, body in enumerate(sendable):
        producer.produce(KEYS[number % len(KEYS)], body, HEADERS[number % len(HEADERS)], lambda _: None)
    producer.flush(30)
    producer.close()
    return len(sendable)


def test_what_is_personal_is_never_said(addresses: list[str], postgres: PostgresService, kafka: KafkaService) -> None:
    """Whatever comes, by POST, by Kafka and by the commands, at the level that says most.

    Takes 10 s: each message by POST, by Kafka and by `orders send`, and then the commands.
    """
    given = dict(zip(addresses[::2], addresses[1::2], strict=True))
    dsn = given["--postgres-dsn"]
    with open_folder() as folder, running(folder / "data", [*GIVEN, *addresses]) as system:
        with psycopg.connect(dsn) as connection:
            connection.execute("alter table orders add check (entry <> 'refused by PostgreSQL')")
            index_by_hand(connection)
        told, bodies = Told(system), messages()
        told.post(bodies)
        produce(given["--kafka-bootstrap"], given["--kafka-topic"], bodies)
        lines = b"\n".join(body.replace(b"\n", b" ") for body in bodies if len(body) < SENDABLE_BYTES)
        told.command("send", "--as-is", "-", given=lines)
        told.command("send", "--skip-invalid", "-", given=lines)
        told.command("validate", "-", given=lines)
        wait_for(lambda: system.status()["lag"] == 0, "no lag", 60)

        uid = json.loads(hostile.VALID)["order_uid"]
        assert MARK in told.get(f"/orders/{uid}").lower(), "the marks went in"
        told.by.pop()
        told.search(searches())
        for path in (
            f"/orders?cursor={MARK.decode()}",
            f"/orders?view={MARK.decode()}&limit={MARK.decode()}",
            "/metrics",
            "/readyz",
            "/livez",
            "/startupz",
            "/",
            f"/orders/{MARK.decode()}%40x",
            f"/{MARK.decode()}",
        ):
            told.get(path)
        for command in ("status", "health", "config", "doctor"):
            told.command(command, "--json")
        told.command("status")
        told.command("get", uid, shown=False)
        with psycopg.connect(dsn) as connection:
            ((dead_letter,),) = connection.execute("select min(id) from dead_letters").fetchall()
        for body in (MARK, b'{"name":"' + MARK, b'{"sm_id":"' + MARK + b'"}', b'"' + MARK + b'" ' + MARK):
            told.command("dead-letters", "edit", str(dead_letter), "-", "--postgres-dsn", dsn, given=body)
        for options in ([], ["--json"]):
            told.command("dead-letters", "list", "--limit", "10000", "--postgres-dsn", dsn, *options)
            told.command("dead-letters", "discard", "--partition", "0", "--yes", "--postgres-dsn", dsn, *options)
            told.command("dead-letters", "replay", "--all", "--yes", "--postgres-dsn", dsn, *options)

        for service in (postgres, kafka):
            told.by += [(path.name, path.read_bytes()) for path in service._directory.glob("*.log")]
        assert {"output.log", "service.log"} <= {who for who, _ in told.by}, "embedded services log too"
        assert told.speakers() == []
        with psycopg.connect(dsn) as connection:
            faults = connection.execute("select count(distinct reason), count(*) from dead_letters").fetchone()
        assert faults
        assert faults[0] > 20, "the corpus is refused for many reasons"
        assert faults[1] > 300
        statuses = {who for who, _ in told.by if who.startswith("answer")}
        assert statuses >= {f"answer {status}" for status in (200, 400, 409, 413, 422)}
        searched = {who for who, _ in told.by if who.startswith("search")}
        assert searched == {f"search {status}" for status in (200, 400, 422)}
        assert any(b'"next": "' in text for who, text in told.by if who == "search 200"), "searches found something"
        assert any(b'"pointer"' in text for who, text in told.by if who == "answer 409"), "differences are named"
        assert b"record_sent" in system.output.read_bytes(), "it was the level that says most"
        assert b"batch_rejected" in system.output.read_bytes()
