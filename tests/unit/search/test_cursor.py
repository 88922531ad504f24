"""A cursor is read back as it was made; whatever else comes is refused, and nothing personal stands in it."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orders.search.criteria import END, FIRST, LAST, PERSONAL, Criteria, Field, Range
from orders.search.cursor import Cursor, Direction, InvalidCursorError, Position, decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80)
ids = st.integers(-(2**63), 2**63 - 1)
uids = st.from_regex(r"[A-Za-z0-9._~-]{1,128}", fullmatch=True)
directions: st.SearchStrategy[Direction] = st.sampled_from(["next", "prev"])


class Listed(NamedTuple):
    criteria: Criteria
    position: Position


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    since, until = sorted(draw(st.lists(st.integers(FIRST, END), min_size=2, max_size=2, unique=True)))
    return Range(draw(st.sampled_from(["created", "received"])), since, until)


PHONES = ["+7 916 123-45-67", "9161234567", "0000"]


@st.composite
def listed(draw: st.DrawFn, fields: Sequence[Field | None] = (None, "track_number", *PERSONAL)) -> Listed:
    """Criteria and a place in their list."""
    field = draw(st.sampled_from(fields))
    within = None if field in {"q", "name_prefix"} else draw(st.none() | ranges())
    value = draw(st.sampled_from(PHONES) if field == "phone" else texts) if field else ""
    key: int | str | None = None
    if field == "name_prefix":
        key = draw(texts)[:64]
    elif field is None and within:
        key = draw(st.integers(within.since, min(within.until - 1, LAST)))
    return Listed(Criteria(field, value, within), Position(draw(ids), draw(uids), key))


@given(listed(), directions)
def test_a_cursor_is_read_back(list_: Listed, direction: Direction) -> None:
    """Beside its filters, or without them where nothing is personal."""
    criteria, position = list_
    text = encode(criteria, direction, position)
    assert decode(text, criteria) == Cursor(1, criteria, decode(text, criteria).check, direction, position)
    if not criteria.is_personal:
        assert decode(text, Criteria()).criteria == criteria
    assert text.isascii()
    assert "=" not in text.rstrip("=")
    assert len(text) < 4_000


@given(listed(tuple(PERSONAL)), directions)
def test_nothing_personal_stands_in_a_cursor(list_: Listed, direction: Direction) -> None:
    """Neither as it is nor in what its base64 holds, nor the name where a list of names continues."""
    criteria, position = list_
    text = encode(criteria, direction, position)
    shown = json.loads(urlsafe_b64decode(text + "==="))
    assert shown[1][1] == ""
    assert shown[4][:2] == [position.id, position.order_uid]
    if isinstance(position.key, str) and len(position.key) > 3:
        masked = urlsafe_b64decode(shown[4][2])
        assert position.key.encode() not in {masked, shown[4][2].encode()}


def test_the_same_name_is_masked_in_another_way_for_each_order() -> None:
    """Or who reads several cursors would see which orders have the same name."""
    criteria = Criteria("name_prefix", "an")
    places = [Position(number, "a", "anna") for number in range(9)]
    shown = [json.loads(urlsafe_b64decode(encode(criteria, "next", place) + "===")) for place in places]
    assert len({each[4][2] for each in shown}) == 9


@given(listed(), listed(), directions)
def test_a_cursor_of_other_filters_is_refused(one: Listed, other: Listed, direction: Direction) -> None:
    """But for one of some 65,000 searches by another value, which two bytes do not tell apart."""
    (mine, position), (others, _) = one, other
    assume(others not in (mine, Criteria()) and mine.field != others.field)
    assume({mine.field, others.field} != {"q", "name_prefix"})
    with pytest.raises(InvalidCursorError, match="belongs to"):
        decode(encode(mine, direction, position), others)


def test_a_cursor_of_a_search_needs_its_body() -> None:
    text = encode(Criteria("phone", "9161234567"), "next", Position(1, "a"))
    for given_ in (Criteria(), Criteria("phone", "9161234568"), Criteria("name", "9161234567")):
        with pytest.raises(InvalidCursorError, match="repeat the body of the search"):
            decode(text, given_)


def test_a_search_of_anything_continues_as_one_of_names() -> None:
    """Where it became one, because no field had the text as a whole."""
    text = encode(Criteria("name_prefix", "an"), "next", Position(1, "a", "anna"))
    cursor = decode(text, Criteria("q", "an"))
    assert (cursor.criteria, cursor.position.key) == (Criteria("name_prefix", "an"), "anna")


def refused_or_sound(text: str, given: Criteria) -> None:
    try:
        cursor = decode(text, given)
    except InvalidCursorError:
        return
    within = cursor.criteria.range
    assert "\0" not in f"{cursor.position}{cursor.criteria}"
    assert within is None or FIRST <= within.since < within.until <= END
    assert within is None or not isinstance(key := cursor.position.key, int) or within.since <= key < within.until


@given(st.text(st.characters()) | st.binary().map(lambda each: urlsafe_b64encode(each).decode()))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    refused_or_sound(text, Criteria())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["q", "created", "next", 1]),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=4,
)


@given(listed(), directions, st.data())
def test_a_cursor_that_was_changed_is_sound_or_refused(
    list_: Listed, direction: Direction, data: st.DataObject
) -> None:
    """Whatever value of its array is another one, and whatever letter of its text."""
    criteria, position = list_
    text = encode(criteria, direction, position)
    at = data.draw(st.integers(0, len(text) - 1))
    refused_or_sound(text[:at] + data.draw(st.characters()) + text[at + 1 :], criteria)
    refused_or_sound(text[:at], criteria)
    parts = json.loads(urlsafe_b64decode(text + "==="))
    holder = data.draw(st.sampled_from([parts, parts[1], parts[4]]))
    holder[data.draw(st.integers(0, len(holder) - 1))] = data.draw(json_values)
    refused_or_sound(urlsafe_b64encode(json.dumps(parts).encode()).decode(), criteria)


@pytest.mark.parametrize("text", ["", "null", "[" * 10_000, '"\\ud800"', "[1,[null]]", "ж"])
def test_what_is_no_cursor(text: str) -> None:
    for each in (text, urlsafe_b64encode(text.encode()).decode()):
        with pytest.raises(InvalidCursorError, match="no cursor of a list"):
            decode(each, Criteria())
