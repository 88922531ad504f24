"""Upgrades: the code of an earlier commit, millions of orders, rounds of records that are timed, and what is searched.

The earlier code runs in this installation: it is found by `PYTHONPATH`.
"""

import json
import logging
import subprocess
import tarfile
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, LiteralString

import httpx2
import psycopg
import pytest
from confluent_kafka import Message, Producer

from orders.postgres.indexes import names
from orders.sample import samples
from orders.search.criteria import INDEXES
from support.system import ROOT
from support.waiting import wait_for

log = logging.getLogger(__name__)

SEARCHED = [by for by, index in INDEXES.items() if index in names()]
"""Fields and times whose index comes with the release."""
MADE: LiteralString = """
insert into orders
select lpad(to_hex(n), 16, '0') || 'test', 'WBILM' || lpad((n * 7919 %% 1000000007)::text, 10, '0'), 'WBIL',
    (array['Test Testov', 'Anna Karenina', 'יעל כהן', 'Müller Jürgen'])[n %% 4 + 1] || ' ' || n %% 50000,
    '+972' || lpad((n * 31 %% 1000000)::text, 9, '0'), lpad((n %% 10000)::text, 7, '0'),
    (array['Kiryat Mozkin', 'Haifa', 'Berlin', 'Москва'])[n %% 4 + 1], 'Ploshad Mira ' || n %% 150, 'Kraiot',
    'mail' || n * 31 %% 1000000 || '@example.com',
    case when n %% 10 = 0 then 'pay' || n else lpad(to_hex(n), 16, '0') || 'test' end, '', 'USD', 'wbpay',
    1817 + n %% 1000, 1637907727 + n, 'alpha', 1500, 317, 0,
    '[{"chrt_id":9934930,"track_number":"WBILMTESTTRACK","price":453,"rid":"ab4219087a764ae0btest",'
    '"name":"Mascaras","sale":30,"size":"0","total_price":317,"nm_id":2389212,"brand":"Vivienne Sabo","status":202}]',
    'en', '', 'c' || lpad((n * 17 %% 1000)::text, 6, '0'), 'meest', n %% 10, n %% 100,
    timestamptz '2020-01-01 00:00Z' + n * interval '13 seconds', '1', null,
    n, n, 'made', 0, n, timestamptz '2020-01-01 00:00:02Z' + n * interval '13 seconds'
from generate_series(1, %s::bigint) n
"""
"""A customer has one order in a thousand, a phone one in a million; of ten payments one has an id of its own."""
FIRST_CREATED = 1_577_836_800_000_000
"""From when on they were created, one every 13 seconds: 2020, in microseconds."""


def code_of(commit: str, folder: Path) -> Path:
    """The folder of its modules. Skips the test where the history does not reach so far back, or there is no git."""
    try:
        packed = subprocess.run(["git", "-C", ROOT, "archive", commit, "src"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the code of {commit} is not in the history of this clone: {error}")
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def make_orders(dsn: str, count: int) -> None:
    """Makes rows of `orders` in the server, with the ids from 1 to `count`; of 10 million in minutes."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(MADE, (count,))
        connection.execute("select setval('order_ids', %s), setval('order_versions', %s)", (count, count))
        connection.execute("analyze orders")


class Rounds:
    """Orders that are sent in rounds, and how many a second of each were stored."""

    def __init__(self, dsn: str, bootstrap: str, topic: str, size: int) -> None:
        self._dsn, self._topic, self._size = dsn, topic, size
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
        self._ends: dict[int, int] = {}
        self.sent: list[Any] = []
        """The last order of each round, as it was sent."""
        self.rates: list[float] = []

    def step(self) -> None:
        """Sends a round, and waits until it is stored."""
        made = list(samples(self._size, len(self.rates)))
        began = time.monotonic()
        for each in made:
            self._producer.produce(self._topic, each, json.loads(each)["order_uid"], on_delivery=self._delivered)
        assert self._producer.flush(60) == 0
        wait_for(self._are_stored, "a round is stored", 120)
        self.rates.append(self._size / (time.monotonic() - began))
        self.sent.append(json.loads(made[-1]))

    def _delivered(self, error: object, message: Message) -> None:
        assert error is None
        self._ends[message.partition() or 0] = (message.offset() or 0) + 1

    def _are_stored(self) -> bool:
        with psycopg.connect(self._dsn) as connection:
            stored: dict[int, int] = dict(connection.execute("select partition, next_offset from positions").fetchall())
        return all(stored.get(partition, 0) >= end for partition, end in self._ends.items())


def search(url: str, by: str, order: Mapping[str, Any]) -> httpx2.Response:
    """Looks for an order by a field, or by a time that is its own."""
    created = order["date_created"]
    asked: dict[str, dict[str, str]] = {
        "created": {"created_from": created, "created_to": created.replace("Z", ".5Z")},
        "received": {"received_from": "2026-01-01"},
        "transaction": {by: order["payment"]["transaction"]},
        "phone": {by: order["delivery"]["phone"]},
    }
    body = asked.get(by) or {by: order[by]}
    return httpx2.post(f"{url}/orders/search", json=body | {"limit": 200}, timeout=10)


def finds(url: str, by: str, order: Mapping[str, Any]) -> bool:
    """Whether an order is found so."""
    answer = search(url, by, order)
    assert answer.status_code == httpx2.codes.OK, answer.text
    return order["order_uid"] in {each["order_uid"] for each in answer.json()["orders"]}


def waits(url: str, by: str, order: Mapping[str, Any]) -> bool:
    """Whether a filter waits for its index; else it must find the order."""
    answer = search(url, by, order)
    if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
        assert answer.json()["type"].endswith("index-building"), answer.text
        return True
    assert answer.status_code == httpx2.codes.OK, answer.text
    return False
