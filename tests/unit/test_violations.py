"""Every fault of a message is told, not only the first."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders import sample
from orders.decoder import decode
from orders.record import Invalid
from orders.violations import MOST, faults
from support.hostile import REFUSED, Hostile

ORDER: dict[str, Any] = json.loads(next(iter(sample.samples(1, 0))))


def all_of(value: bytes) -> list[Invalid]:
    first = decode(value)
    assert isinstance(first, Invalid)
    return faults(value, first)


@pytest.mark.parametrize("hostile", REFUSED, ids=str)
def test_the_first_is_among_all(hostile: Hostile) -> None:
    """What the decoder says is said, whatever else is."""
    first = decode(hostile.value)
    assert isinstance(first, Invalid)
    found = faults(hostile.value, first)
    assert first in found
    assert 1 <= len(found) <= MOST


def put(order: Any, path: str, value: object) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        order = order[int(parent) if parent.isdecimal() else parent]
    order[name] = value


def drop(order: dict[str, Any], path: str) -> None:
    del order[path]


Break = Callable[[dict[str, Any]], None]
BREAKS: dict[str, Break] = {
    "$.sm_id": lambda o: put(o, "sm_id", "x"),
    "$.order_uid": lambda o: put(o, "order_uid", "a b"),
    "$.delivery.name": lambda o: put(o, "delivery/name", None),
    "$.delivery.zip": lambda o: put(o, "delivery/zip", "x" * 1001),
    "$.payment": lambda o: put(o, "payment", []),
    "$.items[0].price": lambda o: put(o, "items/0/price", 1.5),
    "$.items[0].rid": lambda o: o["items"][0].pop("rid"),
    "$.items[1]": lambda o: o["items"].insert(1, "no item"),
    "$.date_created": lambda o: put(o, "date_created", "2021-02-30T00:00:00Z"),
    "$.locale": lambda o: drop(o, "locale"),
    "$.delivery.city": lambda o: drop(o["delivery"], "city"),
}


@given(st.sets(st.sampled_from(sorted(BREAKS)), min_size=1))
def test_all_faults_are_found(broken: set[str]) -> None:
    """Each at its path, once, whichever others there are; nothing else is found."""
    order = json.loads(json.dumps(ORDER))
    for path in sorted(broken):
        BREAKS[path](order)
    assert sorted(each.path for each in all_of(json.dumps(order).encode())) == sorted(broken)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_looked_at(value: object) -> None:
    """Whatever it is, there is at least one fault, and no more than are told."""
    assert 1 <= len(all_of(json.dumps(value).encode())) <= MOST


def test_so_many_faults_are_reported() -> None:
    """Of a thousand wrong items a hundred are enough."""
    assert len(all_of(json.dumps(ORDER | {"items": [1] * 1000}).encode())) == MOST


def test_faults_hold_no_values() -> None:
    """Reasons have names, types and limits."""
    order = ORDER | {"delivery": ORDER["delivery"] | {"phone": ["+9720000000"], "zip": {"secret": 1}}}
    assert all("9720000000" not in e.reason and "secret" not in e.reason for e in all_of(json.dumps(order).encode()))
