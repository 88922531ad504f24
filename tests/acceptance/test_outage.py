"""PostgreSQL goes away under load and comes back: nothing is lost, nothing becomes a dead letter, memory serves on."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from orders.embedded.postgres import PostgresService
from support.background import Background
from support.checker import caught_up, check
from support.machine import Machine
from support.services import MakeTopic
from support.traffic import Traffic
from support.waiting import wait_for


@pytest.fixture
def machine(
    tmp_path: Path, own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> Iterator[Machine]:
    with Machine(tmp_path, own_postgres.dsn, kafka_bootstrap, make_topic()) as made:
        yield made


def test_an_outage_of_postgresql_is_waited_out(machine: Machine, own_postgres: PostgresService) -> None:
    """Takes 15 s: PostgreSQL stops and starts under load, and all is caught up with."""
    traffic = Traffic(11, machine.settings.kafka_bootstrap, machine.settings.kafka_topic)
    known = traffic.order("known", 1)
    with httpx2.Client(base_url=machine.url, timeout=20) as http, Background(lambda: traffic.send(20), every=0.05):
        assert http.post("/orders", content=known.text).status_code == 201
        assert http.get("/orders/known").status_code == 200
        own_postgres.stop()
        wait_for(lambda: "PostgreSQL" in reason(http), "/readyz says that PostgreSQL is unavailable", 20)
        assert http.get("/orders/known").status_code == 200, "memory serves on"
        ready = [http.get(f"/readyz{query}").status_code for query in ("", "?for=writing")]
        assert ready == [200, 503], "reading is ready while memory serves"
        missed = http.get("/orders/unknown")
        assert missed.status_code == 503, "a miss is not a 404 while nobody can tell"
        assert int(missed.headers["retry-after"]) > 0
        during = traffic.order("during", 1)
        assert http.post("/orders", content=during.text).status_code in {202, 503}
        own_postgres.start()
        wait_for(machine.is_ready, "it heals without a person", 40)
        assert http.get("/orders/unknown").status_code == 404
    caught_up(machine)
    check(machine, traffic.model(), {"known": known.text})


def reason(http: httpx2.Client) -> str:
    """What /readyz says of PostgreSQL."""
    return str(http.get("/readyz").json()["parts"]["postgres"]["reason"])
