"""What a list of orders can be asked for: one field, a range of one time, or both. Pure.

A field is searched by its b-tree, which has (term, id); a time by its own, which has (time, id). See
docs/decisions/0037-search-by-b-trees.md.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from orders.order import is_uid

Field = Literal["track_number", "customer_id", "transaction", "phone", "email", "name", "name_prefix", "q"]
"""`q` is any text: it is looked for in all of the others, and as a uid."""
Time = Literal["created", "received"]
Exact = Literal["order_uid", "track_number", "customer_id", "transaction", "phone", "email", "name"]
"""Where a text of `q` may stand as a whole."""

PERSONAL: frozenset[Field] = frozenset({"phone", "email", "name", "name_prefix", "q"})
"""Fields whose values never stand in a URL, a log or a cursor."""
LONGEST = 1_000
"""Characters of the longest value: no field of an order is longer."""
PHONE_DIGITS = 10
"""Last digits of a phone number that count: a trunk prefix or a country code before them is written variously."""
FEWEST_DIGITS = 4
"""Digits from which on a text of `q` may be a phone number."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(since_epoch: int) -> datetime:
    """Of microseconds since 1970, which lie in the years 1 to 9999. Raises `OverflowError`."""
    return _EPOCH + timedelta(microseconds=since_epoch)


FIRST, LAST = microseconds(datetime.min.replace(tzinfo=UTC)), microseconds(datetime.max.replace(tzinfo=UTC))
"""The moments that a `datetime` holds; rows changed by hand may have others, which no range has."""
END = LAST + 1
"""Where a range ends that has no `until`: the year 10000, which no `datetime` holds."""

INDEXES: Mapping[Field | Time, str] = {
    "track_number": "orders_by_track_number",
    "customer_id": "orders_by_customer_id",
    "transaction": "orders_by_transaction",
    "phone": "orders_by_phone",
    "email": "orders_by_email",
    "name": "orders_by_name",
    "name_prefix": "orders_by_name_prefix",
    "created": "orders_by_date_created",
    "received": "orders_by_record_time",
}
"""Which index answers a field, or a range of a time. Some are made by hand where they are wanted: docs/search.md."""


class Range(Struct, frozen=True, array_like=True):
    """Orders whose time is at or after `since` and before `until`, in microseconds from 1970 (UTC)."""

    time: Time
    since: int
    until: int


class Criteria(Struct, frozen=True, array_like=True):
    """Which orders a list has; all orders without any."""

    field: Field | None = None
    value: str = ""
    range: Range | None = None

    @property
    def is_personal(self) -> bool:
        """Whether the value may tell who somebody is."""
        return self.field in PERSONAL

    @property
    def searched(self) -> Field | Time | None:
        """What must have an index; None for the list of all orders, whose index is always there."""
        return self.field or (self.range.time if self.range else None)


class InvalidCriteriaError(Exception):
    """These are no criteria of a list: the argument that is wrong, and what it must be, as the rest of a sentence."""

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(f"{argument} {reason}")
        self.argument = argument
        self.reason = reason


def criteria_of(given: Mapping[str, str | None], fields: Sequence[Field]) -> Criteria:
    """Criteria of named texts: one of `fields`, and `created_from`, `created_to`, `received_from`, `received_to`.

    Raises `InvalidCriteriaError`.
    """
    named = [(field, value) for field in fields if (value := given.get(field)) is not None]
    if len(named) > 1:
        raise InvalidCriteriaError(named[1][0], f"cannot be given beside {named[0][0]}: a list is by one of them")
    field, value = named[0] if named else (None, "")
    if field and (reason := wrong_value(field, value)):
        raise InvalidCriteriaError(field, reason)
    return Criteria(field, value, _range(given, field))


def _range(given: Mapping[str, str | None], field: Field | None) -> Range | None:
    times: tuple[Time, ...] = get_args(Time)
    texts = {f"{each}_{end}": given.get(f"{each}_{end}") for each in times for end in ("from", "to")}
    named = [argument for argument, text in texts.items() if text is not None]
    if not named:
        return None
    by: Time = "created" if named[0].startswith("created") else "received"
    if field in {"q", "name_prefix"}:
        raise InvalidCriteriaError(named[0], f"cannot be given beside {field}")
    if not named[-1].startswith(by):
        raise InvalidCriteriaError(named[-1], f"cannot be given beside {named[0]}: a list is by one time")
    begins = _moment(f"{by}_from", texts[f"{by}_from"], FIRST)
    ends = _moment(f"{by}_to", texts[f"{by}_to"], END)
    if begins >= ends:
        raise InvalidCriteriaError(f"{by}_from", f"must be before {by}_to")
    return Range(by, begins, ends)


def _moment(argument: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    for kind in (date, datetime):
        try:
            read = msgspec.convert(text, kind)
        except msgspec.ValidationError:
            continue
        if not isinstance(read, datetime):
            return microseconds(datetime.combine(read, time.min, UTC))
        if read.tzinfo:
            return min(max(microseconds(read), FIRST), LAST)
    raise InvalidCriteriaError(
        argument,
        "must be a date, as 2026-11-30, which begins at midnight in UTC, or a date-time of RFC 3339 with its offset, "
        "as 2026-11-30T12:00:00Z (in a URL, write + as %2B)",
    )


def filters_of(index: str) -> list[str]:
    """Which arguments of a list or a search need an index."""
    named = [each for each, name in INDEXES.items() if name == index]
    return [name for each in named for name in ([f"{each}_from", f"{each}_to"] if each in get_args(Time) else [each])]


def wrong_value(field: Field, value: str) -> str:
    """What is wrong with a value, in words that follow the field's name; empty if nothing is."""
    if not value:
        return "must not be empty"
    if len(value) > LONGEST:
        return f"must have at most {LONGEST} characters"
    if "\0" in value:
        return "must not have U+0000, which no order has"
    if field == "phone" and not digits(value):
        return "must have a digit"
    return ""


def digits(text: str) -> str:
    """The digits of ASCII in a text that a phone number is compared by: the last ten, or all if there are fewer."""
    return "".join(each for each in text if each in "0123456789")[-PHONE_DIGITS:]


def fields_of(text: str) -> tuple[Exact, ...]:
    """In which fields a text of `q` may stand as a whole, `order_uid` first."""
    can_be = {
        "order_uid": bool(is_uid(text)),
        "phone": len(digits(text)) >= FEWEST_DIGITS and not any(each.isalpha() or each == "@" for each in text),
        "email": "@" in text,
    }
    return tuple(each for each in get_args(Exact) if can_be.get(each, True))
