"""What the commands of `orders dead-letters` show, and what a replay sends."""

import base64
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orders.commands.cli import cli
from orders.dead_letters import actions
from orders.dead_letters.replay import Message, Replayed, message_of
from orders.dead_letters.stored import Action, Listed, StoredDeadLetter
from orders.decoder import read
from orders.kafka.producer import MAX_MESSAGE_BYTES
from orders.record import CONDITION_HEADER, REPLAY_HEADER, REPLY_HEADER, Record
from orders.sample import samples

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
HEADERS: list[tuple[str, bytes | None]] = [("trace", b"\xff"), ("nothing", None), ("trace", b"2")]


def a_dead_letter(**changed: Any) -> StoredDeadLetter:
    made = StoredDeadLetter(
        *(7, "orders", "topic-1", 2, 30, AT, AT, "Expected `integer`, got `string`", "$.sm_id", "open", None),
        *(b"key", b"{", [name for name, _ in HEADERS], [value for _, value in HEADERS], False, None),
    )
    return made._replace(**changed)


def listed(key: bytes | None) -> actions.DeadLetter:
    return actions.dead_letter(Listed(7, "orders", 2, 30, AT, AT, key, "Invalid JSON", "", "open", False))


def test_a_dead_letter_is_one_line() -> None:
    assert actions.line(listed(b"b563")) == (
        "     7  2026-01-02 03:04:05  open       orders[2]@30  key b563  -: Invalid JSON"
    )
    assert "key none" in actions.line(listed(None))


@given(st.binary(max_size=200))
def test_a_key_is_listed_only_where_it_is_a_valid_uid(key: bytes) -> None:
    found = listed(key)
    assert found.key_bytes == len(key)
    assert found.key is None or found.key.encode() == key
    assert actions.line(found).isprintable()


def test_a_key_that_may_be_a_name_is_its_length() -> None:
    assert listed("Иван Иванов".encode()).key is None
    assert "key of 21 bytes" in actions.line(listed("Иван Иванов".encode()))


@given(st.binary(max_size=200))
def test_bytes_are_shown_as_text_or_as_base64_and_can_be_had_back(value: bytes) -> None:
    shown = actions.readable(value)
    assert shown
    if shown.text is None:
        assert base64.b64decode(shown.base64 or "") == value
    else:
        assert shown.text.encode() == value
        assert all(each.isprintable() or each in "\n\t" for each in shown.text)


def test_an_export_has_every_byte() -> None:
    line = json.loads(msgspec.json.encode(actions.exported(a_dead_letter(key=None, value=b"\x00\xff"))))
    assert (line["key"], base64.b64decode(line["value"])) == (None, b"\x00\xff")
    assert [(name, value and base64.b64decode(value)) for name, value in line["headers"]] == [tuple(h) for h in HEADERS]


def sent(message: Message) -> Record:
    return Record(0, 99, None, message.key, message.value, tuple(message.headers))


def test_a_replay_sends_what_came_and_says_where_it_came_from() -> None:
    message = message_of(a_dead_letter(), forced=False)
    assert (message.key, message.value, message.headers[:-1]) == (b"key", b"{", HEADERS)
    replay = read(sent(message)).replay
    assert replay
    assert (replay.place, replay.time, replay.forced) == (("topic-1", 2, 30), 1767323045678, False)
    assert replay.attempt == message.attempt != message_of(a_dead_letter(), forced=False).attempt
    assert message_of(a_dead_letter(time=None), forced=False).headers[-1][1]


def test_an_edited_order_is_sent_under_its_uid_and_what_is_still_wrong_under_its_own_key() -> None:
    (order,) = samples(1, 5)
    uid = json.loads(order)["order_uid"].encode()
    edited = message_of(a_dead_letter(edited=True, edit=order), forced=False)
    assert (edited.key, edited.value) == (uid, order)
    assert message_of(a_dead_letter(edited=True, edit=b"["), forced=False).key == b"key"
    assert message_of(a_dead_letter(value=order), forced=False).key == b"key"


@pytest.mark.parametrize("forced", [False, True])
def test_headers_of_ours_are_not_sent_twice_and_a_forced_replay_has_no_condition(forced: bool) -> None:
    once = message_of(a_dead_letter(), forced=False)
    headers = [*once.headers, (REPLY_HEADER, b"1"), (CONDITION_HEADER, b"absent")]
    names, values = [name for name, _ in headers], [value for _, value in headers]
    again = message_of(a_dead_letter(offset=31, header_names=names, header_values=values), forced=forced)
    entry = read(sent(again))
    assert entry.replay
    assert (entry.replay.offset, entry.replay.forced, entry.reply) == (31, forced, False)
    assert (entry.condition is None) is forced
    assert [name for name, _ in again.headers].count(REPLAY_HEADER) == 1


def test_what_kafka_does_not_take_is_not_sent() -> None:
    assert message_of(a_dead_letter(value=b"x" * MAX_MESSAGE_BYTES), forced=False).too_large
    wide: list[Any] = ["h" * 100] * 10_000
    assert message_of(a_dead_letter(header_names=wide, header_values=[b"x"] * 10_000), forced=False).too_large
    assert not message_of(a_dead_letter(value=b"x" * 1_000_000), forced=False).too_large


def test_what_became_of_many_is_one_sentence() -> None:
    counts = Counter[str | None]({"created": 7, "unchanged": 1, "conflict": 2, "refused": 1, None: 3})
    assert actions.replayed_text(counts, 20) == (
        "8 of 20 replayed (7 created, 1 unchanged, 2 conflict, 1 refused); 3 in Kafka without an outcome yet; "
        "6 not sent"
    )


def test_replays_that_stay_open_are_a_line_each_before_the_numbers() -> None:
    counts = Counter[str | None]()
    results = [Replayed(7, "created"), Replayed(8, "refused", "Invalid JSON"), Replayed(9, None)]
    assert actions.replays_text(actions.counted(results, counts), counts, 3).splitlines() == [
        "8: refused, -: Invalid JSON",
        "9: no outcome yet",
        "1 of 3 replayed (1 created, 1 refused); 1 in Kafka without an outcome yet",
    ]


def test_an_action_has_no_field_that_does_not_apply() -> None:
    action = Action("discard", AT, "ann", "host", "discarded", None, None, "", "", None, None, None)
    shown = actions.shown_action(action)
    assert list(json.loads(msgspec.json.encode(shown))) == ["action", "at", "by_user", "by_host", "state"]
    assert actions.action_text(shown) == "2026-01-02 03:04:05  discard by ann@host"


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", ""])
def test_what_is_no_time_is_refused_with_an_example(moment: str) -> None:
    done = CliRunner().invoke(cli, ["dead-letters", "list", "--since", moment])
    assert done.exit_code == 2
    assert "2026-01-31T12:00:00+03:00" in done.output
