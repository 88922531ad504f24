"""A broker loses acknowledged records, and its log grows beyond the stored position before anybody looks."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from confluent_kafka import Producer

from orders.embedded.kafka import KafkaService
from orders.kafka.topic import create_topic
from orders.order import text
from support.checker import caught_up
from support.cutting import cut
from support.entries import content as short
from support.machine import Machine
from support.waiting import wait_for

pytestmark = pytest.mark.system


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, own_kafka: KafkaService) -> Iterator[Machine]:
    create_topic({"bootstrap.servers": own_kafka.bootstrap}, "orders", 1)
    with Machine(tmp_path, postgres_dsn, own_kafka.bootstrap, "orders", ingests=1) as made:
        yield made


ITEM = (
    '{"chrt_id":1,"track_number":"WBIL","price":453,"rid":"ab42","name":"Tush","sale":30,"size":"0",'
    '"total_price":317,"nm_id":2389212,"brand":"Vivienne Sabo","status":202}'
)


def order(order_uid: str, amount: int) -> bytes:
    """A valid order."""
    return text(short(order_uid, amount).row._replace(items=f"[{ITEM}]"))


def produce(machine: Machine, uids: range, amount: int = 1) -> None:
    """Orders, each in a batch of its own."""
    producer = Producer({"bootstrap.servers": machine.settings.kafka_bootstrap})
    for number in uids:
        producer.produce("orders", order(f"u{number}", amount), f"u{number}".encode())
        assert producer.flush(20) == 0


def stored(machine: Machine) -> dict[str, int]:
    """Every order with its amount."""
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        return dict(connection.execute("select order_uid, payment_amount from orders").fetchall())


def stop_of(machine: Machine) -> str | None:
    with psycopg.connect(machine.settings.postgres_dsn) as connection:
        ((reason,),) = connection.execute("select stop_reason from positions").fetchall()
    return None if reason is None else str(reason)


def assigned(machine: Machine) -> str:
    """What /readyz says of the ingest."""
    return str(httpx2.get(f"{machine.url}/readyz", timeout=10).json()["parts"]["assignment"]["reason"])


def test_a_log_that_was_cut_and_grew_again_across_a_restart_stops_and_is_resumed_where_it_was_cut(
    machine: Machine, own_kafka: KafkaService
) -> None:
    """Its watermarks look right by then; the leader epoch that is kept with the position does not.

    Takes 15 s: a Kafka of its own starts twice.
    """
    produce(machine, range(10))
    caught_up(machine)
    machine.kill("ingest 0")
    assert machine.await_end("ingest 0", 20)
    cut(own_kafka, "orders", 0, 5)
    produce(machine, range(5, 25), amount=2)
    machine.start("ingest 0")
    wait_for(lambda: stop_of(machine), "the stop", 40)
    lost = "the log of orders/0 was truncated: what it held from offset 5 on is lost, and other records took its place"
    assert stop_of(machine) == f"{lost}; decide where to continue: `orders resume --help`"
    wait_for(lambda: lost in assigned(machine), "/readyz says so", 20)
    posted = httpx2.post(f"{machine.url}/orders", content=order("posted", 1), timeout=20)
    assert posted.status_code == 202, "nothing is claimed of a record that nobody reads"

    machine.kill("ingest 0")
    assert machine.await_end("ingest 0", 20)
    machine.start("ingest 0")
    wait_for(lambda: lost in assigned(machine), "another ingest says so too", 40)
    assert stored(machine) == {f"u{n}": 1 for n in range(10)}

    resumed = machine.command("resume", "--partition", "0", "--from", "5", "--skip")
    assert resumed.returncode == 0, resumed
    assert resumed.stdout.startswith(b"orders continues: partition 0 at 5\n"), resumed
    caught_up(machine)
    assert stored(machine) == {f"u{n}": 1 + (n >= 5) for n in range(25)} | {"posted": 1}
    wait_for(machine.is_ready, "all is well", 20)
