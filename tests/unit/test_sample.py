"""Samples are realistic, distinct, the same everywhere, and take the decoder's fast path."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.decoder import decode
from orders.order import Content, Order
from orders.sample import samples


@given(st.integers(0, 2**64))
def test_samples_are_canonical_and_valid(seed: int) -> None:
    for sample in samples(3, seed):
        content = decode(sample)
        assert isinstance(content, Content)
        assert content.text == sample


def test_the_same_seed_gives_the_same_bytes_on_every_python() -> None:
    # The digest is the promise: a change of it is a change for everybody who compares runs.
    digest = sha256(b"\n".join(samples(1000, seed=1))).hexdigest()
    assert digest == "50948b52195a9506e071de2fe8485eb630ab5788155ccb7c92d4462383feaded"


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    assert list(samples(10, seed=5)) == list(samples(20, seed=5))[:10]


def test_seeds_give_different_orders() -> None:
    assert not set(samples(50, seed=1)) & set(samples(50, seed=2))


def test_uids_are_distinct_and_as_long_as_the_originals() -> None:
    uids = [json.loads(sample)["order_uid"] for sample in samples(5000, seed=1)]
    assert len(set(uids)) == len(uids)
    assert {len(uid) for uid in uids} <= set(range(19, 26))


def test_amounts_add_up() -> None:
    for sample in samples(200, seed=2):
        order = json.loads(sample)
        payment = order["payment"]
        assert payment["goods_total"] == sum(item["total_price"] for item in order["items"])
        assert payment["amount"] == payment["goods_total"] + payment["delivery_cost"] + payment["custom_fee"]
        assert all(i["total_price"] == i["price"] * (100 - i["sale"]) // 100 for i in order["items"])


def test_samples_are_of_the_stated_size_and_spread() -> None:
    lines = list(samples(2000, seed=3))
    counts = {len(json.loads(line)["items"]) for line in lines}
    assert counts == {1, 2, 3, 4, 5}
    assert sum(map(len, lines)) / len(lines) == pytest.approx(1100, rel=0.1)
    assert not any(b"\n" in line for line in lines)


def test_names_are_cyrillic_and_latin_and_contacts_are_fictional() -> None:
    deliveries = [json.loads(sample)["delivery"] for sample in samples(500, seed=4)]
    assert {d["name"].isascii() for d in deliveries} == {True, False}
    assert all(d["email"].endswith("@example.com") and d["email"].isascii() for d in deliveries)
    assert all(d["phone"].startswith("+972000") for d in deliveries)


def test_a_sample_has_the_originals_fields_in_their_order() -> None:
    assert list(json.loads(next(samples(1, seed=0)))) == list(Order.__struct_fields__)
