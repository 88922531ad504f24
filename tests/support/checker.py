"""Whether a machine holds what its topic says: every row, every dead letter, every GET."""

import httpx
import psycopg

from orders.keeper import rows_from
from orders.postgres import connect
from orders.topic import TopicView
from orders.web.problems import problem
from support.machine import Machine
from support.traffic import Model
from support.waiting import wait_for


def caught_up(machine: Machine) -> None:
    """Until every partition's position is its end."""
    settings = machine.settings
    view = TopicView(settings.kafka, settings.kafka_topic)
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        wait_for(lambda: positions(connection) == view.look().ends, "all is consumed", 60)


def positions(connection: "psycopg.Connection[tuple[int, int]]") -> dict[int, int]:
    return dict(connection.execute("select partition, next_offset from positions").fetchall())


def check(machine: Machine, model: Model, promised: dict[str, bytes]) -> None:
    with connect(machine.settings.postgres_dsn, "test") as connection:
        stored = {put.order_uid: put.document for put in rows_from(connection, 0)}
        letters = connection.execute('select partition, "offset", key, value from dead_letters').fetchall()
        ids = connection.execute("select count(*), count(distinct id), count(distinct version) from orders").fetchone()
    assert {order_uid: without_id(served) for order_uid, served in stored.items()} == model.orders
    assert sorted(letters) == sorted(model.letters)
    assert ids == (len(stored),) * 3
    assert {order_uid: model.orders.get(order_uid) for order_uid in promised} == promised
    with httpx.Client(base_url=machine.url, timeout=10) as http:
        for order_uid in model.uids:
            answer = http.get(f"/orders/{order_uid}")
            assert (answer.status_code, answer.content) == expected(stored.get(order_uid)), order_uid


def without_id(served: bytes) -> bytes:
    head, _, rest = served.partition(b",")
    assert head.startswith(b'{"order":{"id":')
    return b"{" + rest[:-1]


def expected(served: bytes | None) -> tuple[int, bytes]:
    return (200, served) if served else (404, problem("order-not-found"))
