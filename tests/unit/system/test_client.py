"""What the commands read and show: lines to records, keys, health."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.system import client
from orders.system.client import Restore, Sent, records

LINES = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b'{"order_uid":"a"}', b'{"order_uid":""}', b"[" * 99]))
)


@given(LINES)
def test_every_line_that_is_not_empty_goes_as_it_is(lines: list[bytes]) -> None:
    text = b"\n".join(lines)
    sent = [value for _, value in records(io.BytesIO(text))]
    assert sent == [line.strip() for line in text.split(b"\n") if line.strip()]
    assert client.count_lines(io.BytesIO(text)) == len(sent)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"order_uid":"b563","more":[1]}', b"b563"),
        ('{"order_uid":"юг"}'.encode(), "юг".encode()),
        (b'{"order_uid":""}', None),
        (b'{"order_uid":7}', None),
        (b'{"order_uid":"b563"', None),
        (b'["order_uid"]', None),
        (b'{"order_uid":"\xff"}', None),
        (b'{"x":' + b"[" * 5000, None),
    ],
)
def test_a_line_is_keyed_by_its_order_uid_where_it_has_one(line: bytes, key: bytes | None) -> None:
    assert list(records(io.BytesIO(line))) == [(key, line)]


def test_a_pipe_is_not_counted() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert client.count_lines(Pipe(b"1\n2\n")) is None


def test_a_restore_that_goes_on_is_told_in_percent() -> None:
    assert client.restore_text(Restore(ok=False, done=30, total=120)) == "30 of 120 orders (25 %)"
    assert client.restore_text(Restore(ok=True, done=120, total=120)) == "120 of 120 orders"
    assert client.restore_text(Restore(ok=False, done=0, total=0)) == "0 of 0 orders"


def test_what_was_sent_is_told_with_what_had_no_key() -> None:
    assert client.sent_text(Sent("orders", 31, 1)) == "31 sent, 1 of them without an order_uid"
    assert client.sent_text(Sent("orders", 30, 0)) == "30 sent"


def test_a_document_for_the_eye_is_the_same_json() -> None:
    assert json.loads(client.indented('{"a":"юг"}'.encode())) == {"a": "юг"}
