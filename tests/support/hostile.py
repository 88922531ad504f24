"""Messages that nobody should send: those that are refused, and those that look bad and are good.

They go through the decoder, Kafka and POST alike.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from orders.sample import samples

VALID = next(samples(1, seed=0))
_MARK = "@@@"


class Hostile(NamedTuple):
    """A message that is refused, with the path of its fault; not `is_json`: POST answers 400, else 422."""

    name: str
    value: bytes
    path: str = ""
    is_json: bool = True


class Strange(NamedTuple):
    """A message that is taken."""

    name: str
    value: bytes


def put(path: Sequence[str | int], raw: bytes) -> bytes:
    """The valid order with raw JSON text at a place, which may be new."""
    order: Any = json.loads(VALID)
    node = order
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = _MARK
    return json.dumps(order).encode().replace(f'"{_MARK}"'.encode(), raw)


def without(path: Sequence[str | int]) -> bytes:
    """The valid order without one field."""
    order: Any = json.loads(VALID)
    node = order
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return json.dumps(order).encode()


def jsonpath(path: Sequence[str | int]) -> str:
    """`("items", 0, "price")` → `$.items[0].price`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def member(name: bytes) -> bytes:
    """The valid order with one more field of a raw name (what stands between the quotes)."""
    return VALID[:-1] + b',"' + name + b'":1}'


def nested(depth: int) -> bytes:
    """The valid order, nested this deep: itself and arrays in an unknown field."""
    return put(["extra"], b"[" * (depth - 1) + b"]" * (depth - 1))


_PRICE, _PHONE, _UID, _DATE = ("items", 0, "price"), ("delivery", "phone"), ("order_uid",), ("date_created",)
_PLACES: list[tuple[str | int, ...]] = [
    ("delivery", "extra"),
    ("payment", "extra"),
    ("items", 0, "extra"),
    _PHONE,
    ("items",),
    ("id",),
]
_DELIVERY = json.dumps(json.loads(VALID)["delivery"] | {"gone": 1}).encode()
_ITEM = json.dumps(json.loads(VALID)["items"][0]).encode()


def _wrong(path: Sequence[str | int], *values: bytes) -> list[Hostile]:
    return [Hostile(f"{jsonpath(path)} {value[:40]!r}", put(path, value), jsonpath(path)) for value in values]


def _without(*path: str | int) -> Hostile:
    return Hostile(f"without {jsonpath(path)}", without(path), jsonpath(path))


def _twice(value: bytes, part: bytes) -> bytes:
    """A part of an order whose first field is there before, with another value."""
    first = value.partition(part)[2].partition(b",")[0]
    name, _, was = first.partition(b":")
    return value.replace(part, part + name + b":" + (b'"first"' if was.startswith(b'"') else b"0") + b",", 1)


def _not_json(name: str, value: bytes) -> Hostile:
    return Hostile(name, value, is_json=False)


NOT_JSON = [
    _not_json("empty", b""),
    _not_json("blank", b" \n"),
    _not_json("truncated", VALID[:-1]),
    _not_json("truncated in a string", VALID[:30]),
    _not_json("two documents", VALID + VALID),
    _not_json("single quotes", VALID.replace(b'"', b"'")),
    _not_json("trailing comma", VALID[:-1] + b",}"),
    _not_json("comment", VALID + b"// no"),
    _not_json("BOM", b"\xef\xbb\xbf" + VALID),
    _not_json("UTF-16", VALID.decode().encode("utf-16")),
    *[_not_json(form, VALID.decode().encode(form)) for form in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")],
    _not_json("UTF-32", VALID.decode().encode("utf-32")),
    _not_json("zeros", bytes(1000)),
    _not_json("Avro with Confluent's magic byte", b"\0\0\0\0\x07" + VALID),
    _not_json("NaN", put(_PRICE, b"NaN")),
    _not_json("NaN, unknown", put(["extra"], b"NaN")),
    _not_json("Infinity, unknown", put(["extra"], b"[-Infinity]")),
    _not_json("leading zero", put(["extra"], b"01")),
    _not_json("plus sign", put(_PRICE, b"+1")),
    _not_json("bad escape", put(["extra"], rb'"\x41"')),
    _not_json("control character", put(_PHONE, b'"a\nb"')),
    _not_json("U+0000 unescaped", put(_PHONE, b'"\0"')),
    _not_json("invalid UTF-8", put(_PHONE, b'"\xff"')),
    _not_json("invalid UTF-8, unknown", put(["extra"], b'{"a":["\xff"]}')),
    _not_json("invalid UTF-8, unknown of an item", put(["items", 0, "extra"], b'"\xc3("')),
    _not_json("invalid UTF-8, unknown name", member(b"\xff")),
    _not_json("invalid UTF-8, ignored id", put(["id"], b'"\xff"')),
    _not_json("invalid UTF-8, first of two", VALID[:-1] + b',"x":"\xff","x":1}'),
    _not_json("overlong UTF-8, unknown", put(["extra"], b'"\xc0\x80"')),
    _not_json("surrogate in UTF-8, unknown", put(["extra"], b'"\xed\xa0\x80"')),
    _not_json("overlong UTF-8", put(_PHONE, b'"\xc0\xaf"')),
    _not_json("surrogate in UTF-8", put(_PHONE, b'"\xed\xa0\xbd\xed\xb8\x80"')),
    _not_json("beyond U+10FFFF", put(_PHONE, b'"\xf4\x90\x80\x80"')),
    _not_json("half an escape", put(_PHONE, rb'"\u12"')),
    _not_json("half an escape, unknown", put(["extra"], rb'"\ud83d\u"')),
    _not_json("U+0000 unescaped, unknown name", member(b"a\0")),
    _not_json("control character, unknown name", member(b"a\x1f")),
    _not_json("NUL after the order", VALID + b"\0"),
    _not_json("wrong type first, then broken", b'{"order_uid":1,"track_number":'),
    _not_json("wrong type first, then invalid UTF-8", b'{"order_uid":1,"extra":"\xff"}'),
]

NOT_AN_ORDER = [
    Hostile("null", b"null"),
    Hostile("array", b"[]"),
    Hostile("string", b'"x"'),
    Hostile("number", b"1"),
    Hostile("empty object", b"{}", "$.order_uid"),
    Hostile("array of an order", b"[" + VALID + b"]"),
    Hostile("as it is served", b'{"order":' + VALID + b"}", "$.order_uid"),
    Hostile("array items", put(["items"], b"[[]]"), "$.items[0]"),
    *[Hostile(f"without {name}", without([name]), f"$.{name}") for name in json.loads(VALID)],
    *[_without("delivery", name) for name in json.loads(VALID)["delivery"]],
    *[_without("payment", name) for name in json.loads(VALID)["payment"]],
    *[_without("items", 0, name) for name in json.loads(VALID)["items"][0]],
]


def _wrong_types() -> Iterator[Hostile]:
    """At each field, known by the sample, a value of another type."""
    order = json.loads(VALID)
    parts: dict[tuple[str | int, ...], Any] = {(): order, ("items", 0): order["items"][0]}
    parts |= {(name,): order[name] for name in ("delivery", "payment")}
    for path, part in parts.items():
        for name, value in part.items():
            yield from _wrong([*path, name], b'"1"' if isinstance(value, int) else b"1")


WRONG_VALUES = [
    *_wrong_types(),
    *_wrong(_PRICE, b"1" + b"0" * 4000, b"-1E+99999"),
    *_wrong(_PRICE, b'"453"', b"null", b"true", b"1.5", b"1.0", b"1e2", b"1e400", b"[]", b"{}"),
    *_wrong(_PRICE, b"9223372036854775808", b"-9223372036854775809", b"9" * 5000),
    *_wrong(["sm_id"], b"18446744073709551616", b"null"),
    *_wrong(["payment", "amount"], b"0.1"),
    *_wrong(_PHONE, b"1", b"null", b"[]", b'"' + b"x" * 1001 + b'"'),
    *_wrong(["delivery"], b"null", b"[]", b'"x"'),
    *_wrong(["payment"], b"[]"),
    *_wrong(["items"], b"{}", b"[]", b"null", b"[" + b",".join([_ITEM] * 1001) + b"]"),
    *_wrong(_UID, b'""', b'"."', b'".."', b'"a/b"', b'"a b"', b'"a\\n"', b'"\\n"', b'"%41"', b'"a?b"', b'"a#"'),
    *_wrong(_UID, b'"' + b"a" * 129 + b'"', '"заказ"'.encode(), '"\uff11"'.encode(), b"1", b"null"),
    *_wrong(_DATE, b'"2021-11-26"', b'"2021-11-26T06:22:19"', b'"2021-11-26 06:22:19Z"', b'"2021-11-26T06:22Z"'),
    *_wrong(_DATE, b'"2021-02-29T00:00:00Z"', b'"2021-13-01T00:00:00Z"', b'"2021-11-26T24:00:00Z"'),
    *_wrong(_DATE, b'"2021-11-26T06:60:00Z"', b'"2016-12-31T23:59:60Z"', b'"2021-11-26T06:22:19+24:00"'),
    *_wrong(_DATE, b'"2021-11-26T06:22:19+05:75"', b'"2021-11-26T06:22:19+0300"', b'"2021-11-26T06:22:19,5Z"'),
    *_wrong(_DATE, b'"0000-01-01T00:00:00Z"', b'"0001-01-01T00:00:00+00:01"', b'"9999-12-31T23:59:59-00:01"'),
    *_wrong(_DATE, b'"10000-01-01T00:00:00Z"', b'"2021-11-26T06:22:19Z\\n"', b'"infinity"', b"1637907727", b'""'),
    *_wrong(_DATE, '"\uff12\uff10\uff12\uff11-11-26T06:22:19Z"'.encode(), b'"2021-11-26T06:22:19.' + b"1" * 31 + b'Z"'),
]

DUPLICATES = [
    Hostile("duplicate uid, the last is wrong", VALID[:-1] + b',"order_uid":"a b"}', "$.order_uid"),
    Hostile("duplicate uid, the first is wrong", b'{"order_uid":1,' + VALID[1:], "$.order_uid"),
    *[
        Hostile(f"duplicate in {name.decode()}, the first is wrong", VALID.replace(name, name + wrong, 1), path)
        for name, wrong, path in (
            (b'"delivery":{', b'"zip":1,', "$.delivery.zip"),
            (b'"payment":{', b'"amount":"1",', "$.payment.amount"),
            (b'"items":[{', b'"price":"1",', "$.items[0].price"),
        )
    ],
]

FORBIDDEN = [
    Hostile("U+0000", put(_PHONE, rb'"\u0000"')),
    Hostile("U+0000 in a canonical message", VALID.replace(b'"locale":"', rb'"locale":"\u0000')),
    Hostile("U+0000 after a backslash", put(_PHONE, rb'"\\\u0000"')),
    Hostile("U+0000, unknown", put(["extra"], rb'{"a":["b\u0000"]}')),
    Hostile("U+0000, unknown of an item", put(["items", 0, "extra"], rb'"\u0000"')),
    Hostile("U+0000, unknown name", member(rb"a\u0000")),
    Hostile("U+0000, deep unknown name", put(["payment", "extra"], rb'{"\u0000":1}')),
    Hostile("U+0000, ignored id", put(["id"], rb'"\u0000"')),
    Hostile("lone surrogate", put(_PHONE, rb'"\ud800"')),
    Hostile("low surrogate", put(_PHONE, rb'"\uDC00 "')),
    Hostile("surrogates the wrong way round", put(_PHONE, rb'"\udc00\ud800"')),
    Hostile("lone surrogate, unknown", put(["extra"], rb'{"a":["\ud83d!"]}')),
    Hostile("lone surrogate, unknown of an item", put(["items", 0, "extra"], rb'"\ud83d\n"')),
    Hostile("lone surrogate, unknown name", member(rb"\ud83d")),
    Hostile("lone surrogate, deep unknown name", put(["delivery", "extra"], rb'{"\udfff":1}')),
    Hostile("nested 65 deep", nested(65)),
    Hostile("nested 900 deep", nested(900)),
    Hostile("nested 100,000 deep", nested(100_000)),
    Hostile("nested 100,000 deep, not closed", VALID[:-1] + b',"extra":' + b'{"a":' * 100_000),
    *[
        Hostile(f"nested 100,000 deep, {jsonpath(path)}", put(path, b"[" * 100_000 + b"]" * 100_000))
        for path in _PLACES
    ],
    Hostile("wrong type first, then deep", b'{"order_uid":1,"extra":' + b"[" * 100_000),
    Hostile("257 unknown fields", VALID[:-1] + b"".join(b',"x%d":1' % n for n in range(257)) + b"}", "$"),
    Hostile("2 MB", put(["extra"], b'"' + b"x" * 2_000_000 + b'"')),
    Hostile("2 MB of spaces", VALID + b" " * 2_000_000),
    Hostile("one byte too large", VALID + b" " * (1_000_001 - len(VALID))),
]

REFUSED = [*NOT_JSON, *NOT_AN_ORDER, *WRONG_VALUES, *DUPLICATES, *FORBIDDEN]

TAKEN = [
    Strange("as it is", VALID),
    Strange("zero amounts", put(["payment", "amount"], b"0")),
    Strange("negative amounts", put(_PRICE, b"-1")),
    Strange("bigints", put(_PRICE, b"9223372036854775807")),
    Strange("least bigint", put(["sm_id"], b"-9223372036854775808")),
    Strange("empty text", put(_PHONE, b'""')),
    Strange("1,000 characters", put(_PHONE, f'"{"ж" * 1000}"'.encode())),
    Strange("1,000 items", put(["items"], b"[" + b",".join([_ITEM] * 1000) + b"]")),
    Strange("longest uid", put(_UID, b'"' + b"a" * 128 + b'"')),
    Strange("three dots", put(_UID, b'"..."')),
    Strange("a backslash, then u0000", put(_PHONE, rb'"\\u0000"')),
    Strange("a backslash, then ud800, unknown", put(["extra"], rb'"\\ud800"')),
    Strange("a pair of surrogates", put(_PHONE, rb'"\ud83d\ude00"')),
    Strange("other control characters", put(_PHONE, rb'"\u0001\u001f\u007f\b\f"')),
    Strange("quotes and brackets in text", put(["extra"], rb'"\"{[[[\\\\"')),
    Strange("line separators", put(_PHONE, '"\u2028\u2029"'.encode())),
    Strange("escaped names", VALID.replace(b'"order_uid"', rb'"order\u005fuid"').replace(b'"rid"', rb'"\u0072id"')),
    Strange("duplicate uid, the last wins", b'{"order_uid":"first",' + VALID[1:]),
    Strange(
        "duplicate part, the last wins", VALID.replace(b'"delivery":', b'"delivery":' + _DELIVERY + b',"delivery":')
    ),
    Strange("duplicates in payment and items, the last wins", _twice(_twice(VALID, b'"payment":{'), b'"items":[{')),
    Strange("duplicate unknown, the last wins", VALID[:-1] + b',"x":1,"x":2}'),
    Strange("1e400, unknown", put(["extra"], b"1e400")),
    Strange("5,000 digits, unknown", put(["extra"], b"9" * 5000)),
    Strange("1.10, unknown", put(["items", 0, "extra"], b"1.10")),
    Strange("empty unknown name", member(b"")),
    Strange("id of any kind", put(["id"], b'{"a":[1]}')),
    Strange("id of a part", put(["delivery", "id"], b"1")),
    Strange("nested 64 deep", nested(64)),
    Strange("256 unknown fields", VALID[:-1] + b"".join(b',"x%d":1' % n for n in range(256)) + b"}"),
    Strange("names of other parts", put(["delivery", "price"], b"1")),
    Strange("first instant", put(_DATE, b'"0001-01-01T00:00:00Z"')),
    Strange("last instant", put(_DATE, b'"9999-12-31T23:59:59.999999999Z"')),
    Strange("lower case date", put(_DATE, b'"2021-11-26t06:22:19z"')),
    Strange("spaces around", b" \r\n\t" + VALID + b"\n"),
    Strange("as large as may be", VALID + b" " * (1_000_000 - len(VALID))),
]
