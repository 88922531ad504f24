"""Bytes → `Content` or `Invalid`, and a whole record → `Entry`. Pure, and the same for Kafka and POST.

A message that equals its canonical encoding byte for byte holds nothing unknown and is done; any other
(spaces, another order, unknown fields) is looked at again for what `Order` does not see. Of duplicate keys
the last one wins, in both looks. Reasons hold names, types and limits, never a value of the order.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.structs import astuple, replace

from orders import malformed
from orders.order import (
    MAX_DOCUMENT_BYTES,
    MAX_NESTING,
    MAX_UNKNOWN_FIELDS,
    Content,
    Delivery,
    Extra,
    Item,
    Order,
    Payment,
    Row,
    encode,
    is_uid,
    served_moment,
    text,
    with_unknown,
)
from orders.record import (
    CONDITION_HEADER,
    REPLAY_HEADER,
    REPLY_HEADER,
    Condition,
    Entry,
    Invalid,
    Record,
    Replay,
    Tombstone,
)


class _Parts(Struct):
    """The parts of an order with all their fields, known and unknown, as raw text."""

    delivery: dict[str, Raw]
    payment: dict[str, Raw]
    items: tuple[dict[str, Raw], ...]


class _Unknown(Struct):
    """What the second look found: unknown fields of the order, delivery and payment, and per item."""

    extra: Extra
    items: list[dict[str, Raw]]


class _RefusedError(Exception):
    """Carries an `Invalid` out of the checks."""

    def __init__(self, invalid: Invalid) -> None:
        self.invalid = invalid


_decode_order = msgspec.json.Decoder(Order).decode
_decode_parts = msgspec.json.Decoder(_Parts).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_replay = msgspec.json.Decoder(Replay).decode

_TOO_LARGE = Invalid(f"Larger than {MAX_DOCUMENT_BYTES} bytes", fault="too_large")
_SURROGATES = Invalid("Unpaired surrogates are not allowed in names or values", fault="surrogates")
_U0000 = Invalid("U+0000 is not allowed in names or values", fault="nul")
_NO_UID = Invalid("Tombstone without a valid key", fault="tombstone_key")
_CONDITION = Invalid(f"Header {CONDITION_HEADER} is neither `absent` nor `version=N`", fault="condition")
_CONDITIONS = Invalid(f"More than one header {CONDITION_HEADER}", fault="condition")
_DATE = "Expected a date-time of RFC 3339 with an offset, in the years 1 to 9999, without a leap second"
_PATTERNS = {
    "order_uid": "Expected 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`, and neither `.` nor `..`",
    "date_created": _DATE,
}

_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "None": "null"}
"""JSON's words (JSON Schema 2020-12) for those of Python in msgspec's messages; its others are JSON's already."""

_OWN_OF_ORDER = frozenset((*Order.__struct_fields__, "id"))
_OWN_OF_DELIVERY = frozenset(Delivery.__struct_fields__)
_OWN_OF_PAYMENT = frozenset(Payment.__struct_fields__)
_OWN_OF_ITEM = frozenset(Item.__struct_fields__)

_NUL = rb"\u0000"
_find_nul = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000").search
_drop_strings = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"').sub
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"{}[]"))

_replace_types = re.compile(r"`\w+(?: \| \w+)*`").sub
_replace_type = re.compile(rf"\b({'|'.join(_TYPES)})\b").sub
_find_missing = re.compile(r"Object missing required field `(.*)`").fullmatch
_find_version = re.compile(rb"version=([1-9][0-9]{0,18})").fullmatch


def decode(value: bytes, nesting: int = MAX_NESTING) -> Content | Invalid:
    """The order that a message holds, or why it is refused. Never raises.

    `nesting` is how deep objects and arrays may lie in each other, the order itself being 1.
    """
    if len(value) > MAX_DOCUMENT_BYTES:
        return _TOO_LARGE
    try:
        return _content(value, nesting)
    except _RefusedError as refused:
        return refused.invalid
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        return why(value, error, nesting)


def read(record: Record, nesting: int = MAX_NESTING) -> Entry:
    """A record and what it asks for: an order to store, an order to delete, or why neither."""
    if not record.headers:
        return Entry(record, _content_of(record, nesting))
    reply = any(name == REPLY_HEADER for name, _ in record.headers)
    replay = _replay([value for name, value in record.headers if name == REPLAY_HEADER])
    try:
        condition = _condition([value for name, value in record.headers if name == CONDITION_HEADER])
    except _RefusedError as refused:
        return Entry(record, refused.invalid, reply=reply, replay=replay)
    return Entry(record, _content_of(record, nesting), condition, reply, replay)


def _replay(values: list[bytes | None]) -> Replay | None:
    """The dead letter that a record says it replays. A header that cannot be read says nothing: nobody asked for it."""
    try:
        return _decode_replay(values[0] or b"") if len(values) == 1 else None
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _content_of(record: Record, nesting: int) -> Content | Tombstone | Invalid:
    return _tombstone(record.key) if record.value is None else decode(record.value, nesting)


def _tombstone(key: bytes | None) -> Tombstone | Invalid:
    order_uid = (key or b"").decode(errors="replace")
    return Tombstone(order_uid) if is_uid(order_uid) else _NO_UID


def _condition(values: list[bytes | None]) -> Condition | None:
    """The one condition that a record carries."""
    if not values:
        return None
    value = values[0] or b""
    if len(values) > 1:
        raise _RefusedError(_CONDITIONS)
    if value == b"absent":
        return Condition(None)
    if version := _find_version(value):
        return Condition(int(version[1]))
    raise _RefusedError(_CONDITION)


def _content(value: bytes, nesting: int) -> Content:
    order = _decode_order(value)
    instant = _instant(order.date_created)
    canonical = encode(order)
    if canonical == value:
        canonical = value  # the same bytes need no second place in memory
    unknown = None if canonical is value and _NUL not in value else _look_again(value, nesting)
    moment = _served(order.date_created, instant)
    if moment != order.date_created:
        canonical = encode(replace(order, date_created=moment))
    if unknown is None:
        return Content(_row(order, instant, encode(order.items), None), canonical)
    row = _row(order, instant, _items(order.items, unknown.items), _extra(unknown.extra))
    return Content(row, text(row))


def _instant(moment: str) -> datetime:
    try:
        return datetime.fromisoformat(moment.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _RefusedError(Invalid(_DATE, "$.date_created", "date")) from None


def unreal(moment: str) -> Invalid | None:
    """Why a date that looks like one is none, such as a 30th of February; None where it is one."""
    try:
        _instant(moment)
    except _RefusedError as refused:
        return refused.invalid
    return None


def _served(moment: str, instant: datetime) -> str:
    """`served_moment`, at a tenth of its price for whole seconds in UTC, which are as they are served."""
    return moment if len(moment) == len("2021-11-26T06:22:19Z") and moment.isupper() else served_moment(instant)


def _row(order: Order, instant: datetime, items: bytes, extra: str | None) -> Row:
    head = (order.order_uid, order.track_number, order.entry)
    tail = (
        order.locale,
        order.internal_signature,
        order.customer_id,
        order.delivery_service,
        order.shardkey,
        order.sm_id,
        instant,
        order.oof_shard,
        extra,
    )
    return Row._make((*head, *astuple(order.delivery), *astuple(order.payment), items.decode(), *tail))


def _items(items: Iterable[Item], unknown: Iterable[dict[str, Raw]]) -> bytes:
    texts = (with_unknown(encode(item), fields) for item, fields in zip(items, unknown, strict=True))
    return b"[" + b",".join(texts) + b"]"


def _extra(extra: Extra) -> str | None:
    return encode(extra).decode() if extra != Extra() else None


def _look_again(value: bytes, nesting: int) -> _Unknown | None:
    """Checks what msgspec passes over, and the unknown fields of a valid order; None without any."""
    value.decode()
    if _NUL in value and _find_nul(value):
        raise _RefusedError(_U0000)
    if _is_too_deep(value, nesting):
        raise _RefusedError(_too_deep(nesting))
    parts = _decode_parts(value)
    extra = Extra(
        _pick(_decode_fields(value), _OWN_OF_ORDER, "$"),
        _pick(parts.delivery, _OWN_OF_DELIVERY, "$.delivery"),
        _pick(parts.payment, _OWN_OF_PAYMENT, "$.payment"),
    )
    items = [_pick(fields, _OWN_OF_ITEM, f"$.items[{n}]") for n, fields in enumerate(parts.items)]
    return _Unknown(extra, items) if any(items) or extra != Extra() else None


def _pick(fields: dict[str, Raw], own: frozenset[str], path: str) -> dict[str, Raw]:
    """The unknown ones of an object's fields, sorted by name so that their order in a message makes no difference."""
    unknown = {name: fields[name] for name in sorted(fields.keys() - own)}
    if len(unknown) > MAX_UNKNOWN_FIELDS:
        raise _RefusedError(Invalid(f"Expected at most {MAX_UNKNOWN_FIELDS} unknown fields", path, "unknown_fields"))
    return unknown


def _too_deep(nesting: int) -> Invalid:
    return Invalid(f"Nested deeper than {nesting} levels", fault="too_deep")


def _is_too_deep(value: bytes, nesting: int) -> bool:
    """Whether valid JSON nests too deep: brackets alone are left, and the innermost go, layer by layer."""
    if value.count(b"[") + value.count(b"{") <= nesting:
        return False
    brackets = _drop_strings(b"", value).translate(_BRACKETS, _OTHERS)
    for _ in range(nesting):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def why(value: bytes, error: Exception, nesting: int) -> Invalid:
    """What msgspec's refusal of a text means: DecodeError, UnicodeDecodeError or RecursionError.

    It stops at the first error, so the rest may still not be JSON.
    """
    try:
        found = malformed.find(value)
    except RecursionError:
        return _too_deep(nesting)
    if found is not None:
        return Invalid(malformed.describe(value, found), fault="not_json")
    if isinstance(error, ValidationError):
        return explained(str(error))
    return _too_deep(nesting) if isinstance(error, RecursionError) else _SURROGATES


def explained(message: str, at: str = "$") -> Invalid:
    """What a ValidationError's message says, in JSON's words; `at` is the path of the value that was decoded."""
    reason, _, path = message.partition(" - at `")
    path = path.rstrip("`").replace("$", at, 1) or (at if at != "$" else "")
    if "matching regex" in reason:
        reason = _PATTERNS[path.removeprefix("$.")]
    if lacking := _find_missing(reason):
        return missing(lacking[1], path or "$")
    reason = _replace_types(lambda found: _replace_type(lambda word: _TYPES[word[1]], found[0]), reason)
    return Invalid(reason, path, "date" if reason == _DATE else "schema")


def missing(name: str, path: str) -> Invalid:
    """That the object at a path lacks a field; the fault's path is the field's."""
    return Invalid(f"Object missing required field `{name}`", f"{path}.{name}")
