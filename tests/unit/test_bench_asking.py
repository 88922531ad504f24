"""What the bench asks searches for, and the orders that it writes into a large table."""

import random
from itertools import islice

import msgspec
import pytest

from bench.asking import search
from bench.filling import people, received
from bench.indexes import renewed
from bench.lookup import AT_ONCE, lookups
from bench.stock import contents
from orders.order import Row
from orders.search.criteria import PERSONAL


@pytest.mark.parametrize("field", sorted(PERSONAL))
def test_personal_terms_are_asked_for_in_a_body_never_in_a_path(field: str) -> None:
    asked = search({field: "Анна & co"}, limit=50)
    assert (asked.method, asked.path) == ("POST", "/orders/search")
    assert msgspec.json.decode(asked.body) == {field: "Анна & co", "limit": 50}


def test_a_list_is_a_get_and_its_request_says_so() -> None:
    asked = search({"customer_id": "a b"}, limit=50)
    assert asked.sent().startswith(b"GET /orders?customer_id=a+b&limit=50 HTTP/1.1\r\n")
    assert asked.sent().endswith(b"\r\n\r\n")


def test_a_body_has_its_length() -> None:
    head, _, body = search({"q": "ж"}).sent().partition(b"\r\n\r\n")
    assert body == '{"q":"ж"}'.encode()
    assert b"Content-Length: 10" in head


def test_lookups_ask_for_each_uid_once() -> None:
    uids = [f"u{number}" for number in range(2 * AT_ONCE)]
    asked = [msgspec.json.decode(each.body)["order_uids"] for each in lookups(uids)]
    assert [len(each) for each in asked] == [AT_ONCE, AT_ONCE]
    assert [uid for each in asked for uid in each] == uids


def test_renewed_orders_differ_in_what_is_indexed_and_half_have_a_payment_of_their_own() -> None:
    sample = next(islice(contents(1, seed=1), 1)).row
    draw = random.Random(1)
    rows = [renewed((*sample, 1, 1, "t", 0, 0, None), number, 3000, draw) for number in range(1000)]
    made = [Row(*row[: len(Row._fields)]) for row in rows]
    assert len({row.order_uid for row in made}) == 1000
    assert 300 < len({row.customer_id for row in made}) <= people(3000)
    assert len({row.customer_id for row in made}) == len({row.delivery_phone for row in made})
    assert 400 < sum(row.payment_transaction != row.order_uid for row in made) < 600
    assert [row[-1] for row in rows] == [received(number) for number in range(1000)]
    assert all(row.date_created <= received(number) for number, row in enumerate(made))
