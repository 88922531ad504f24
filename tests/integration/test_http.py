"""An order's whole way over HTTP, on real services: POST, outcome, GET; and what is said in an outage."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psycopg
import pytest

from orders import sample
from orders.api.app import create_app
from orders.api.serve import dependencies
from orders.errors import Misconfigured
from orders.ingest.batcher import Batcher
from orders.ingest.loop import Ingest
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.kafka.consumer import OrderConsumer, consumer_config
from orders.kafka.producer import OrderProducer
from orders.kafka.topic import TopicView
from orders.memory.shared import Memory
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.settings import Settings
from support.problem import is_problem
from support.waiting import wait_for
from support.wire import serving

SAVED = {"message": "Order processed and saved successfully"}


class House(NamedTuple):
    """A service: its settings, its memory, and HTTP."""

    settings: Settings
    memory: Memory
    http: httpx2.Client

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.settings.postgres_dsn) as connection:
            connection.execute(statement.encode())


def ingesting(settings: Settings, memory: Memory, stopping: threading.Event) -> threading.Thread:
    """An ingest in a thread, on a memory that is open already."""

    def run() -> None:
        store = Store(lambda: connect(settings.postgres_dsn, "test"), settings.kafka_topic)
        loop = Ingest("ingest:0", Batcher(100, 2**20, 0.1), Writer(store, memory), memory)
        config = consumer_config(
            kafka=settings.kafka,
            group=settings.kafka_topic,
            member="test",
            protocol="classic",
            session_seconds=6,
            queue_bytes=2**20,
        )
        loop.stream = OrderConsumer(config, TopicView(settings.kafka, settings.kafka_topic), store, loop, 600)
        loop.run(stopping.is_set)
        store.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def settings(postgres_dsn: str, kafka_bootstrap: str, make_topic: Callable[..., str]) -> Settings:
    migrate(postgres_dsn)
    return Settings(
        postgres_dsn=postgres_dsn, kafka_bootstrap=kafka_bootstrap, kafka_topic=make_topic(2), post_deadline=20
    )


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory.create(tmp_path / "memory" / "file", 2**20)
    yield made
    made.close()


@pytest.fixture
def house(settings: Settings, memory: Memory) -> Iterator[House]:
    stopping = threading.Event()
    thread = ingesting(settings, memory, stopping)
    try:
        with (
            serving(create_app(dependencies(settings, memory)), memory.get) as (host, port),
            httpx2.Client(base_url=f"http://{host}:{port}", timeout=30) as http,
        ):
            yield House(settings, memory, http)
    finally:
        stopping.set()
        thread.join()


def orders(count: int) -> list[dict[str, Any]]:
    return [json.loads(order) for order in sample.samples(count, 0)]


def test_an_orders_whole_way(house: House) -> None:
    """201 and then its bytes, from memory and from PostgreSQL; the same again 200; other content 409."""
    (order,) = orders(1)
    created = house.http.post("/orders", json=order)
    assert (created.status_code, created.json()) == (201, SAVED)
    where = created.headers["location"]
    assert where == f"/orders/{order['order_uid']}"

    got = house.http.get(where)
    assert got.status_code == 200
    assert house.memory.get(order["order_uid"].encode()) == got.content
    assert got.json()["order"].pop("id") == 1
    assert got.json()["order"]["items"] == order["items"]
    house.memory.empty()
    assert house.http.get(where).content == got.content

    assert house.http.post("/orders", json=got.json()["order"]).status_code == 200
    conflict = house.http.post("/orders", json=order | {"entry": "other", "items": order["items"] * 2})
    assert (conflict.status_code, conflict.json()["type"]) == (409, "/problems/order-exists")
    more = [f"#/items/{number}" for number in range(len(order["items"]), 2 * len(order["items"]))]
    assert [each["pointer"] for each in conflict.json()["errors"]] == ["#/entry", *more]
    assert house.http.get(where).content == got.content


def test_a_conflict_is_compared_with_what_postgresql_holds(house: House) -> None:
    """Not with memory, and without a list where PostgreSQL cannot say what it holds."""
    (order,) = orders(1)
    other = order | {"entry": "other"}
    house.http.post("/orders", json=order)
    house.sql("update orders set entry = 'by hand', locale = 'xx'")
    conflict = house.http.post("/orders", json=other)
    assert [each["pointer"] for each in conflict.json()["errors"]] == ["#/entry", "#/locale"]
    assert "by hand" not in conflict.text
    house.sql("alter view documents rename to elsewhere")
    assert is_problem(house.http.post("/orders", json=other), "order-exists")


def test_two_posts_of_one_uid_at_once(house: House) -> None:
    """Of two different contents exactly one is created."""
    for order in orders(5):
        bodies = [order | {"entry": entry} for entry in ("one", "two")]
        with ThreadPoolExecutor(2) as pool:
            statuses = list(pool.map(lambda body: house.http.post("/orders", json=body).status_code, bodies))
        assert sorted(statuses) == [201, 409]
        stored = house.http.get(f"/orders/{order['order_uid']}").json()["order"]["entry"]
        assert stored == bodies[statuses.index(201)]["entry"]


def test_what_postgresql_refuses(house: House) -> None:
    """What the decoder took and PostgreSQL does not is 422 with a reason, and is not there."""
    house.sql("alter table orders add check (entry <> 'bad')")
    good, bad = orders(2)
    got = house.http.post("/orders", json=bad | {"entry": "bad"})
    assert got.status_code == 422
    assert "23514" in got.json()["errors"][0]["detail"]
    assert house.http.get(f"/orders/{bad['order_uid']}").status_code == 404
    assert house.http.post("/orders", json=good).status_code == 201


def test_many_posts(house: House) -> None:
    """Waiters at the same time are each told their own outcome."""
    many = orders(60)
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda order: house.http.post("/orders", json=order).status_code, many * 2))
    assert sorted(statuses) == [200] * 60 + [201] * 60


def test_ready_once_all_is_there(house: House) -> None:
    """Every part is well but memory and its keeper, which does not run here; reading needs PostgreSQL alone."""

    def well() -> bool:
        report = house.http.get("/readyz").json()
        return [name for name, part in report["parts"].items() if not part["ok"]] == ["memory", "restore"]

    wait_for(well, "all parts but memory well", 20)
    assert [house.http.get(f"/readyz?for={each}").status_code for each in ("reading", "writing")] == [200, 503]
    begun = house.http.get("/startupz")
    assert (begun.status_code, begun.json()["parts"]["restore"]["reason"]) == (503, "no keeper has reported for 10 s")
    house.memory.post("keeper", json.dumps({"state": "ready", "restored": 0, "total": 0, "at": 1e12}).encode())
    house.memory.end_restore(house.memory.begin_restore())
    ready = house.http.get("/readyz?for=writing")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert house.http.get("/startupz").status_code == 200
    house.memory.post("keeper", b"gone")
    house.sql("alter table positions rename to elsewhere")
    paths = ("/readyz", "/readyz?for=writing", "/startupz")
    assert [house.http.get(path).status_code for path in paths] == [200, 503, 200]
    house.memory.empty()
    assert [house.http.get(path).status_code for path in paths] == [503, 503, 200]


def test_accepted_while_no_ingest_runs(settings: Settings, memory: Memory) -> None:
    """202 after the deadline; the order is there once an ingest runs."""
    short = Settings(
        postgres_dsn=settings.postgres_dsn,
        kafka_bootstrap=settings.kafka_bootstrap,
        kafka_topic=settings.kafka_topic,
        post_deadline=2,
    )
    (order,) = orders(1)
    stopping = threading.Event()
    with (
        serving(create_app(dependencies(short, memory)), memory.get) as (host, port),
        httpx2.Client(base_url=f"http://{host}:{port}", timeout=30) as http,
    ):
        got = http.post("/orders", json=order)
        assert (got.status_code, got.json()) == (202, {"message": "Order accepted, not yet saved"})
        assert http.get(got.headers["location"]).status_code == 404
        thread = ingesting(settings, memory, stopping)
        try:
            wait_for(lambda: http.get(got.headers["location"]).status_code == 200, "the order stored", 20)
        finally:
            stopping.set()
            thread.join()


def test_a_truncated_log(house: House) -> None:
    """An offset that PostgreSQL has passed already cannot be this order's: 503, never the other record's outcome."""
    first, second = orders(2)
    assert house.http.post("/orders", json=first).status_code == 201
    house.sql("update positions set next_offset = 1000000")
    got = house.http.post("/orders", json=second)
    assert (got.status_code, got.headers["retry-after"]) == (503, "1")


def test_everything_is_unavailable(memory: Memory) -> None:
    """A hit is served, a miss is 503, a POST is 503, and /readyz says why; all within seconds."""
    nowhere = Settings(postgres_dsn="postgresql://u:p@127.0.0.1:1/none", kafka_bootstrap="127.0.0.1:1", post_deadline=2)
    with (
        serving(create_app(dependencies(nowhere, memory)), {b"a": b"{}"}.get) as (host, port),
        httpx2.Client(base_url=f"http://{host}:{port}", timeout=10) as http,
    ):
        assert http.get("/orders/a").status_code == 200
        for got in (http.get("/orders/b"), http.post("/orders", json=orders(1)[0])):
            assert (got.status_code, got.headers["retry-after"]) == (503, "1")
        report = http.get("/readyz")
        assert report.status_code == 503
        assert [name for name, part in report.json()["parts"].items() if part["ok"]] == ["process"]


def test_a_topic_that_is_not_there(kafka_bootstrap: str) -> None:
    """One sentence with the command that makes it."""
    with pytest.raises(Misconfigured, match=r"topic 'nosuch' does not exist.*orders topics create"):
        TopicView({"bootstrap.servers": kafka_bootstrap}, "nosuch").look()
    producer = OrderProducer({"bootstrap.servers": kafka_bootstrap}, "nosuch", 5)
    with pytest.raises(Misconfigured, match=r"topic 'nosuch' does not exist.*orders topics create"):
        producer.send([(b"k", b"v")], lambda *_: None)
    producer.close()


def test_view_of_a_topic(kafka_bootstrap: str, make_topic: Callable[..., str]) -> None:
    """Its identity, and per partition the offset of the next record."""
    name = make_topic(3)
    producer = OrderProducer({"bootstrap.servers": kafka_bootstrap}, name, 10)
    assert producer.send([(b"%d" % n, b"{}") for n in range(30)], lambda *_: None) == 30
    producer.close()
    view = TopicView({"bootstrap.servers": kafka_bootstrap}, name).look()
    assert sorted(view.ends) == [0, 1, 2]
    assert sum(view.ends.values()) == 30
    assert len(view.topic_id) == 22
