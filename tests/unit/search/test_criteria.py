"""What a list can be asked for, and in which words the rest is refused."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.search.criteria import (
    END,
    FIRST,
    INDEXES,
    LONGEST,
    PERSONAL,
    Criteria,
    Field,
    InvalidCriteriaError,
    Range,
    Time,
    criteria_of,
    digits,
    fields_of,
    filters_of,
    microseconds,
    moment,
)

FIELDS: tuple[Field, ...] = get_args(Field)
MOMENT = (
    "must be a date, as 2026-11-30, which begins at midnight in UTC, or a date-time of RFC 3339 with its offset, "
    "as 2026-11-30T12:00:00Z (in a URL, write + as %2B)"
)
PHONE = "+7 916"
moments = st.datetimes(timezones=st.just(UTC))


def refusal(given: Mapping[str, str | None]) -> tuple[str, str]:
    """Of which argument, and why."""
    with pytest.raises(InvalidCriteriaError) as caught:
        criteria_of(given, FIELDS)
    assert str(caught.value) == f"{caught.value.argument} {caught.value.reason}"
    return caught.value.argument, caught.value.reason


@pytest.mark.parametrize(
    ("given", "argument", "reason"),
    [
        ({"name": ""}, "name", "must not be empty"),
        ({"q": "x" * 1001}, "q", "must have at most 1000 characters"),
        ({"email": "a\0"}, "email", "must not have U+0000, which no order has"),
        ({"phone": "home"}, "phone", "must have a digit"),
        ({"phone": "٣٤٥"}, "phone", "must have a digit"),
        (
            {"phone": "1", "track_number": "A"},
            "phone",
            "cannot be given beside track_number: a list is by one of them",
        ),
        ({"q": "a", "created_from": "2026-01-01"}, "created_from", "cannot be given beside q"),
        ({"name_prefix": "a", "received_to": "2026-01-01"}, "received_to", "cannot be given beside name_prefix"),
        (
            {"created_from": "2026-01-01", "received_to": "2026-01-01"},
            "received_to",
            "cannot be given beside created_from: a list is by one time",
        ),
        ({"created_from": "2026-01-02", "created_to": "2026-01-01"}, "created_from", "must be before created_to"),
        ({"received_from": "2026-01-01", "received_to": "2026-01-01"}, "received_from", "must be before received_to"),
        *[
            ({"created_to": text}, "created_to", MOMENT)
            for text in (
                "",
                "today",
                "2026-02-30",
                "2026-01-01T00:00:00",
                "2026-01-01T00:00:00 03:00",
                "20260101",
                "1767225600",
                "10000-01-01",
                "infinity",
            )
        ],
    ],
)
def test_what_no_list_has(given: dict[str, str | None], argument: str, reason: str) -> None:
    assert refusal(given) == (argument, reason)


@given(st.sampled_from(FIELDS), st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=LONGEST))
def test_a_field_has_its_value_as_it_was_given(field: Field, value: str) -> None:
    value = PHONE if field == "phone" else value
    assert criteria_of({field: value}, FIELDS) == Criteria(field, value)
    assert criteria_of({field: value}, ()) == Criteria(), "a field that is not offered is not read"


@given(st.sampled_from(get_args(Time)), moments, moments, st.integers(-23, 23))
def test_a_range_of_date_times(by: Time, since: datetime, until: datetime, hours: int) -> None:
    """In any offset; one that is empty is refused."""
    given = {f"{by}_from": since.isoformat(), f"{by}_to": until.isoformat()}
    if since >= until:
        assert refusal(given)[0] == f"{by}_from"
    else:
        expected = Criteria(range=Range(by, microseconds(since), microseconds(until)))
        assert criteria_of(given, FIELDS) == expected
        assert criteria_of({**given, "customer_id": "c"}, FIELDS).range == expected.range
    shifted = (since.replace(tzinfo=None)).isoformat() + f"{'-' if hours < 0 else '+'}{abs(hours):02}:00"
    found = criteria_of({f"{by}_from": shifted}, FIELDS).range
    assert found == Range(by, max(FIRST, microseconds(since) - hours * 3_600_000_000), END) or since.year == 9999


@given(st.dates())
def test_a_date_begins_at_midnight_in_utc(day: date) -> None:
    found = criteria_of({"created_from": day.isoformat()}, FIELDS).range
    assert found == Range("created", microseconds(datetime.combine(day, time(), UTC)), END)


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with suppress(InvalidCriteriaError):
        criteria_of({"created_from": text}, FIELDS)


@given(moments)
def test_microseconds_of_a_moment(at: datetime) -> None:
    assert moment(microseconds(at)) == at
    assert moment(microseconds(at) + 1 - 1) - at == timedelta()


def test_what_needs_an_index() -> None:
    """A field, whether a range is given beside it or not; a range by itself; all orders need none."""
    created = Range("created", 0, 1)
    assert Criteria().searched is None
    assert Criteria(range=created).searched == "created"
    assert Criteria("phone", "1", created).searched == "phone"
    assert set(INDEXES) == {*FIELDS, *get_args(Time)} - {"q"}


def test_which_filters_stand_on_an_index() -> None:
    assert filters_of("orders_by_date_created") == ["created_from", "created_to"]
    assert filters_of("orders_by_phone") == ["phone"]


def test_what_tells_who_somebody_is() -> None:
    assert {field for field in FIELDS if Criteria(field, "x").is_personal} == PERSONAL
    assert not Criteria().is_personal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("+7 (916) 123-45-67", "9161234567"),
        ("8 916 123 45 67", "9161234567"),
        ("972", "972"),
        ("٣٤٥", ""),
        ("¹²", ""),
        ("", ""),
    ],
)
def test_the_digits_that_a_phone_number_is_compared_by(text: str, found: str) -> None:
    assert digits(text) == found


ALWAYS = {"track_number", "customer_id", "transaction", "name"}


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("b563feg7bdg3286ttjr67siej", {"order_uid"}),
        ("+7 (916) 123-45-67", {"phone"}),
        ("9161234567", {"order_uid", "phone"}),
        ("123", {"order_uid"}),
        ("a@example.com", {"email"}),
        ("1234@5678", {"email"}),
        ("Anna K", set()),
        ("flat 1234", set()),
    ],
)
def test_in_which_fields_any_text_may_stand(text: str, more: set[str]) -> None:
    """So that nothing is looked up that cannot be there."""
    assert set(fields_of(text)) == ALWAYS | more
