"""A system that is started on a database in use works at once, and builds what that lacks beside its work."""

import json
from pathlib import Path

import httpx2

from orders.postgres.indexes import names
from orders.sample import samples
from support.machine import Machine
from support.metrics import series_of
from support.schema import add_orders, left_by, old_snapshot
from support.waiting import wait_for

FIRST = names()[0]


def test_a_database_of_an_earlier_release_gets_its_indexes_beside_ingest(
    postgres_dsn: str, kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    # A transaction that stays open keeps the build from its end, as it would be among millions of orders.
    left_by(postgres_dsn)
    add_orders(postgres_dsn, 1, 2_000)
    with old_snapshot(postgres_dsn) as reader, Machine(tmp_path, postgres_dsn, kafka_bootstrap, topic) as machine:

        def metrics() -> dict[str, float]:
            return series_of(httpx2.get(f"{machine.url}/metrics").text)

        def unbuilt() -> list[dict[str, object]]:
            found: list[dict[str, object]] = json.loads(machine.command("status", "--json").stdout)["indexes"]
            return found

        wait_for(lambda: f'orders_index_build_ratio{{index="{FIRST}"}}' in metrics(), "the build is counted", 20)
        assert metrics()[f'orders_index_valid{{index="{FIRST}"}}'] == 0
        built, *others = unbuilt()
        assert (built["name"], built["state"], built["phase"]) == (FIRST, "building", "waiting for old snapshots")
        assert {each["state"] for each in others} == {"missing"}

        for order in samples(20, 7):
            answer = httpx2.post(f"{machine.url}/orders", content=order, headers={"content-type": "application/json"})
            assert answer.status_code == httpx2.codes.CREATED
        assert machine.command("migrate", "--pre", "--json").stdout == b'{"applied":[]}\n'

        reader.rollback()
        wait_for(lambda: unbuilt() == [], "all are valid", 30)
        wait_for(lambda: metrics()[f'orders_index_valid{{index="{FIRST}"}}'] == 1, "it is counted as valid", 20)
        assert not any("orders_index_build_ratio{" in name for name in metrics())
