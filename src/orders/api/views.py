"""Other shapes of a served document: the one that the original Go service documented.

There the order's own fields are in snake_case, and those of its parts are named as Go names them (`ChrtID`).
Every part carries `ID` and `OrderID`. The values are true ones: `ID` of delivery and payment, and every
`OrderID`, is the order's id; an item's `ID` is its line number from 1. Unknown fields are left out.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from orders.errors import Rejected
from orders.order import Delivery, Integer, Item, Moment, Order, Payment, Text, Uid, encode

_INITIALISMS = {"id": "ID", "dt": "DT"}


def _go_name(name: str) -> str:
    """`payment_dt` → `PaymentDT`."""
    return "".join(_INITIALISMS.get(word, word.capitalize()) for word in name.split("_"))


OrderNumber = Annotated[int, Meta(description="Number of the order: 1 is the first that was stored")]
Line = Annotated[int, Meta(description="Line of the order, from 1")]


class OriginalDelivery(Struct, frozen=True, rename=_go_name):
    id: OrderNumber
    order_id: OrderNumber
    name: Text
    phone: Text
    zip: Text
    city: Text
    address: Text
    region: Text
    email: Text


class OriginalPayment(Struct, frozen=True, rename=_go_name):
    id: OrderNumber
    order_id: OrderNumber
    transaction: Text
    request_id: Text
    currency: Text
    provider: Text
    amount: Integer
    payment_dt: Integer
    bank: Text
    delivery_cost: Integer
    goods_total: Integer
    custom_fee: Integer


class OriginalItem(Struct, frozen=True, rename=_go_name):
    id: Line
    order_id: OrderNumber
    chrt_id: Integer
    track_number: Text
    price: Integer
    rid: Text
    name: Text
    sale: Integer
    size: Text
    total_price: Integer
    nm_id: Integer
    brand: Text
    status: Integer


class OriginalOrder(Struct, frozen=True):
    """The order of the original Go service, with its members in its order."""

    id: OrderNumber
    order_uid: Uid
    track_number: Text
    entry: Text
    locale: Text
    internal_signature: Text
    customer_id: Text
    delivery_service: Text
    shardkey: Text
    sm_id: Integer
    date_created: Moment
    oof_shard: Text
    delivery: OriginalDelivery
    payment: OriginalPayment
    items: tuple[OriginalItem, ...]


class OriginalDocument(Struct, frozen=True):
    """What the original Go service returned for a GET."""

    order: Annotated[OriginalOrder, Meta(description="The order; unknown fields are left out")]


class ServedOrder(Order, frozen=True):
    """An order as it is served: with its number in order of arrival."""

    id: OrderNumber


class ServedDocument(Struct, frozen=True):
    """What a GET answers; unknown fields of the message that was taken are served too."""

    order: Annotated[ServedOrder, Meta(description="The order")]


SAME_FIELDS: Mapping[type[Struct], type[Struct]] = {
    OriginalDelivery: Delivery,
    OriginalPayment: Payment,
    OriginalItem: Item,
    OriginalOrder: Order,
}
"""Of which struct of the order the fields mean the same."""

_decode = msgspec.json.Decoder(ServedDocument).decode


def original(document: bytes) -> bytes:
    """The served bytes of an order, `{"order":{"id":…}}`, in the shape of the original Go service.

    Raises `Rejected` where SQL by hand has made of it what is not an order.
    """
    try:
        served = _decode(document)
    except msgspec.DecodeError as error:
        raise Rejected("a row changed by hand has no original view") from error
    return encode(OriginalDocument(_original(served.order)))


def _original(order: ServedOrder) -> OriginalOrder:
    key = order.id
    return OriginalOrder(
        id=key,
        order_uid=order.order_uid,
        track_number=order.track_number,
        entry=order.entry,
        locale=order.locale,
        internal_signature=order.internal_signature,
        customer_id=order.customer_id,
        delivery_service=order.delivery_service,
        shardkey=order.shardkey,
        sm_id=order.sm_id,
        date_created=order.date_created,
        oof_shard=order.oof_shard,
        delivery=OriginalDelivery(key, key, *astuple(order.delivery)),
        payment=OriginalPayment(key, key, *astuple(order.payment)),
        items=tuple(OriginalItem(line, key, *astuple(item)) for line, item in enumerate(order.items, start=1)),
    )
