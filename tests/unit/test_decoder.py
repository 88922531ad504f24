"""The decoder: what is taken comes back as it was sent, what is refused says why, and nothing is raised."""

import json
from random import Random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.decoder import decode, read
from orders.order import MAX_DOCUMENT_BYTES, MAX_UNKNOWN_FIELDS, Content, text
from orders.record import (
    CONDITION_HEADER,
    REPLAY_HEADER,
    REPLY_HEADER,
    Condition,
    Entry,
    Invalid,
    InvalidKind,
    Record,
    Replay,
    Tombstone,
)
from support.hostile import REFUSED, TAKEN, VALID, Hostile, Strange, put, without
from support.strategies import Tree, dump, instant, meaning, messages, orders, parse, variant

SEEDS = st.randoms(use_true_random=False)


def taken(message: bytes) -> Content:
    content = decode(message)
    assert isinstance(content, Content), content
    return content


def refused(message: bytes) -> Invalid:
    invalid = decode(message)
    assert isinstance(invalid, Invalid)
    return invalid


@given(messages())
def test_what_comes_back_equals_what_was_sent(message: bytes) -> None:
    assert meaning(taken(message).text) == meaning(message)


@given(messages())
def test_row_and_text_say_the_same(message: bytes) -> None:
    content = taken(message)
    assert text(content.row) == content.text
    assert content.row.date_created == instant(parse(message)["date_created"])


@given(messages())
def test_the_canonical_text_decodes_to_itself(message: bytes) -> None:
    content = taken(message)
    assert decode(content.text) == content


@given(orders(), SEEDS)
def test_spaces_escapes_and_order_of_members_make_no_difference(tree: Tree, random: Random) -> None:
    assert decode(variant(tree, random)) == decode(dump(tree).encode())


@given(messages(unknown=False))
def test_without_unknown_fields_there_is_no_extra(message: bytes) -> None:
    assert taken(message).row.extra is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(message: bytes) -> None:
    assert refused(message).reason


@given(messages(), st.lists(st.tuples(st.integers(0), st.binary(max_size=3)), min_size=1, max_size=4))
def test_damaged_messages_are_taken_whole_or_refused(message: bytes, damages: list[tuple[int, bytes]]) -> None:
    for place, damage in damages:
        at = place % len(message)
        message = message[:at] + damage + message[at + 1 :]
    content = decode(message)
    if isinstance(content, Content):
        assert meaning(content.text) == meaning(message)
        assert text(content.row) == content.text


@pytest.mark.parametrize("hostile", REFUSED, ids=lambda h: h.name)
def test_hostile_messages_are_refused_with_the_place_of_their_fault(hostile: Hostile) -> None:
    invalid = refused(hostile.value)
    assert (invalid.path, invalid.is_json) == (hostile.path, hostile.is_json)
    assert invalid.reason.startswith("Invalid JSON: ") is not hostile.is_json


def faults() -> dict[InvalidKind, Invalid | Content | Tombstone]:
    """One message for each kind of fault that the decoder finds."""
    two = ((CONDITION_HEADER, b"absent"), (CONDITION_HEADER, b"version=1"))
    many = b"".join(b',"x%d":1' % n for n in range(MAX_UNKNOWN_FIELDS + 1))
    return {
        "schema": decode(put(["sm_id"], b'"1"')),
        "not_json": decode(b"{"),
        "too_large": decode(b" " * (MAX_DOCUMENT_BYTES + 1)),
        "too_deep": decode(put(["extra"], b"[" * 200 + b"]" * 200)),
        "date": decode(put(["date_created"], b'"yesterday"')),
        "unknown_fields": decode(VALID[:-1] + many + b"}"),
        "nul": decode(put(["extra"], b'"\\u0000"')),
        "surrogates": decode(put(["entry"], b'"\\ud800"')),
        "tombstone_key": read(record(None, b"a/b")).content,
        "condition": read(record(VALID, headers=two)).content,
    }


def test_each_fault_has_its_kind() -> None:
    assert {kind: getattr(content, "fault", None) for kind, content in faults().items()} == {k: k for k in faults()}
    assert set(get_args(InvalidKind)) - set(faults()) == {"postgres"}


def test_a_date_that_no_calendar_has_is_of_the_same_kind_as_one_of_another_form() -> None:
    assert refused(put(["date_created"], b'"2021-02-30T06:22:19Z"')).fault == "date"


@pytest.mark.parametrize("strange", TAKEN, ids=lambda s: s.name)
def test_strange_messages_are_taken_and_come_back_as_they_were(strange: Strange) -> None:
    content = taken(strange.value)
    assert meaning(content.text) == meaning(strange.value)
    assert decode(content.text) == content
    assert text(content.row) == content.text


@pytest.mark.parametrize("hostile", REFUSED, ids=lambda h: h.name)
def test_reasons_are_short_and_hold_no_value_of_the_order(hostile: Hostile) -> None:
    reason = refused(hostile.value).reason
    assert len(reason) < 120
    delivery = json.loads(VALID)["delivery"]
    assert not any(value in reason for value in delivery.values())


def test_no_regular_expression_is_shown_to_a_client() -> None:
    assert "neither `.` nor `..`" in refused(put(["order_uid"], b'"a/b"')).reason
    assert "RFC 3339" in refused(put(["date_created"], b'"yesterday"')).reason


def test_a_secret_in_a_wrong_place_stays_out_of_the_reason() -> None:
    paths: list[list[str | int]] = [["order_uid"], ["date_created"], ["sm_id"], ["items", 0, "price"], ["delivery"]]
    for path in paths:
        assert "s3cr3t" not in str(refused(put(path, b'"s3cr3t /"')))
    assert "s3cr3t" not in str(refused(VALID[:-1] + b',"s3cr3t":"\\u0000s3cr3t"}'))


@pytest.mark.parametrize("path", [["extra"], ["delivery", "extra"], ["payment", "extra"], ["items", 0, "extra"]])
@pytest.mark.parametrize("raw", [b"1.10", b"[1,\n 2 ]", b'"\\u0416\\/"', b"-0", b'{"b":1,"a":1,"b":2}', b"1E400"])
def test_unknown_values_keep_their_very_bytes(path: list[str | int], raw: bytes) -> None:
    assert b'"extra":' + raw in taken(put(path, raw)).text


def test_unknown_fields_are_stored_apart_from_those_of_items() -> None:
    content = taken(put(["items", 0, "extra"], b"1.10"))
    items = json.dumps(json.loads(VALID)["items"][0], ensure_ascii=False, separators=(",", ":"))
    assert content.row.extra is None
    assert content.row.items.startswith("[" + items[:-1] + ',"extra":1.10},')
    assert taken(put(["payment", "extra"], b"1.10")).row.extra == '{"payment":{"extra":1.10}}'


def test_the_last_of_duplicate_keys_wins_on_both_paths() -> None:
    known = VALID.replace(b'"locale":', b'"locale":"xx","locale":')
    assert taken(known).text == VALID
    gone = json.dumps(json.loads(VALID)["payment"] | {"gone": 1}).encode()
    assert taken(VALID.replace(b'"payment":', b'"payment":' + gone + b',"payment":')).text == VALID
    unknown = VALID[:-1] + b',"x":1,"x":2.0}'
    assert taken(unknown).row.extra == '{"order":{"x":2.0}}'


def test_an_id_at_the_top_is_ignored_and_one_of_a_part_is_kept() -> None:
    assert taken(b'{"id":7,' + VALID[1:]) == taken(VALID)
    assert b'"id":7' in taken(put(["delivery", "id"], b"7")).text


@pytest.mark.parametrize(
    ("sent", "served"),
    [
        ("2021-11-26T06:22:19Z", "2021-11-26T06:22:19Z"),
        ("2021-11-26t06:22:19z", "2021-11-26T06:22:19Z"),
        ("2021-11-26T09:22:19+03:00", "2021-11-26T06:22:19Z"),
        ("2021-11-26T06:22:19-00:00", "2021-11-26T06:22:19Z"),
        ("2021-11-26T06:22:19.000Z", "2021-11-26T06:22:19Z"),
        ("2021-11-26T06:22:19.5Z", "2021-11-26T06:22:19.500000Z"),
        ("2021-11-26T06:22:19.999999999Z", "2021-11-26T06:22:19.999999Z"),
        ("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00Z"),
        ("9999-12-31T22:59:59.9999999-01:00", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_dates_are_cut_to_the_microsecond_and_served_in_utc(sent: str, served: str) -> None:
    content = taken(put(["date_created"], json.dumps(sent).encode()))
    assert f'"date_created":"{served}"'.encode() in content.text


def record(value: bytes | None, key: bytes | None = b"k", headers: tuple[tuple[str, bytes | None], ...] = ()) -> Record:
    return Record(0, 0, None, key, value, headers)


@pytest.mark.parametrize("key", [b"other", None, b"\xff", b""])
def test_an_order_is_taken_whatever_its_key(key: bytes | None) -> None:
    assert read(record(VALID, key)) == Entry(record(VALID, key), taken(VALID))


def test_a_null_value_deletes_the_order_of_its_key() -> None:
    assert read(record(None, b"b563feg7bdg3286ttjr67siej")).content == Tombstone("b563feg7bdg3286ttjr67siej")


@pytest.mark.parametrize("key", [None, b"", b"a/b", b".", b"..", b"a\n", b"\xff", b"a" * 129, "ж".encode()])
def test_a_null_value_without_a_valid_key_is_refused(key: bytes | None) -> None:
    assert read(record(None, key)).content == Invalid("Tombstone without a valid key", fault="tombstone_key")


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        (b"absent", Condition(None)),
        (b"version=1", Condition(1)),
        (b"version=9223372036854775807", Condition(2**63 - 1)),
    ],
)
def test_a_condition_is_read_from_its_header(value: bytes, condition: Condition) -> None:
    entry = read(record(VALID, headers=(("other", b"x"), (CONDITION_HEADER, value))))
    assert (entry.condition, entry.reply) == (condition, False)
    assert isinstance(entry.content, Content)


@pytest.mark.parametrize(
    "value", [None, b"", b"Absent", b"version=", b"version=0", b"version=-1", b"version=1\n", b"version=" + b"9" * 20]
)
@pytest.mark.parametrize("document", [VALID, None])
def test_a_malformed_condition_refuses_the_record_and_still_replies(
    value: bytes | None, document: bytes | None
) -> None:
    entry = read(record(document, headers=((CONDITION_HEADER, value), (REPLY_HEADER, None))))
    assert isinstance(entry.content, Invalid)
    assert (entry.condition, entry.reply) == (None, True)


def test_two_conditions_refuse_the_record() -> None:
    headers = ((CONDITION_HEADER, b"absent"), (CONDITION_HEADER, b"version=1"))
    assert isinstance(read(record(VALID, headers=headers)).content, Invalid)


def test_a_refused_order_keeps_its_condition_and_its_wish_for_a_reply() -> None:
    entry = read(record(b"{", headers=((REPLY_HEADER, b"1"), (CONDITION_HEADER, b"absent"))))
    assert entry.content == Invalid("Invalid JSON: unexpected end at byte 1 (line 1, column 2)", fault="not_json")
    assert entry.reply


def test_msgspec_still_stops_at_the_first_fault_and_names_its_place() -> None:
    # The split of reason and path stands on the form of msgspec's messages.
    wrong = refused(put(["items", 0, "price"], b'"x"'))
    assert wrong == Invalid("Expected `integer`, got `string`", "$.items[0].price")


def test_a_missing_field_is_named_by_its_own_path() -> None:
    """Not by that of the object that lacks it."""
    assert refused(without(["locale"])) == Invalid("Object missing required field `locale`", "$.locale")
    assert refused(without(["items", 0, "rid"])) == Invalid("Object missing required field `rid`", "$.items[0].rid")


@pytest.mark.parametrize("hostile", REFUSED, ids=lambda h: h.name)
def test_types_have_the_words_of_json(hostile: Hostile) -> None:
    """integer, number, string, boolean, null, array and object, whatever Python calls them."""
    words = {word.strip("`") for word in refused(hostile.value).reason.split() if word.startswith("`")}
    assert not words & {"int", "float", "str", "bool", "None", "list", "tuple", "dict"}


def test_each_type_of_json_is_named() -> None:
    """Where an integer is expected and something else came."""
    others = {b'"x"': "string", b"1.5": "number", b"true": "boolean", b"null": "null", b"[]": "array", b"{}": "object"}
    for value, word in others.items():
        assert refused(put(["sm_id"], value)).reason.strip("`,").rpartition("`")[2] == word
    assert refused(put(["sm_id"], b"9" * 19)).reason == "Expected `integer` <= 9223372036854775807"
    assert refused(put(["entry"], b'"' + b"x" * 1001 + b'"')).reason == "Expected `string` of length <= 1000"


REPLAYS = st.builds(
    Replay,
    topic_id=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    time=st.none() | st.integers(-(2**63), 2**63 - 1),
    attempt=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    forced=st.booleans(),
)


@given(REPLAYS)
def test_what_a_record_replays_is_read_from_its_header(replay: Replay) -> None:
    headers = ((REPLAY_HEADER, msgspec.json.encode(replay)), (CONDITION_HEADER, b"absent"))
    entry = read(record(VALID, headers=headers))
    assert (entry.replay, entry.condition) == (replay, Condition(None))
    assert read(record(b"{", headers=headers)).replay == replay
    assert read(record(b"{", headers=(headers[0], (CONDITION_HEADER, b"?")))).replay == replay


FORGED = [
    {"topic_id": ""},
    {"topic_id": "a\0b"},
    {"topic_id": "\ud800"},
    {"partition": 2**31},
    {"offset": 2**63},
    {"offset": -1},
    {"time": 2**63},
    {"attempt": "a" * 32 + "\n"},
    {"attempt": "A" * 32},
]


@given(st.none() | st.binary(max_size=80) | st.just(b"[" * 10_000))
def test_a_replay_header_that_says_nothing_changes_nothing(value: bytes | None) -> None:
    assert read(record(VALID, headers=((REPLAY_HEADER, value),))) == Entry(
        record(VALID, headers=((REPLAY_HEADER, value),)), decode(VALID)
    )


@pytest.mark.parametrize("forged", FORGED)
def test_a_replay_header_that_postgresql_could_not_take_says_nothing(forged: dict[str, object]) -> None:
    right = {"topic_id": "t", "partition": 0, "offset": 1, "attempt": "a" * 32}
    assert read(record(VALID, headers=((REPLAY_HEADER, json.dumps(right).encode()),))).replay
    assert read(record(VALID, headers=((REPLAY_HEADER, json.dumps(right | forged).encode()),))).replay is None


def test_two_replay_headers_say_nothing() -> None:
    right = json.dumps({"topic_id": "t", "partition": 0, "offset": 1, "attempt": "a" * 32}).encode()
    assert read(record(VALID, headers=((REPLAY_HEADER, right),) * 2)).replay is None
