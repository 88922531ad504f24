"""Permissions that are taken from a running system, and given back: said in /readyz, nothing lost, healed by itself."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx2
import pytest

from orders.kafka.topic import create_topic
from orders.sample import samples
from support.acls import Acls, documented
from support.machine import Machine
from support.secured import SecuredKafka
from support.waiting import wait_for
from support.way import uid_of

pytestmark = [pytest.mark.others, pytest.mark.system]

NOTICED_SECONDS = 15.0


class Logins(Protocol):
    """What the fixture `logins` gives."""

    def by_password(self, user: str, password: str = "") -> Mapping[str, str]: ...
    def by_certificate(self, user: str) -> Mapping[str, str]: ...


class Place(Protocol):
    """What the fixture `place` gives."""

    name: str
    acls: Acls
    variables: Mapping[str, str]


class Secured(NamedTuple):
    """A machine whose serve and ingest are users of their own, and their permissions."""

    machine: Machine
    acls: Acls
    http: httpx2.Client

    def reason(self, part: str) -> str:
        return str(self.http.get("/readyz").json()["parts"][part]["reason"])


@pytest.fixture
def running(secured: SecuredKafka, logins: Logins, place: Place, tmp_path: Path) -> Iterator[Secured]:
    create_topic(secured.admin, place.name, 2)
    kinds = {"serve": logins.by_password("orders-serve"), "ingest": logins.by_certificate("orders-ingest")}
    for kind in kinds:
        place.acls.grant(f"orders-{kind}", documented()[f"orders-{kind}"])
    dsn = place.variables["ORDERS_POSTGRES_DSN"]
    made = Machine(
        tmp_path,
        dsn,
        "given to each",
        place.name,
        ingests=1,
        logins={kind: {**place.variables, **each} for kind, each in kinds.items()},
    )
    with made, httpx2.Client(base_url=made.url, timeout=15) as http:
        yield Secured(made, place.acls, http)


def test_permissions_that_are_taken_are_missed_and_given_back_are_enough(running: Secured) -> None:
    """Takes 25 s: permissions are taken and given back one after the other, and clients notice after seconds."""
    machine, acls, http = running
    orders = list(samples(4, seed=6))
    assert http.post("/orders", content=orders[0]).status_code == 201

    acls.take("orders-serve", ("topic", "Write"))
    wait_for(lambda: "no Describe permission" in running.reason("kafka"), "serve misses its right", NOTICED_SECONDS)
    assert http.post("/orders", content=orders[1]).status_code == 503
    acls.grant("orders-serve", [("topic", "Describe")])
    wait_for(lambda: "no Write permission on topic" in running.reason("kafka"), "serve misses Write", NOTICED_SECONDS)
    assert http.post("/orders", content=orders[1]).status_code == 503
    acls.grant("orders-serve", [("topic", "Write")])
    wait_for(lambda: http.post("/orders", content=orders[1]).status_code in {200, 201}, "POST heals", 30)

    acls.take("orders-ingest", ("topic", "Read"))
    wait_for(lambda: "no Describe permission" in running.reason("assignment"), "ingest misses it", NOTICED_SECONDS)
    acls.grant("orders-ingest", [("topic", "Describe")])
    wait_for(lambda: "no Read permission on topic" in running.reason("assignment"), "ingest misses it", NOTICED_SECONDS)
    assert http.post("/orders", content=orders[2]).status_code == 202
    acls.grant("orders-ingest", [("topic", "Read")])
    wait_for(lambda: http.get(f"/orders/{uid_of(orders[2])}").status_code == 200, "ingest heals", 30)

    acls.take("orders-ingest", ("group", "Read"))
    wait_for(lambda: "Read permission on group" in running.reason("assignment"), "ingest misses the group", 30)
    acls.grant("orders-ingest", [("group", "Read")])
    wait_for(lambda: http.post("/orders", content=orders[3]).status_code in {200, 201}, "the group heals", 30)
    wait_for(machine.is_ready, "all is well", 30)
