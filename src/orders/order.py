"""The order: one definition for Kafka, POST, the served document, the table's row and the schemas.

An order exists in three forms, and this module alone knows how they belong together:

* `Order`: msgspec structs, for decoding and checking;
* `Row`: the values of its row in PostgreSQL, in the order of the columns;
* `text`: its canonical JSON as bytes, without the `id`; with it, the document that is served.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

MAX_DOCUMENT_BYTES = 1_000_000
"""Largest message that is taken, in bytes (Kafka's own default limit of a batch is 1,048,588)."""
MAX_NESTING = 64
"""Deepest nesting of objects and arrays, the order itself being 1."""
MAX_UNKNOWN_FIELDS = 256
"""Most unknown fields in one object of the order."""

LONGEST_UID = 128
"""Characters of the longest `order_uid`."""
UID_PATTERN = rf"^(?!\.{{1,2}}$)[A-Za-z0-9._~-]{{1,{LONGEST_UID}}}$(?!\n)"
"""Means the same to Python and to the ECMAScript of JSON Schema; HTTP clients resolve `.` and `..` in paths."""
NO_NUL = r"^[^\x00]*$"
"""PostgreSQL's texts cannot hold U+0000. The schemas say so; the decoder looks for it in the whole message."""
MOMENT_PATTERN = (
    r"^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,30})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$(?!\n)"
)

is_uid = re.compile(UID_PATTERN).search
"""Whether a text can be an order's uid."""
Uid = Annotated[str, Meta(pattern=UID_PATTERN, description="Names the order in URLs; RFC 3986, 2.3; not `.` or `..`")]
Text = Annotated[str, Meta(max_length=1_000, extra_json_schema={"pattern": NO_NUL})]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What a `bigint` column holds. Zero is a legal amount."""
Moment = Annotated[
    str,
    Meta(
        pattern=MOMENT_PATTERN,
        description="RFC 3339 with an offset, no leap second; kept to the microsecond, served in UTC",
        extra_json_schema={"format": "date-time"},
    ),
]


class Delivery(Struct, frozen=True, gc=False):
    name: Annotated[Text, Meta(description="Who receives the parcel")]
    phone: Annotated[Text, Meta(description="Phone number of the recipient")]
    zip: Annotated[Text, Meta(description="Postal code")]
    city: Annotated[Text, Meta(description="City or town")]
    address: Annotated[Text, Meta(description="Street and house")]
    region: Annotated[Text, Meta(description="Region, state or district")]
    email: Annotated[Text, Meta(description="E-mail address of the recipient")]


class Payment(Struct, frozen=True, gc=False):
    transaction: Annotated[Text, Meta(description="Id of the payment")]
    request_id: Annotated[Text, Meta(description="Id of the request to pay; may be empty")]
    currency: Annotated[Text, Meta(description="Currency, such as `USD`")]
    provider: Annotated[Text, Meta(description="Payment service, such as `wbpay`")]
    amount: Annotated[Integer, Meta(description="What was paid in all, in the unit that the sender uses")]
    payment_dt: Annotated[Integer, Meta(description="When it was paid, in seconds since 1970 (UTC) in the sample")]
    bank: Annotated[Text, Meta(description="Bank of the customer, such as `alpha`")]
    delivery_cost: Annotated[Integer, Meta(description="What the delivery costs")]
    goods_total: Annotated[Integer, Meta(description="What all items cost")]
    custom_fee: Annotated[Integer, Meta(description="Customs duty")]


class Item(Struct, frozen=True, gc=False):
    chrt_id: Annotated[Integer, Meta(description="Id of the size of the article that was bought")]
    track_number: Annotated[Text, Meta(description="Tracking number of the parcel that has it")]
    price: Annotated[Integer, Meta(description="Price before the discount")]
    rid: Annotated[Text, Meta(description="Id of this line of the order")]
    name: Annotated[Text, Meta(description="What it is")]
    sale: Annotated[Integer, Meta(description="Discount in percent")]
    size: Annotated[Text, Meta(description="Size; `0` where there is none")]
    total_price: Annotated[Integer, Meta(description="Price with the discount")]
    nm_id: Annotated[Integer, Meta(description="Id of the article")]
    brand: Annotated[Text, Meta(description="Brand")]
    status: Annotated[Integer, Meta(description="State of this line, as the sender numbers them")]


Items = Annotated[tuple[Item, ...], Meta(min_length=1, max_length=1_000)]


class Order(Struct, frozen=True):
    """Every field of the sample of the original Go service, in its order; all are required.

    The service interprets `order_uid` and `date_created` alone; the meanings of the others are those of the sample.
    """

    order_uid: Uid
    track_number: Annotated[Text, Meta(description="Tracking number of the parcel")]
    entry: Annotated[Text, Meta(description="Where the order came in, such as `WBIL`")]
    delivery: Annotated[Delivery, Meta(description="Who receives it, and where")]
    payment: Annotated[Payment, Meta(description="How it was paid")]
    items: Annotated[Items, Meta(description="What was bought, 1 to 1,000 items")]
    locale: Annotated[Text, Meta(description="Language of the customer, such as `en`")]
    internal_signature: Annotated[Text, Meta(description="Signature of the sender; may be empty")]
    customer_id: Annotated[Text, Meta(description="Id of the customer")]
    delivery_service: Annotated[Text, Meta(description="Carrier, such as `meest`")]
    shardkey: Annotated[Text, Meta(description="A shard of the sender; stored, not interpreted")]
    sm_id: Annotated[Integer, Meta(description="A number of the sender; stored, not interpreted")]
    date_created: Moment
    oof_shard: Annotated[Text, Meta(description="A shard of the sender; stored, not interpreted")]


class Row(NamedTuple):
    """An order's own columns of the table `orders`, in the table's order.

    `items` is the JSON array as it is served. `extra` is a JSON object with the unknown fields of the
    order ("order"), its delivery and its payment, each value as the text that came; None without any.
    """

    order_uid: str
    track_number: str
    entry: str
    delivery_name: str
    delivery_phone: str
    delivery_zip: str
    delivery_city: str
    delivery_address: str
    delivery_region: str
    delivery_email: str
    payment_transaction: str
    payment_request_id: str
    payment_currency: str
    payment_provider: str
    payment_amount: int
    payment_dt: int
    payment_bank: str
    payment_delivery_cost: int
    payment_goods_total: int
    payment_custom_fee: int
    items: str
    locale: str
    internal_signature: str
    customer_id: str
    delivery_service: str
    shardkey: str
    sm_id: int
    date_created: datetime
    oof_shard: str
    extra: str | None


class Content(Struct, frozen=True, gc=False):
    """A valid order in the two forms that the write path needs: its row, and its canonical text."""

    row: Row
    text: bytes


class Extra(Struct, frozen=True, omit_defaults=True):
    """Unknown fields by the object they stood in, each value as raw JSON text."""

    order: dict[str, Raw] = {}
    delivery: dict[str, Raw] = {}
    payment: dict[str, Raw] = {}


encode = msgspec.json.Encoder().encode
_compose: Callable[..., Order] = Order
"""Structs do not check what they are made of: parts of an order may be ready-made text (`Raw`)."""
_decode_extra = msgspec.json.Decoder(Extra).decode


def served_moment(instant: datetime) -> str:
    """An aware datetime as it is served: RFC 3339 in UTC with `Z`, a fraction of six digits or none."""
    return instant.astimezone(UTC).isoformat()[:-6] + "Z"


def with_unknown(known: bytes, unknown: dict[str, Raw]) -> bytes:
    """The JSON object `known` with the unknown fields after its own."""
    return known[:-1] + b"," + encode(unknown)[1:] if unknown else known


def text(row: Row) -> bytes:
    """The canonical JSON of a row, byte for byte what the decoder made when it came in."""
    delivery: Delivery | Raw = Delivery(*row[3:10])
    payment: Payment | Raw = Payment(*row[10:20])
    extra = None if row.extra is None else _decode_extra(row.extra)
    if extra is not None:
        delivery = Raw(with_unknown(encode(delivery), extra.delivery))
        payment = Raw(with_unknown(encode(payment), extra.payment))
    moment = served_moment(row.date_created)
    order = _compose(*row[:3], delivery, payment, Raw(row.items), *row[21:27], moment, row.oof_shard)
    known = encode(order)
    return known if extra is None else with_unknown(known, extra.order)


def document(order_id: int, canonical: bytes) -> bytes:
    """The served bytes: `{"order":{"id":…,…}}` around the canonical text of an order."""
    return b'{"order":{"id":%d,%b}' % (order_id, canonical[1:])
