"""Where a text stops being JSON: the position and the kind are right, and nothing of the text is repeated."""

import json
from codecs import BOM_UTF8
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orders.malformed import AFTER, BOM, END, NOT_UTF8, Malformed, TextStart, describe, find
from support.hostile import NOT_JSON, TAKEN, VALID
from support.mutations import mutations
from support.strategies import messages

SYNTAX = {
    "expected ','",
    "expected ':'",
    "expected '\"'",
    "expected ',' or ']'",
    "expected ',' or '}'",
    "trailing comma in array",
    "trailing comma in object",
    "invalid character",
    "invalid number",
    "invalid escaped character",
    "invalid character in unicode escape",
}
MARK = "qx7persona"


def found_in(text: bytes) -> Malformed:
    found = find(text)
    assert found is not None
    return found


def is_json(text: bytes) -> bool:
    """By Python's own decoder, without the words that it takes beside JSON, and without a mark at the beginning."""
    try:
        json.loads(text.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True


def refuse(word: str) -> Any:
    raise ValueError(word)


@pytest.mark.parametrize(
    ("text", "at", "kind"),
    [
        (b"", 0, END),
        (b" \n", 2, END),
        (b'{"a":1', 6, END),
        (b'{"a":tru', 8, END),
        (b'{"a":"\xd0', 7, END),
        (b'["\\u00', 6, END),
        (b"[-", 2, END),
        (b"{} x", 3, AFTER),
        (b'{"a":1}}', 7, AFTER),
        (b"{}\0", 2, AFTER),
        (b"{}\xff", 2, AFTER),
        (BOM_UTF8 + b"{}", 0, BOM),
        (BOM_UTF8, 0, BOM),
        ("{}".encode("utf-16"), 0, NOT_UTF8),
        (b'{"a":"\xff"}', 6, NOT_UTF8),
        (b'{"a":"\xed\xa0\x80"}', 6, NOT_UTF8),
        (b'{"a":01,"b":"\xff"}', 6, "invalid number"),
        (b'{"a":nul}', 8, "invalid character"),
        (b"[trx", 3, "invalid character"),
        (b"[f]", 2, "invalid character"),
        (b'["\\u"]', 4, "invalid character in unicode escape"),
        (b'["\\u12G4"]', 6, "invalid character in unicode escape"),
        (b'["\\q"]', 3, "invalid escaped character"),
        (b'["a\nb"]', 3, "invalid character"),
        (b"{'a':1}", 1, "expected '\"'"),
        (b'{"a" 1}', 5, "expected ':'"),
        (b'{"a":1 "b":2}', 7, "expected ',' or '}'"),
        (b"[1 2]", 3, "expected ',' or ']'"),
        (b'{"a":1,}', 7, "trailing comma in object"),
        (b"[1,]", 3, "trailing comma in array"),
        (b"NaN", 0, "invalid character"),
    ],
)
def test_the_first_byte_that_cannot_stand_there_is_named(text: bytes, at: int, kind: str) -> None:
    assert find(text) == Malformed(at, kind)


@pytest.mark.parametrize("text", [b"1", b' {"a":[]}\n', b'"\\ud800"', *(each.value for each in TAKEN)])
def test_in_json_nothing_is_found(text: bytes) -> None:
    assert find(text) is None


@given(st.binary(max_size=60) | st.text('{}[]",:\\u0123eEtrufalsn-. \n').map(str.encode) | mutations())
def test_of_any_bytes_the_fault_is_where_it_is_and_of_its_kind(text: bytes) -> None:
    """What comes before could be the beginning of JSON, and whatever follows the byte makes none of it."""
    try:
        found = find(text)
    except RecursionError:
        return
    assert (found is None) == is_json(text)
    if found is None:
        return
    assert found.kind in SYNTAX | {AFTER, BOM, END, NOT_UTF8}
    assert (found.at == len(text)) == (found.kind == END)
    assert (found.kind == BOM) == text.startswith(BOM_UTF8)
    before = find(text[: found.at])
    assert before in {None, Malformed(found.at, END)}
    assert (found.kind == AFTER) == (before is None and found.at < len(text))
    if found.kind not in {END, BOM, NOT_UTF8}:
        character = text[found.at :].decode(errors="replace")[0]
        assert find(text[: found.at] + character.encode() + b"\0") == found


@given(messages(), st.data())
def test_a_text_that_breaks_off_ends_too_early(message: bytes, data: st.DataObject) -> None:
    """Also within a character, an escape, a literal or a number."""
    end = data.draw(st.integers(0, len(message.rstrip()) - 1))
    assert find(message[:end]) == Malformed(end, END)


@given(messages(), st.text(" \n", max_size=3), st.binary(min_size=1, max_size=20))
def test_what_follows_the_end_is_found(message: bytes, space: str, more: bytes) -> None:
    assume(more[:1] not in b" \t\r\n")
    text = message.rstrip() + space.encode()
    assert find(text + more) == Malformed(len(text), AFTER)


@given(messages(), st.data())
def test_a_byte_that_is_not_utf_8_is_found(message: bytes, data: st.DataObject) -> None:
    """Put between any two characters of an order."""
    text = message.strip().decode()
    ends = list(accumulate(len(each.encode()) for each in text))
    at = data.draw(st.sampled_from([0, *ends[:-1]]))
    wrong = data.draw(st.sampled_from([b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80"]))
    message = text.encode()
    found = found_in(message[:at] + wrong + message[at:])
    assert found == Malformed(at, NOT_UTF8)


@given(mutations())
def test_no_part_of_the_text_is_repeated(text: bytes) -> None:
    """Orders with marks in place of what is personal, broken in any way."""
    for name in ("name", "phone", "email", "address", "city"):
        text = text.replace(json.dumps(json.loads(VALID)["delivery"][name]).encode(), f'"{MARK}"'.encode())
    try:
        found = find(text + MARK.encode())
    except RecursionError:
        return
    assert MARK not in describe(text, found_in(text + MARK.encode()))
    assert found is not None


@pytest.mark.parametrize("hostile", NOT_JSON, ids=lambda each: each.name)
def test_every_text_of_the_corpus_has_a_position(hostile: Any) -> None:
    assert 0 <= found_in(hostile.value).at <= len(hostile.value)


@given(st.text(st.sampled_from("жa\n🙂 "), max_size=20), st.integers(0, 99), st.integers(1, 9), st.integers(1, 9))
def test_a_person_is_shown_line_and_column(text: str, byte: int, line: int, column: int) -> None:
    """Columns count characters, from that at which the text starts in its file."""
    value = text.encode()
    above, _, last = text.rpartition("\n")
    lines = text.count("\n")
    where = f"(line {line + lines}, column {len(last) + (1 if lines else column)})"
    said = describe(value, Malformed(len(value), END), TextStart(byte, line, column))
    assert said == f"Invalid JSON: unexpected end at byte {byte + len(value)} {where}"
    assert above.count("\n") == max(0, lines - 1)
