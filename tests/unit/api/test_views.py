"""The original Go service's shape of an order, with the true values where it showed zeros by mistake."""

import json
from typing import get_type_hints

import pytest

from orders.api.views import OriginalDelivery, OriginalItem, OriginalPayment, original
from orders.decoder import decode
from orders.errors import Rejected
from orders.order import Content, Delivery, Item, Payment, document, encode
from orders.sample import samples
from support.hostile import TAKEN, Strange
from support.strategies import parse

POSTED = b"""{
  "order_uid": "b563feg7bdg3286ttjr67siej", "track_number": "WBILMTESTTRACK", "entry": "WBIL",
  "delivery": {"name": "Test Testov", "phone": "+9720000000", "zip": "2639809", "city": "Kiryat Mozkin",
    "address": "Ploshad Mira 15", "region": "Kraiot", "email": "test@example.com", "floor": 1.10},
  "payment": {"transaction": "b563feb7b2b84b6test", "request_id": "", "currency": "USD", "provider": "wbpay",
    "amount": 1817, "payment_dt": 1637907727, "bank": "alpha", "delivery_cost": 1500, "goods_total": 317,
    "custom_fee": 0},
  "items": [
    {"chrt_id": 9934930, "track_number": "WBILMTESTTRACK", "price": 453, "rid": "ab4219087a764ae0btest",
      "name": "Mascaras", "sale": 30, "size": "0", "total_price": 317, "nm_id": 2389212,
      "brand": "Vivienne Sabo", "status": 202},
    {"chrt_id": 9934931, "track_number": "WBILMTESTTRACK", "price": 1, "rid": "2", "name": "Brush", "sale": 0,
      "size": "M", "total_price": 1, "nm_id": 5, "brand": "", "status": 202, "gift": true}],
  "locale": "en", "internal_signature": "", "customer_id": "test", "delivery_service": "meest",
  "shardkey": "9", "sm_id": 99, "date_created": "2021-11-26T06:22:19Z", "oof_shard": "1", "note": null}"""

EXPECTED = """{"order": {
  "id": 42, "order_uid": "b563feg7bdg3286ttjr67siej", "track_number": "WBILMTESTTRACK", "entry": "WBIL",
  "locale": "en", "internal_signature": "", "customer_id": "test", "delivery_service": "meest",
  "shardkey": "9", "sm_id": 99, "date_created": "2021-11-26T06:22:19Z", "oof_shard": "1",
  "delivery": {"ID": 42, "OrderID": 42, "Name": "Test Testov", "Phone": "+9720000000", "Zip": "2639809",
    "City": "Kiryat Mozkin", "Address": "Ploshad Mira 15", "Region": "Kraiot", "Email": "test@example.com"},
  "payment": {"ID": 42, "OrderID": 42, "Transaction": "b563feb7b2b84b6test", "RequestID": "",
    "Currency": "USD", "Provider": "wbpay", "Amount": 1817, "PaymentDT": 1637907727, "Bank": "alpha",
    "DeliveryCost": 1500, "GoodsTotal": 317, "CustomFee": 0},
  "items": [
    {"ID": 1, "OrderID": 42, "ChrtID": 9934930, "TrackNumber": "WBILMTESTTRACK", "Price": 453,
      "Rid": "ab4219087a764ae0btest", "Name": "Mascaras", "Sale": 30, "Size": "0", "TotalPrice": 317,
      "NmID": 2389212, "Brand": "Vivienne Sabo", "Status": 202},
    {"ID": 2, "OrderID": 42, "ChrtID": 9934931, "TrackNumber": "WBILMTESTTRACK", "Price": 1, "Rid": "2",
      "Name": "Brush", "Sale": 0, "Size": "M", "TotalPrice": 1, "NmID": 5, "Brand": "", "Status": 202}]}}"""


def served(message: bytes, order_id: int = 42) -> bytes:
    content = decode(message)
    assert isinstance(content, Content)
    return document(order_id, content.text)


def test_the_originals_shape_byte_for_byte() -> None:
    # Compared as text, so that the order of the members counts too; the original Go service's own example, with true
    # values.
    assert original(served(POSTED)) == encode(json.loads(EXPECTED))


@pytest.mark.parametrize("strange", TAKEN, ids=lambda s: s.name)
def test_every_order_that_is_taken_has_a_view(strange: Strange) -> None:
    shown = parse(original(served(strange.value)))["order"]
    kept = parse(served(strange.value))["order"]
    assert shown["order_uid"] == kept["order_uid"]
    assert [item["Price"] for item in shown["items"]] == [item["price"] for item in kept["items"]]


@pytest.mark.parametrize(("field", "value"), [("items", None), ("items", [{}]), ("date_created", None)])
def test_what_sql_by_hand_made_no_order_of_is_refused(field: str, value: object) -> None:
    # HTTP answers that with 503, as it does for a row without a document.
    changed = json.loads(served(POSTED))
    changed["order"][field] = value
    with pytest.raises(Rejected):
        original(json.dumps(changed).encode())


def test_every_value_is_the_true_one() -> None:
    for message in samples(20, seed=3):
        shown, sent = json.loads(original(served(message)))["order"], json.loads(message)
        assert list(shown["delivery"].values())[2:] == list(sent["delivery"].values())
        assert list(shown["payment"].values())[2:] == list(sent["payment"].values())
        for line, (item, own) in enumerate(zip(shown["items"], sent["items"], strict=True), start=1):
            assert list(item.values()) == [line, 42, *own.values()]


@pytest.mark.parametrize(
    ("view", "part"), [(OriginalDelivery, Delivery), (OriginalPayment, Payment), (OriginalItem, Item)]
)
def test_a_part_of_the_view_has_the_fields_of_the_orders_part(view: type, part: type) -> None:
    # The view is made from the part's values by position.
    assert list(view.__annotations__) == ["id", "order_id", *part.__annotations__]
    for name, kind in get_type_hints(part).items():
        assert get_type_hints(view)[name] is kind
