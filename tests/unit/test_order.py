"""The order's three forms belong together: structs, row, text; and the schema says what the decoder takes."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from msgspec import Raw

from orders.decoder import decode
from orders.order import (
    MOMENT_PATTERN,
    UID_PATTERN,
    Content,
    Delivery,
    Order,
    Payment,
    Row,
    document,
    encode,
    served_moment,
    text,
    with_unknown,
)
from support.hostile import VALID
from support.strategies import messages, parse


def row(message: bytes = VALID) -> Row:
    content = decode(message)
    assert isinstance(content, Content)
    return content.row


def test_a_row_has_the_fields_of_the_order_in_its_order() -> None:
    expected: list[str] = []
    for name in Order.__struct_fields__:
        part = {"delivery": Delivery, "payment": Payment}.get(name)
        expected += (
            [f"{name}_{f}".replace("payment_payment", "payment") for f in part.__struct_fields__] if part else [name]
        )
    assert list(Row._fields) == [*expected, "extra"]


def test_the_document_is_the_text_with_the_id_in_front() -> None:
    assert document(7, text(row())) == b'{"order":{"id":7,' + VALID[1:] + b"}"


@given(messages())
def test_the_document_of_any_order_is_json_with_its_id_first(message: bytes) -> None:
    stored = row(message)
    served = parse(document(2**63 - 1, text(stored)))["order"]
    assert next(iter(served)) == "id"
    assert served.pop("id").digits == str(2**63 - 1)
    assert served == parse(text(stored))


def test_the_text_does_not_depend_on_the_zone_of_the_rows_date() -> None:
    # A driver gives dates in the zone of its session.
    elsewhere = row().date_created.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert text(row()._replace(date_created=elsewhere)) == VALID


@pytest.mark.parametrize(
    ("instant", "moment"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(2021, 11, 26, 6, 22, 19, 120, tzinfo=UTC), "2021-11-26T06:22:19.000120Z"),
        (datetime(2021, 11, 26, 1, 0, tzinfo=timezone(timedelta(hours=3))), "2021-11-25T22:00:00Z"),
    ],
)
def test_moments_are_served_in_utc(instant: datetime, moment: str) -> None:
    assert served_moment(instant) == moment


def test_unknown_fields_stand_after_the_known_ones() -> None:
    assert with_unknown(b'{"a":1}', {}) == b'{"a":1}'
    assert with_unknown(b'{"a":1}', {"b": Raw(b"1.10"), '"': Raw(b"[ ]")}) == b'{"a":1,"b":1.10,"\\"":[ ]}'


@pytest.mark.parametrize("pattern", [UID_PATTERN, MOMENT_PATTERN])
def test_patterns_hold_nothing_that_python_and_ecmascript_read_differently(pattern: str) -> None:
    assert not re.search(r"\\[AZzdwsb]|\(\?P|\(\?<", pattern)
    assert pattern.endswith("$(?!\\n)")


def test_the_schema_requires_every_field_and_allows_others() -> None:
    schema = msgspec.json.schema(Order)
    order = schema["$defs"]["Order"]
    assert order["required"] == list(Order.__struct_fields__) == list(json.loads(VALID))
    assert "additionalProperties" not in order
    assert order["properties"]["date_created"]["format"] == "date-time"


def test_the_canonical_text_is_the_plain_encoding_of_the_struct() -> None:
    assert encode(msgspec.json.decode(VALID, type=Order)) == VALID
