"""The way of orders through a whole system, as a user goes it: POST and `orders send`, then GET."""

import json
from collections.abc import Mapping

from orders.sample import samples
from support.system import System, orders
from support.waiting import wait_for


def go(system: System, seed: int, variables: Mapping[str, str] | None = None) -> Mapping[str, object]:
    """Stores orders in both ways and reads them back; what GET answers, by uid."""
    posted, *sent = samples(20, seed)
    assert system.request("POST", "/orders", posted)[0] == 201
    done = orders(system.data, "send", "-", given=b"\n".join(sent), variables=variables)
    assert done.returncode == 0
    assert done.stderr.startswith(b"19 sent to Kafka\n")
    expected = {uid_of(order): json.loads(order) for order in (posted, *sent)}
    wait_for(lambda: system.status()["lag"] == 0, "no lag", 20)
    found = {order_uid: served(system, order_uid) for order_uid in expected}
    assert {order_uid: without_id(order) for order_uid, order in found.items()} == expected
    return found


def uid_of(order: bytes) -> str:
    return str(json.loads(order)["order_uid"])


def served(system: System, order_uid: str) -> dict[str, object]:
    status, body = system.request("GET", f"/orders/{order_uid}")
    assert status == 200, body
    return dict(body["order"])


def without_id(order: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in order.items() if name != "id"}
