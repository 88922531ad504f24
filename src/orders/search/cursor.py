"""Where a list continues, as a text that only the service reads: criteria, direction and the last key. Pure.

The text is URL-safe base64 of a JSON array. It is no secret and is not signed: anyone who writes one gets what the
same criteria give. A personal value is left out, and is to be given again beside the cursor; two bytes of its hash tell
most cursors of another value. The name where a list of names continues is masked by that value: the cursor alone does
not show it, though who guesses the value reads it.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b, shake_256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from orders.search.criteria import END, FIRST, LAST, Criteria, wrong_value

Direction = Literal["next", "prev"]
BigInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
CHANGED = "This cursor was changed: take `next` or `prev` of an answer as it is."
_VERSION: Literal[1] = 1


class Position(Struct, frozen=True, array_like=True):
    """The key of an order in a list: its id and uid, before them what the list is by: microseconds, or a name."""

    id: BigInt
    order_uid: Annotated[str, Meta(max_length=1_000)]
    key: Annotated[int, Meta(ge=FIRST, le=LAST)] | Annotated[str, Meta(max_length=1_000)] | None = None


class Cursor(Struct, frozen=True, array_like=True):
    """Continue behind (next) or before (prev) a position."""

    version: Literal[1]
    criteria: Criteria
    check: str
    direction: Direction
    position: Position


class InvalidCursorError(Exception):
    """A text is no cursor, or one of other criteria; its text is the reason, as a sentence."""


def encode(criteria: Criteria, direction: Direction, position: Position) -> str:
    """The text of a cursor."""
    shown = replace(criteria, value="") if criteria.is_personal else criteria
    check = _check(criteria.value) if criteria.is_personal else ""
    if isinstance(position.key, str):
        masked = _mask(position.key.encode(), criteria.value, position)
        position = replace(position, key=urlsafe_b64encode(masked).decode())
    cursor = Cursor(_VERSION, shown, check, direction, position)
    return urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def decode(text: str, given: Criteria) -> Cursor:
    """The cursor of a text, with the criteria of the list; `given` are those of the request that has it, or none.

    Raises `InvalidCursorError`.
    """
    cursor = _read(text)
    stored = cursor.criteria
    if stored.is_personal:
        if not _continues(given, cursor):
            raise InvalidCursorError("The cursor belongs to another search: repeat the body of the search beside it.")
        position = _unmasked(cursor.position, given.value)
        return replace(cursor, criteria=replace(stored, value=given.value), position=position)
    if given not in (Criteria(), stored):
        raise InvalidCursorError(
            "The cursor belongs to other filters: leave the filters out, or repeat them as they were."
        )
    return cursor


def _continues(given: Criteria, cursor: Cursor) -> bool:
    """A search of `q` that finds nothing as a whole continues as one of beginnings of names."""
    kind = cursor.criteria.field
    same = given.field == kind or (given.field == "q" and kind == "name_prefix")
    return same and given.range == cursor.criteria.range and _check(given.value) == cursor.check


def _read(text: str) -> Cursor:
    try:
        cursor = msgspec.json.decode(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)), type=Cursor)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise InvalidCursorError("This is no cursor of a list: take `next` or `prev` of an answer as it is.") from None
    if not _is_sound(cursor):
        raise InvalidCursorError(CHANGED)
    return cursor


def _unmasked(position: Position, value: str) -> Position:
    if not isinstance(position.key, str):
        return position
    try:
        key = _mask(urlsafe_b64decode(position.key.encode()), value, position).decode()
    except ValueError:
        raise InvalidCursorError(CHANGED) from None
    if "\0" in key:
        raise InvalidCursorError(CHANGED)
    return replace(position, key=key)


def _mask(key: bytes, value: str, position: Position) -> bytes:
    """A key masked, or a masked key as it was: each order has a mask of its own."""
    mask = shake_256(f"{position.id} {position.order_uid} {value}".encode()).digest(len(key))
    return bytes(a ^ b for a, b in zip(key, mask, strict=True))


def _is_sound(cursor: Cursor) -> bool:
    """Whether the service can have made it."""
    criteria, position = cursor.criteria, cursor.position
    if "\0" in position.order_uid:
        return False
    if criteria.field is None or criteria.is_personal:
        value = not criteria.value
    else:
        value = not wrong_value(criteria.field, criteria.value)
    by_time = criteria.field is None and criteria.range is not None
    kind = int if by_time else str if criteria.field == "name_prefix" else type(None)
    return value and isinstance(position.key, kind) and _in_range(criteria, position)


def _in_range(criteria: Criteria, position: Position) -> bool:
    within = criteria.range
    if within is None:
        return True
    is_there = not isinstance(position.key, int) or within.since <= position.key < within.until
    return is_there and FIRST <= within.since < within.until <= END


def _check(value: str) -> str:
    return blake2b(value.encode(), digest_size=2).hexdigest()
