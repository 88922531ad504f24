"""Orders of a file or a pipe: found in any layout, checked before they are sent, told where they are wrong."""

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import StartError, UsageError
from orders.sample import samples
from orders.settings import Settings
from orders.system import sending
from orders.system.sending import Checked, Sent, Wrong, check, lines

GOOD = list(samples(3, 11))
BAD = GOOD[0].replace(b'"sm_id":', b'"sm_id":"x","y":', 1)
SETTINGS = Settings(kafka_bootstrap="127.0.0.1:1")

LINES = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b'{"order_uid":"a"}', b'{"order_uid":""}', b"[" * 99]))
)


@given(LINES)
def test_as_is_every_line_that_is_not_empty_goes_untouched(them: list[bytes]) -> None:
    text = b"\n".join(them)
    sent = [value for _, value in lines(io.BytesIO(text))]
    assert sent == [line.strip() for line in text.split(b"\n") if line.strip()]


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
    assert list(lines(io.BytesIO(line))) == [(key, line)]


class Pipe(io.BytesIO):
    """Bytes that can be read once."""

    def seekable(self) -> bool:
        return False


def indented(values: list[bytes]) -> bytes:
    return json.dumps([json.loads(value) for value in values], indent=2).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"\n".join(GOOD),
        indented(GOOD),
        gzip.compress(indented(GOOD)),
        b"\xef\xbb\xbf" + b"\r\n".join(GOOD),
        b"".join(GOOD),
    ],
    ids=["a line each", "an indented array", "gzip", "byte order mark and CRLF", "concatenated"],
)
@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_orders_are_found_in_any_layout(data: bytes, kind: type[io.BytesIO]) -> None:
    assert check(SETTINGS, kind(data)) == Checked(3, 0, [])
    uids = [json.loads(value)["order_uid"].encode() for value in GOOD]
    found = list(sending.Reading(SETTINGS, kind(data), skip=False))
    assert [key for key, _ in found] == uids
    assert [json.loads(value) for _, value in found] == [json.loads(value) for value in GOOD]


def test_what_is_wrong_is_counted_and_the_first_are_shown_with_line_path_and_reason_but_no_value() -> None:
    checked = check(SETTINGS, io.BytesIO(b"\n".join([GOOD[0], BAD, b"no", b"JSON", b'{"a": 1', GOOD[1]])))
    assert (checked.valid, checked.invalid) == (2, 4)
    assert [wrong.line for wrong in checked.first] == [2, 3, 4]
    assert checked.first[0].path == "$.sm_id"
    assert sending.checked_text(checked).splitlines()[:2] == [
        "4 of 6 are no valid order:",
        f"  line 2: $.sm_id: {checked.first[0].reason}",
    ]
    assert "no" not in sending.checked_text(checked).splitlines()[3].partition(": ")[2].split()


BROKEN = b'{\n "order_uid": "qx7persona",\n "entry": "\xd0\xb6" "qx7persona"\n}'


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"[", b"[\n" + GOOD[0] + b", ", GOOD[0] + b"\r\n\r\n"])
def test_what_is_not_json_is_shown_with_its_position_in_the_file(
    before: bytes, kind: type[io.BytesIO], pack: Callable[[bytes], bytes]
) -> None:
    """The byte, and the line and the column that an editor shows."""
    checked = check(SETTINGS, kind(pack(before + BROKEN)))
    at = len(before) + BROKEN.index(b'"qx7persona"\n}')
    (wrong,) = checked.first
    assert wrong.line == before.count(b"\n") + 1
    assert wrong.reason == f"Invalid JSON: expected ',' or '}}' at byte {at} (line {wrong.line + 2}, column 15)"


def test_the_column_of_the_first_line_counts_what_stands_before_the_value() -> None:
    (wrong,) = check(SETTINGS, io.BytesIO(b'[{"\xd0\xb6": }]')).first
    assert wrong.reason == "Invalid JSON: invalid character at byte 8 (line 1, column 8)"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "starts with a byte order mark (BOM)"),
        (b"1 2", "bytes after the end"),
        (b'{"a": 1', "unexpected end"),
    ],
)
def test_each_kind_of_what_is_not_json_is_named(text: bytes, kind: str) -> None:
    (wrong,) = check(SETTINGS, io.BytesIO(text)).first
    assert wrong.reason.startswith(f"Invalid JSON: {kind} at byte ")


class Brokers:
    """Takes the place of Kafka: what was sent."""

    def __init__(self, *_: object) -> None:
        self.sent: list[sending.Pair] = []

    def count(self) -> int:
        return 1

    def send(self, records: Any, _progress: object) -> int:
        self.sent += records
        return len(self.sent)

    def close(self) -> None:
        """Nothing is left."""


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr("orders.brokers.Brokers", lambda *_: made)
    monkeypatch.setattr("orders.producer.OrderProducer", lambda *_: made)
    return made


MIXED = b"\n".join([GOOD[0], BAD, GOOD[1]])


def test_of_a_file_with_a_mistake_nothing_is_sent(brokers: Brokers) -> None:
    with pytest.raises(
        StartError, match=r"^1 of 3 is no valid order:\n  line 2: .*\nNothing was sent: .*--skip-invalid"
    ):
        sending.send(SETTINGS, io.BytesIO(MIXED), "valid or nothing")
    assert brokers.sent == []


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_what_is_wrong_may_be_left_out(brokers: Brokers, kind: type[io.BytesIO]) -> None:
    sent = sending.send(SETTINGS, kind(MIXED), "valid")
    assert (sent.sent, sent.invalid, sent.complete) == (2, 1, True)
    assert [value for _, value in brokers.sent] == [GOOD[0], GOOD[1]]


def test_a_pipe_is_sent_up_to_the_mistake_and_that_is_told(brokers: Brokers) -> None:
    sent = sending.send(SETTINGS, Pipe(MIXED), "valid or nothing")
    assert (sent.sent, sent.invalid, sent.complete) == (1, 1, False)
    assert [value for _, value in brokers.sent] == GOOD[:1]
    assert "1 not sent, nor what follows it" in sending.sent_text(sent)


def test_as_is_lines_go_whatever_they_are(brokers: Brokers) -> None:
    sent = sending.send(SETTINGS, io.BytesIO(MIXED + b"\nno JSON"), "as is")
    assert (sent.sent, sent.keyless, sent.invalid) == (4, 1, 0)
    assert [value for _, value in brokers.sent] == [GOOD[0], BAD, GOOD[1], b"no JSON"]


def test_a_packed_file_that_breaks_off_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="cannot be unpacked"):
        check(SETTINGS, io.BytesIO(gzip.compress(MIXED)[:-20]))


def test_what_was_sent_is_told_and_that_it_is_not_stored_yet() -> None:
    assert sending.sent_text(Sent("orders", 31, 1)) == (
        "31 sent, 1 of them without an order_uid: they are in Kafka, and stored when an ingest has written them"
    )
    left_out = Sent("orders", 2, 0, 1, [Wrong(7, "", "Invalid JSON")])
    assert sending.sent_text(left_out).splitlines()[1:] == [
        "1 left out, no valid order:",
        "  line 7: Invalid JSON",
    ]
