"""What was stored is found by what it holds, and what records in Kafka replaced or deleted is found so."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test

from orders import sample
from orders.kafka.producer import OrderProducer
from support.machine import Machine
from support.services import MakeTopic
from support.waiting import wait_for

ORDER = json.loads(next(iter(sample.samples(1, 0))))
few = st.integers(0, 2)
RUNS = count()


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), ingests=1) as made:
        yield made


class Orders(RuleBasedStateMachine):
    """Orders of a run, whose values no other run has."""

    uids: Bundle[str] = Bundle("uids")

    def __init__(self, url: str, producer: OrderProducer) -> None:
        super().__init__()
        self.run = next(RUNS)
        self.producer = producer
        self.numbers = count()
        self.stored: dict[str, dict[str, Any]] = {}
        self.http = httpx2.Client(base_url=url, timeout=30)

    def teardown(self) -> None:
        self.http.close()

    @rule(target=uids, track=few, customer=few, phone=few)
    def post(self, track: int, customer: int, phone: int) -> str:
        """A new order, which is found at once."""
        uid = f"run{self.run}-{next(self.numbers)}"
        self.stored[uid] = order = self.order(uid, track, customer, phone)
        assert self.http.post("/orders", json=order).status_code == 201
        self.check(order)
        return uid

    @rule(uid=uids, track=few, customer=few, phone=few)
    def replace(self, uid: str, track: int, customer: int, phone: int) -> None:
        """A record in Kafka: the new values are found, the old ones are not."""
        old, new = self.stored[uid], self.order(uid, track, customer, phone)
        self.stored[uid] = new
        self.producer.produce(uid.encode(), json.dumps(new).encode(), (), lambda _: None)
        wait_for(lambda: (self.get(uid) or {}).get("entry") == new["entry"], "it is replaced")
        self.check(old)
        self.check(new)

    @rule(uid=consumes(uids))
    def delete(self, uid: str) -> None:
        """A tombstone: it is not found any more."""
        old = self.stored.pop(uid)
        self.producer.produce(uid.encode(), None, (), lambda _: None)
        wait_for(lambda: self.get(uid) is None, "it is deleted")
        self.check(old)

    def order(self, uid: str, track: int, customer: int, phone: int) -> dict[str, Any]:
        """Each with an `entry` of its own, by which a test knows that it is stored."""
        delivery = {**ORDER["delivery"], "phone": f"+7 (916) {self.run:04}-{phone:03}"}
        held = {"track_number": f"T{self.run}.{track}", "customer_id": f"C{self.run}.{customer}"}
        return {**ORDER, "order_uid": uid, "entry": f"{uid} {next(self.numbers)}", **held, "delivery": delivery}

    def get(self, uid: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.http.get(f"/orders/{uid}").json().get("order")
        return found

    def check(self, order: dict[str, Any]) -> None:
        """Who has a value of an order is found by it, and nobody else."""
        phone, track, customer = order["delivery"]["phone"], order["track_number"], order["customer_id"]
        with_phone = {uid for uid, each in self.stored.items() if each["delivery"]["phone"] == phone}
        with_track = {uid for uid, each in self.stored.items() if each["track_number"] == track}
        with_customer = {uid for uid, each in self.stored.items() if each["customer_id"] == customer}
        written = phone.replace("+7", "8").replace("(", "").replace(")", "")
        assert self.searched(phone=written) == self.searched(q=written) == with_phone
        assert self.searched(track_number=track) == self.searched(q=track) == with_track
        assert self.listed(track_number=track) == with_track
        assert self.listed(customer_id=customer, created_from="1990-01-01") == with_customer
        self.check_uids(order["order_uid"])

    def check_uids(self, uid: str) -> None:
        """All of them in one lookup and one list, newest first; one that is gone is missing."""
        asked = [*self.stored, uid]
        found = self.http.post("/orders/lookup", json={"order_uids": asked}).json()
        assert [each["order_uid"] for each in found["orders"]] == [*self.stored]
        assert [each["entry"] for each in found["orders"]] == [each["entry"] for each in self.stored.values()]
        assert found["missing"] == ([] if uid in self.stored else [uid])
        newest = self.http.get("/orders?limit=200&fields=summary").json()["orders"]
        assert {each["order_uid"] for each in newest} >= {*self.stored}
        assert [each["id"] for each in newest] == sorted((each["id"] for each in newest), reverse=True)

    def listed(self, **parameters: str) -> set[str]:
        return self.uids_of(self.http.get("/orders", params=parameters))

    def searched(self, **body: str) -> set[str]:
        return self.uids_of(self.http.post("/orders/search", json=body))

    def uids_of(self, answer: httpx2.Response) -> set[str]:
        assert answer.status_code == 200, answer.text
        return {each["order_uid"] for each in answer.json()["orders"]}


def test_orders_are_found_as_they_are_stored(machine: Machine) -> None:
    """By track number, customer, phone, anything, in a list and by their uids."""
    producer = OrderProducer(machine.settings.kafka, machine.settings.kafka_topic, 30)
    made: Any = partial(Orders, machine.url, producer)  # whatever makes one will do, but for its type
    run_state_machine_as_test(made, settings=settings(max_examples=5, stateful_step_count=10))
    producer.close()
