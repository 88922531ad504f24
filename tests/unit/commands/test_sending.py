"""Orders of a file or a pipe: found in any layout, checked before they are sent, told where they are wrong."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.commands import sending
from orders.commands.sending import Checked, Outgoing, Sent, Wrong, check, lines
from orders.commands.storing import StoringResult
from orders.errors import Misconfigured, OrdersError, StartError, TooLarge, Unavailable
from orders.kafka.producer import Delivered
from orders.sample import samples
from orders.settings import Settings

GOOD = list(samples(3, 11))
BAD = GOOD[0].replace(b'"sm_id":', b'"sm_id":"x","y":', 1)
SETTINGS = Settings(kafka_bootstrap="127.0.0.1:1")

LINES = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b'{"order_uid":"a"}', b'{"order_uid":""}', b"[" * 99]))
)


@given(LINES)
def test_as_is_every_line_that_is_not_empty_goes_untouched(them: list[bytes]) -> None:
    text = b"\n".join(them)
    sent = [each.value for each in lines(io.BytesIO(text))]
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
    assert list(lines(io.BytesIO(b"\n" + line))) == [Outgoing(2, key, line)]


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
    found = list(sending.OrderInput(SETTINGS, kind(data), skip=False))
    assert [each.key for each in found] == uids
    assert [json.loads(each.value) for each in found] == [json.loads(value) for value in GOOD]


def test_what_is_wrong_is_counted_and_the_first_are_shown_with_line_path_and_reason_but_no_value() -> None:
    checked = check(SETTINGS, io.BytesIO(b"\n".join([GOOD[0], BAD, b"no", b"JSON", b'{"a": 1', GOOD[1]])))
    assert (checked.valid, checked.invalid) == (2, 4)
    assert [wrong.line for wrong in checked.first] == [2, 3, 4]
    assert checked.first[0].path == "$.sm_id"
    assert sending.checked_text(checked).splitlines()[:2] == [
        "4 of 6 are not valid orders:",
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
    checked = check(SETTINGS, kind(pack(before + BROKEN + (b"]" if before[:1] == b"[" else b""))))
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
    """Takes the place of Kafka and its client; `answers` has other results than an offset, by number."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes | None, bytes]] = []
        self.answers: dict[int, OrdersError | type[BaseException]] = {}

    def count(self) -> int:
        return 1

    def config(self, _topic: str) -> dict[str, str] | None:
        return None

    def send(self, records: Iterator[tuple[bytes | None, bytes]], report: Callable[[int, Any], None]) -> int:
        for number, record in enumerate(records):
            answer = self.answers.get(number)
            if isinstance(answer, type):
                raise answer
            report(number, answer or Delivered(0, len(self.sent)))
            if isinstance(answer, Unavailable):
                raise answer
            if answer is None:
                self.sent.append(record)
        return len(self.sent)

    def flush(self, _seconds: float) -> int:
        return 0

    def close(self) -> None:
        """Nothing is left."""


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr("orders.kafka.admin.Brokers", lambda *_: made)
    monkeypatch.setattr("orders.kafka.producer.OrderProducer", lambda *_, **_named: made)
    return made


MIXED = b"\n".join([GOOD[0], BAD, GOOD[1]])


def test_of_a_file_with_a_mistake_nothing_is_sent(brokers: Brokers) -> None:
    with pytest.raises(
        StartError, match=r"^1 of 3 is not a valid order:\n  line 2: .*\nNothing was sent: .*--skip-invalid"
    ):
        sending.send(SETTINGS, io.BytesIO(MIXED), "valid or nothing")
    assert brokers.sent == []


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_what_is_wrong_may_be_left_out(brokers: Brokers, kind: type[io.BytesIO]) -> None:
    sent = sending.send(SETTINGS, kind(MIXED), "valid")
    assert (sent.sent, sent.invalid, sent.complete) == (2, 1, True)
    assert [value for _, value in brokers.sent] == [GOOD[0], GOOD[1]]


def test_a_pipe_is_sent_up_to_the_mistake_and_that_is_reported(brokers: Brokers) -> None:
    sent = sending.send(SETTINGS, Pipe(MIXED), "valid or nothing")
    assert (sent.sent, sent.invalid, sent.complete) == (1, 1, False)
    assert [value for _, value in brokers.sent] == GOOD[:1]
    assert "1 not sent, nor what follows it" in sending.sent_text(sent)


def test_as_is_lines_go_whatever_they_are(brokers: Brokers) -> None:
    sent = sending.send(SETTINGS, io.BytesIO(MIXED + b"\nno JSON"), "as is")
    assert (sent.sent, sent.keyless, sent.invalid) == (4, 1, 0)
    assert [value for _, value in brokers.sent] == [GOOD[0], BAD, GOOD[1], b"no JSON"]


def test_a_packed_file_that_breaks_off_is_one_sentence() -> None:
    with pytest.raises(StartError, match="the file is gzip and is cut off"):
        check(SETTINGS, io.BytesIO(gzip.compress(MIXED)[:-20]))
    with pytest.raises(StartError, match=r"is damaged, or followed by something else$"):
        check(SETTINGS, io.BytesIO(gzip.compress(MIXED) + b"garbage"))


@pytest.mark.parametrize("end", [b"", b",", b",\n", b",]", b", ]\n"])
@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_an_array_that_is_cut_off_is_not_whole(end: bytes, kind: type[io.BytesIO]) -> None:
    """Also where it is cut between two orders, or no order follows a comma."""
    checked = check(SETTINGS, kind(b"[" + b",".join(GOOD) + end))
    assert (checked.valid, checked.invalid) == (len(GOOD), 1)
    assert checked.first[0].reason.startswith("Invalid JSON: ")
    assert check(SETTINGS, kind(b"[" + b",".join(GOOD) + b"]")).invalid == 0


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
@pytest.mark.parametrize("way", ["valid or nothing", "as is"])
def test_what_is_too_large_is_named_by_its_line_and_what_follows_is_sent(
    brokers: Brokers, kind: type[io.BytesIO], way: sending.Way
) -> None:
    """No matter who refuses it, and however the orders come."""
    brokers.answers = {1: TooLarge("larger than is taken")}
    sent = sending.send(SETTINGS, kind(b"\n\n".join(GOOD)), way)
    size = len(GOOD[1]) + len(json.loads(GOOD[1])["order_uid"])
    assert (sent.sent, sent.refused, sent.complete, sent.is_done) == (2, 1, True, False)
    assert sent.first_refused == [Wrong(3, "", f"{size} bytes with its key: larger than is taken")]
    assert [value for _, value in brokers.sent] == [GOOD[0], GOOD[2]]
    assert sending.sent_text(sent).splitlines() == [
        "2 sent to Kafka",
        "1 not sent, too large:",
        f"  line 3: {size} bytes with its key: larger than is taken",
        NOT_STORED,
    ]


@pytest.mark.parametrize(
    ("answer", "unknown", "error"),
    [(Unavailable("Kafka is unavailable"), 1, "Kafka is unavailable"), (KeyboardInterrupt, 1, "interrupted")],
)
def test_an_end_before_its_time_is_summed_up(
    brokers: Brokers, answer: OrdersError | type[BaseException], unknown: int, error: str
) -> None:
    """How many are in Kafka, how many may be, and why the rest was not sent."""
    brokers.answers = {2: answer}
    sent = sending.send(SETTINGS, io.BytesIO(b"\n".join(GOOD)), "as is")
    assert (sent.sent, sent.unknown, sent.error, sent.complete) == (2, unknown, error, False)
    assert not sent.is_done
    assert sent.is_interrupted is (error == "interrupted")
    assert f"the rest was not sent: {error}" in sending.sent_text(sent)
    assert "1 may be in Kafka or not" in sending.sent_text(sent)


def test_where_nothing_was_sent_the_failure_is_the_error(brokers: Brokers) -> None:
    brokers.send = refusing  # type: ignore[method-assign]
    with pytest.raises(Misconfigured, match="no such topic"):
        sending.send(SETTINGS, io.BytesIO(GOOD[0]), "as is")


def refusing(records: Iterator[tuple[bytes | None, bytes]], report: Callable[[int, Any], None]) -> int:
    """A topic that takes nothing."""
    next(records)
    report(0, Misconfigured("no such topic"))
    raise Misconfigured("no such topic")


def test_a_packed_pipe_that_breaks_off_is_summed_up(brokers: Brokers) -> None:
    """What came before the break is in Kafka."""
    packed = gzip.compress(b"\n".join(samples(2000, 3)))
    sent = sending.send(SETTINGS, Pipe(packed[:-20]), "valid or nothing")
    assert sent.sent == len(brokers.sent) > 0
    assert "is cut off" in sent.error


@pytest.mark.parametrize(
    ("config", "limit"),
    [(None, None), ({}, None), ({"max.message.bytes": "5000"}, 5000), ({"max.message.bytes": ""}, None)],
)
def test_the_topics_limit_is_known_where_its_configuration_may_be_read(
    config: dict[str, str] | None, limit: int | None
) -> None:
    assert sending.topic_limit(config) == limit


NOT_STORED = "sent is not yet stored: an ingest stores it from Kafka, and --wait waits for that"


def test_what_was_sent_is_reported_and_in_the_last_line_that_it_is_not_stored_yet() -> None:
    assert sending.sent_text(Sent("orders", 31, 1)).splitlines() == [
        "31 sent to Kafka, 1 of them without an order_uid",
        NOT_STORED,
    ]
    left_out = Sent("orders", 2, 0, 1, [Wrong(7, "", "Invalid JSON")])
    assert sending.sent_text(left_out).splitlines()[1:] == [
        "1 left out, no valid order:",
        "  line 7: Invalid JSON",
        NOT_STORED,
    ]
    assert sending.sent_text(Sent("orders", 0, 0)) == "0 sent to Kafka"


def test_after_a_wait_the_last_line_says_what_became_of_what_was_sent() -> None:
    waited = Sent("orders", 9, 0, wait=StoringResult(stored=9))
    assert waited.is_done
    assert sending.sent_text(waited).splitlines() == ["9 sent to Kafka", "9 stored"]
    partly = Sent("orders", 9, 0, wait=StoringResult(3, 2, 1, 3, ["orders/1 is stopped at offset 4: too many"]))
    assert not partly.is_done
    reason, last = sending.sent_text(partly).splitlines()[1:]
    assert reason == "  orders/1 is stopped at offset 4: too many"
    assert last.split("; ") == [
        "3 stored",
        "2 became dead letters, see `orders dead-letters list`",
        "1 skipped by `orders resume --skip`",
        "3 not stored yet",
    ]
