"""/metrics of real processes: right over all of them, after kills, behind a backlog, and in an outage of everything."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import httpx2
import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from orders import sample
from orders.api.app import create_app
from orders.api.serve import dependencies
from orders.kafka.lag import times_of
from orders.memory.shared import Memory
from orders.settings import Settings, environment
from support.machine import Machine, free_port
from support.metrics import Series, series_of
from support.services import MakeTopic
from support.waiting import wait_for
from support.wire import serving

HTTP = "http_server_request_duration_seconds_count"
ORDER = "/orders/{order_uid}"


def request(method: str, route: str, status: int) -> str:
    labels = f'http_request_method="{method}",http_response_status_code="{status}",http_route="{route}"'
    return f'{HTTP}{{{labels},url_scheme="http"}}'


def scrape(url: str) -> Series:
    answer = httpx2.get(f"{url}/metrics", timeout=10)
    assert answer.status_code == 200
    return series_of(answer.text)


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    """Processes of one machine with one ingest."""
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(2), ingests=1) as made:
        yield made


@contextmanager
def another_worker(machine: Machine) -> Iterator[str]:
    """A second serve process on the same memory; its address."""
    settings = replace(machine.settings, http_port=free_port())
    url = f"http://127.0.0.1:{settings.http_port}"
    with subprocess.Popen([sys.executable, "-m", "orders", "serve"], env=os.environ | environment(settings)) as worker:
        try:
            wait_for(lambda: answers(url), "the second worker answers", 30)
            yield url
        finally:
            worker.terminate()


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/livez").status_code == 200
    except httpx2.TransportError:
        return False


def produce(machine: Machine, value: bytes, key: bytes | None = None, partition: int = 0, at: float = 0.0) -> None:
    """One record, made at a time in seconds since 1970 (0: now), acknowledged."""
    producer = Producer({"bootstrap.servers": machine.settings.kafka_bootstrap})
    producer.produce(machine.settings.kafka_topic, value, key, partition, timestamp=int(at * 1000))
    assert producer.flush(20) == 0


def test_counts_are_those_of_all_processes_and_outlive_kills(machine: Machine) -> None:
    """Each worker tells the same; a process that was killed and started again continues from where it was."""
    values = list(sample.samples(6, 0))
    with another_worker(machine) as other:
        places = [
            httpx2.post(f"{machine.url}/orders", content=value, timeout=20).headers["location"] for value in values
        ]
        for place in places:
            for url in (f"{machine.url}{place}", f"{other}{place}", f"{other}{place}?view=standard"):
                assert httpx2.get(url).status_code == 200
        assert httpx2.get(f"{other}/orders/nobody").status_code == 404
        produce(machine, b"{", b"k")
        produce(machine, values[0], b"another key")
        wait_for(lambda: scrape(other).get('orders_records_total{outcome="unchanged"}') == 1, "both are written", 20)
        expected = {
            request("POST", "/orders", 201): 6.0,
            request("GET", ORDER, 200): 18.0,
            request("GET", ORDER, 404): 1.0,
            'orders_memory_lookups_total{result="hit"}': 18.0,
            'orders_memory_lookups_total{result="miss"}': 1.0,
            'orders_posts_total{outcome="created"}': 6.0,
            'messaging_client_sent_messages_total{messaging_operation_name="send",messaging_system="kafka"}': 6.0,
            'messaging_client_consumed_messages_total{messaging_operation_name="poll",messaging_system="kafka"}': 8.0,
            'orders_records_total{outcome="created"}': 6.0,
            'orders_records_total{outcome="refused"}': 1.0,
            'orders_dead_letters_total{reason="not_json"}': 1.0,
            "orders_records_without_own_key_total": 1.0,
            "orders_produced_to_readable_seconds_count": 6.0,
            "orders_batch_records_sum": 8.0,
            'orders_restores_total{cause="start"}': 1.0,
        }
        check_all_tell(expected, machine.url, other)
        for kind in ("serve", "ingest 0", "keep"):
            machine.kill(kind)
            assert machine.await_end(kind, 10)
            machine.start(kind)
        wait_for(machine.is_ready, "the system is ready again", 60)
        httpx2.get(f"{machine.url}{places[0]}")
        expected[request("GET", ORDER, 200)] += 1
        expected['orders_memory_lookups_total{result="hit"}'] += 1
        expected['orders_restores_total{cause="start"}'] += 1
        check_all_tell(expected, machine.url, other)


def check_all_tell(expected: Series, *urls: str) -> None:
    for url in urls:
        told = scrape(url)
        assert {name: told.get(name) for name in expected} == expected


def test_lag_is_reported_in_messages_and_in_seconds(machine: Machine) -> None:
    """While no ingest runs, of the partition with a backlog; none is told once it is written."""
    wait_for(lambda: 'orders_lag_seconds{partition="1"}' in scrape(machine.url), "both partitions have a position")
    machine.kill("ingest 0")
    assert machine.await_end("ingest 0", 10)
    (value,) = sample.samples(1, 0)
    made_at = time.time() - 1000
    produce(machine, value, partition=1, at=made_at)
    produce(machine, value, partition=1, at=made_at + 990)
    wait_for(lambda: scrape(machine.url)['orders_lag_messages{partition="1"}'] == 2, "the topic was looked at again")
    told = scrape(machine.url)
    waited = time.time() - made_at
    assert told['orders_lag_messages{partition="0"}'] == 0
    assert told['orders_lag_seconds{partition="0"}'] == 0
    assert waited - 30 < told['orders_lag_seconds{partition="1"}'] <= waited
    assert [told[f'orders_{end}{{partition="1"}}'] for end in ("position", "log_end")] == [0, 2]
    machine.start("ingest 0")
    wait_for(lambda: scrape(machine.url)['orders_position{partition="1"}'] == 2, "all is written", 30)
    wait_for(lambda: scrape(machine.url)['orders_lag_messages{partition="1"}'] == 0, "no lag")
    told = scrape(machine.url)
    assert [told[f'orders_lag_{unit}{{partition="1"}}'] for unit in ("messages", "seconds")] == [0, 0]
    assert told['orders_produced_to_readable_seconds_bucket{le="900.0"}'] == 0
    assert told["orders_produced_to_readable_seconds_count"] == 1


def test_an_ingest_that_must_not_continue_is_reported_as_stopped(machine: Machine) -> None:
    """PostgreSQL's positions are of another topic; when they are right again it runs."""
    assert ingests(machine) == {"running": 1, "paused": 0, "stopped": 0}
    execute(machine, "update positions set topic_id = 'not ' || topic_id")
    produce(machine, b"{")  # it finds out with the next record
    wait_for(lambda: ingests(machine) == {"running": 0, "paused": 0, "stopped": 1}, "it stops", 20)
    assert scrape(machine.url)['orders_ready{part="postgres"}'] == 1
    execute(machine, "update positions set topic_id = substr(topic_id, 5)")
    wait_for(lambda: ingests(machine)["running"] == 1, "it continues", 20)


def ingests(machine: Machine) -> dict[str, float]:
    told = scrape(machine.url)
    return {state: told[f'orders_ingests{{state="{state}"}}'] for state in ("running", "paused", "stopped")}


def execute(machine: Machine, statement: LiteralString) -> None:
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        connection.execute(statement)


def test_records_times_are_read_where_there_are_records(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    """Not at the end, not beyond it; and the group whose name is used is not joined."""
    topic, kafka = make_topic(3), {"bootstrap.servers": kafka_bootstrap}
    producer = Producer(kafka)
    for number in range(300):
        producer.produce(topic, b"x" * 1000, partition=0, timestamp=1_000_000 + number)
    producer.produce(topic, b"x", partition=1, timestamp=5_000_000)
    assert producer.flush(20) == 0
    assert times_of(kafka, topic, topic, {0: 123, 1: 0}, 10.0) == {0: 1000.123, 1: 5000.0}
    assert times_of(kafka, topic, topic, {0: 7, 1: 1, 2: 99}, 3.0) == {0: 1000.007}
    groups = AdminClient({**kafka}).list_consumer_groups(request_timeout=10).result()
    assert topic not in {group.group_id for group in groups.valid}


@contextmanager
def silence() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def test_while_everything_is_silent_a_scrape_is_answered_in_time(tmp_path: Path) -> None:
    """With what this machine knows by itself, and that PostgreSQL and Kafka are unavailable."""
    memory = Memory.create(tmp_path / "memory", 2**20)
    with silence() as postgres, silence() as kafka:
        nowhere = Settings(
            postgres_dsn=f"postgresql://u:p@127.0.0.1:{postgres}/none",
            kafka_bootstrap=f"127.0.0.1:{kafka}",
            memory_path=str(tmp_path / "memory"),
        )
        with serving(create_app(dependencies(nowhere, memory)), memory.get) as (host, port):
            began = time.monotonic()
            told = scrape(f"http://{host}:{port}")
            assert time.monotonic() - began < 5
    memory.close()
    assert [told[f'orders_ready{{part="{part}"}}'] for part in ("postgres", "kafka")] == [0, 0]
    assert told["orders_memory_limit_bytes"] == 2**20
    assert not [name for name in told if "{partition=" in name]
