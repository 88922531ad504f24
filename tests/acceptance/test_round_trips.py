"""Any valid order that is POSTed comes back equal: from both lanes, in both views, from memory and from PostgreSQL, and
after a restart on an empty memory byte for byte, with the same entity tag.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders.decoder import decode
from orders.memory.shared import Memory
from orders.order import Content, Delivery, Item, Payment
from support.hostile import TAKEN, VALID
from support.machine import Machine
from support.services import MakeTopic
from support.strategies import Tree, instant, meaning, messages, parse

TOGETHER = 16
"""How many requests are on their way at once."""
WAYS = {
    "fast lane": ("", "identity"),
    "slow lane": ("?view=standard", "identity"),
    "compressed": ("", "gzip"),
    "original": ("?view=original", "identity"),
}
"""Queries and codings with which an order is asked for."""
KNOWN = frozenset(json.loads(VALID))
VALID_UID = json.loads(VALID)["order_uid"].encode()


class Answer(NamedTuple):
    """What a GET was answered."""

    status: int
    tag: str
    body: bytes


Answers = Mapping[tuple[str, str], Answer]
"""By order_uid and way."""


class Client:
    """Sends many requests at once."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=20, headers={"content-type": "application/json"})
        self._pool = ThreadPoolExecutor(TOGETHER)
        self.posted: dict[str, bytes] = {}

    def post(self, values: Iterable[bytes]) -> None:
        """Stores those whose order_uid is a new one."""
        fresh = {order_uid: value for value in values if (order_uid := uid_of(value)) not in self.posted}
        answers = self._pool.map(lambda value: self._http.post("/orders", content=value), fresh.values())
        assert [answer.status_code for answer in answers] == [201] * len(fresh)
        self.posted |= fresh

    def get(self, ways: Iterable[str] = WAYS) -> Answers:
        """Every order that was stored, in each of these ways."""
        asked = [(order_uid, way) for way in ways for order_uid in self.posted]
        return dict(zip(asked, self._pool.map(self._get, asked), strict=True))

    def _get(self, asked: tuple[str, str]) -> Answer:
        query, coding = WAYS[asked[1]]
        answer = self._http.get(f"/orders/{asked[0]}{query}", headers={"accept-encoding": coding})
        return Answer(answer.status_code, answer.headers["etag"], answer.content)

    def unchanged(self, answers: Answers) -> list[int]:
        """What the fast lane answers to who has it already."""
        known = [(order_uid, answer.tag) for (order_uid, way), answer in answers.items() if way == "fast lane"]
        headers = [(order_uid, {"if-none-match": tag, "accept-encoding": "identity"}) for order_uid, tag in known]
        return list(self._pool.map(lambda h: self._http.get(f"/orders/{h[0]}", headers=h[1]).status_code, headers))

    def close(self) -> None:
        self._pool.shutdown()
        self._http.close()


def uid_of(value: bytes) -> str:
    content = decode(value)
    assert isinstance(content, Content)
    return content.row.order_uid


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), ingests=1) as made:
        yield made


@pytest.fixture
def client(machine: Machine) -> Iterator[Client]:
    made = Client(machine.url)
    yield made
    made.close()


@pytest.mark.system  # it takes long
@pytest.mark.parametrize("examples", [10, pytest.param(500, marks=[pytest.mark.faults, pytest.mark.timeout(1200)])])
def test_any_valid_order_comes_back_equal_in_every_way_before_and_after_a_restart(
    machine: Machine, client: Client, examples: int
) -> None:
    """Takes 10 s: a start, 50 to 200 orders by POST, and a restart."""

    @settings(max_examples=examples)
    @given(batch=st.lists(messages(), min_size=5, max_size=20))
    def post(batch: Sequence[bytes]) -> None:
        client.post(batch)

    client.post(named_again())
    post()
    hit = client.get()
    check(client.posted, hit)
    machine.kill("keep")  # nobody fills memory meanwhile
    assert missed(machine, client) == hit
    machine.begin_again()
    assert client.get() == hit
    assert set(client.unchanged(hit)) == {304}


def named_again() -> Iterator[bytes]:
    """The corpus of what looks bad and is good, each under a uid of its own, as long as the one that all have."""
    for number, strange in enumerate(TAKEN):
        yield strange.value.replace(VALID_UID, f"strange-{number}-".encode().ljust(len(VALID_UID), b"x"))


def missed(machine: Machine, client: Client) -> Answers:
    """What PostgreSQL gives: memory is emptied before each way."""
    answers: dict[tuple[str, str], Answer] = {}
    memory = Memory.open(Path(machine.settings.memory_path))
    for way in WAYS:
        memory.empty()
        answers |= client.get([way])
    memory.close()
    return answers


def check(posted: Mapping[str, bytes], answers: Answers) -> None:
    """Compares answers with what was sent, value by value."""
    assert {answer.status for answer in answers.values()} == {200}
    for order_uid, value in posted.items():
        sent = meaning(value)
        fast = answers[order_uid, "fast lane"]
        assert shown(fast.body) == sent
        assert answers[order_uid, "slow lane"] == fast
        assert answers[order_uid, "compressed"].body == fast.body
        original = shown(answers[order_uid, "original"].body)
        for part in (original["delivery"], original["payment"], *original["items"]):
            del part["ID"], part["OrderID"]
        assert original == originally(sent)


def shown(body: bytes) -> Tree:
    """An order as it is served, without its number in order of arrival."""
    order: Tree = parse(body)["order"]
    del order["id"]
    return order | {"date_created": instant(order["date_created"])}


def originally(sent: Tree) -> Tree:
    """The same as the original Go service showed it: no unknown fields, and parts named as Go names them."""
    parts = {"delivery": Delivery, "payment": Payment}
    known = {name: value for name, value in sent.items() if name in KNOWN}
    known |= {name: named_as_go_does(sent[name], struct) for name, struct in parts.items()}
    return known | {"items": [named_as_go_does(item, Item) for item in sent["items"]]}


def named_as_go_does(part: Tree, struct: type[Any]) -> Tree:
    """`payment_dt` → `PaymentDT`, `nm_id` → `NmID`."""
    capitals = {"id": "ID", "dt": "DT"}
    names = {n: "".join(capitals.get(w, w.capitalize()) for w in n.split("_")) for n in struct.__struct_fields__}
    return {names[name]: part[name] for name in names}
