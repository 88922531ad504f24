"""In which fields an order differs from the stored one. Pure; names the order's own fields, never a value.

Names of unknown fields may hold anything, personal data too: the object that has them stands for them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from orders.order import Delivery, Item, Order, Payment

Fields = dict[str, Raw]

OTHER = "Not as in the stored order"
ADDED = "Not in the stored order"
LACKING = "Only in the stored order"
UNKNOWN = "Unknown fields not as in the stored order"


class FieldDifference(NamedTuple):
    """The JSONPath of a field that differs, such as `$.items[0].price`, and how it does."""

    path: str
    how: str


class _Document(Struct):
    order: Fields


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_items = msgspec.json.Decoder(list[Fields]).decode
_NOTHING = Raw(b"null")


def differences(document: bytes, text: bytes) -> list[FieldDifference]:
    """Where an order's canonical text differs from the served document of the stored one, in the order's order.

    Raises `msgspec.DecodeError` where SQL by hand has made of the document what is not an order.
    """
    stored = _decode_document(document).order
    stored.pop("id", None)
    return list(_of_object(stored, _decode_fields(text), Order, "$"))


def _of_object(stored: Fields, given: Fields, shape: type[Struct], path: str) -> Iterator[FieldDifference]:
    for name in shape.__struct_fields__:
        one, other = stored.pop(name, _NOTHING), given.pop(name, _NOTHING)
        if one != other:
            yield from _of_field(one, other, name, f"{path}.{name}")
    if stored != given:
        yield FieldDifference(path, UNKNOWN)


def _of_field(stored: Raw, given: Raw, name: str, path: str) -> Iterator[FieldDifference]:
    if name == "delivery":
        yield from _of_object(_decode_fields(stored), _decode_fields(given), Delivery, path)
    elif name == "payment":
        yield from _of_object(_decode_fields(stored), _decode_fields(given), Payment, path)
    elif name == "items":
        yield from _of_items(_decode_items(stored), _decode_items(given), path)
    else:
        yield FieldDifference(path, OTHER)


def _of_items(stored: list[Fields], given: list[Fields], path: str) -> Iterator[FieldDifference]:
    """Item by item, by their numbers; of those that one side alone has the item itself is named."""
    for number, (one, other) in enumerate(zip(stored, given, strict=False)):
        yield from _of_object(one, other, Item, f"{path}[{number}]")
    both, more = sorted((len(stored), len(given)))
    how = ADDED if len(given) == more else LACKING
    yield from (FieldDifference(f"{path}[{number}]", how) for number in range(both, more))
