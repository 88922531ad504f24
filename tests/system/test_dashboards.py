"""The alert rules by promtool; dashboard and rules in a real Prometheus that scrapes a real system."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest
from confluent_kafka import Producer

from orders import sample
from orders.memory.shared import Memory
from support.alerts import RULES, promtool_file, rules
from support.machine import Machine
from support.programs import program
from support.prometheus import PACKAGE, Prometheus, scraping
from support.services import MakeTopic
from support.waiting import wait_for
from tools import dashboard, grafana

pytestmark = pytest.mark.system
VARIABLES = {"$__rate_interval": "1m", "$__range": "5m", "$job": "orders", "$instance": ".+"}
EMPTY_WHEN_WELL = {"Stopped partitions", "Requests for orders that fail", "Builds of indexes"}
"""Panels that show something only when something is wrong, or under way."""


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [program("promtool", PACKAGE), *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_each_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    """With its labels and texts: the cases of `support.alerts`."""
    file = tmp_path / "cases.yml"
    file.write_text(promtool_file())
    promtool("test", "rules", str(file))


def test_every_panel_has_data_and_every_rule_is_evaluated_while_orders_go_their_way(
    tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """Of all alerts only that of dead letters fires, of which there are some.

    Takes over 10 s: rates need several scrapes, one a second.
    """
    with (
        Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(2), ingests=1) as machine,
        scraping(machine.url, tmp_path) as prometheus,
    ):
        wait_for(lambda: prometheus.query('orders_ready{part="lag"}'), "a first scrape", 20)
        rounds = way(machine)
        wait_for(lambda: next(rounds) and not lacking(prometheus), "every panel has data", 60)
        for rule in rules():
            prometheus.query(rule["expr"])
        wait_for(lambda: firing(prometheus), "an alert fires", 20)
        assert firing(prometheus) == {"OrdersDeadLetters"}
        assert {rule["name"]: rule["health"] for rule in prometheus.rules()} == dict.fromkeys(names(), "ok")


def names() -> list[str]:
    return [rule["alert"] for rule in rules()]


def firing(prometheus: Prometheus) -> set[str]:
    return {rule["name"] for rule in prometheus.rules() if rule["state"] == "firing"}


def lacking(prometheus: Prometheus) -> list[str]:
    """Expressions of panels that have no value, by their titles."""
    return [
        f"{panel.title}: {query.legend}"
        for row in dashboard.ROWS
        for panel in row.panels
        for query in panel.queries
        if not prometheus.query(filled(query.expr)) and panel.title not in EMPTY_WHEN_WELL
    ]


def filled(expression: str) -> str:
    """An expression as Grafana sends it."""
    expression = expression.replace("{OF", f"{{{grafana.OF}")
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def way(machine: Machine) -> Iterator[int]:
    """Rounds of what happens to orders, each with orders of its own; how many there were."""
    producer = Producer({"bootstrap.servers": machine.settings.kafka_bootstrap})
    for number, value in enumerate(sample.samples(10_000, 0), 1):
        places = f"{machine.url}/orders"
        posted = httpx2.post(places, content=value, timeout=20)
        assert posted.status_code == 201
        place = f"{machine.url}{posted.headers['location']}"
        assert httpx2.get(place).status_code == 200
        assert httpx2.get(f"{places}/nobody").status_code == 404
        assert httpx2.get(places).status_code == 200
        assert httpx2.post(places, content=changed(value), timeout=20).status_code == 409
        producer.produce(
            machine.settings.kafka_topic, changed(value), uid_of(value)
        )  # replaces it: a minimum version, a notice
        producer.produce(machine.settings.kafka_topic, b"{", b"k")  # a dead letter
        assert producer.flush(20) == 0
        memory = Memory.open(Path(machine.settings.memory_path))
        memory.empty()  # the keeper restores
        memory.close()
        assert httpx2.get(place).status_code == 200
        yield number


def fields(value: bytes) -> dict[str, object]:
    return msgspec.json.decode(value, type=dict[str, object])


def uid_of(value: bytes) -> bytes:
    return str(fields(value)["order_uid"]).encode()


def changed(value: bytes) -> bytes:
    return msgspec.json.encode(fields(value) | {"sm_id": 4711})
