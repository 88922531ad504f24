"""Every fault of a message that is JSON and no order, where `decoder` stops at the first.

Each value is decoded by itself with the type that it has in `Order`: the verdict on it is the decoder's own.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct, ValidationError

from orders.decoder import explained, missing, unreal
from orders.order import Moment, Order
from orders.record import Invalid

MOST = 100
"""Most faults that are reported of one message."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def faults(value: bytes, first: Invalid) -> list[Invalid]:
    """What is wrong with a message of which the decoder said `first`: at least that, at most `MOST`."""
    if first.fault not in {"schema", "date"}:
        return [first]
    try:
        found = _some(_of_struct(Raw(value), Order, "$"))
    except UNREADABLE:
        return [first]
    return found if any(each.path == first.path for each in found) else [first, *found][:MOST]


def _some(found: Iterator[Invalid]) -> list[Invalid]:
    return [each for _, each in zip(range(MOST), found, strict=False)]


def _of_struct(raw: Raw, struct: type[Struct], path: str) -> Iterator[Invalid]:
    fields, wrong = _taken(raw, dict[str, Raw], path)
    if wrong:
        yield wrong
        return
    for name, kind in _kinds(struct).items():
        if name in fields:
            yield from _of_value(fields[name], kind, f"{path}.{name}")
        else:
            yield missing(name, path)


def _of_value(raw: Raw, kind: Any, path: str) -> Iterator[Invalid]:
    bare = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if isinstance(bare, type) and issubclass(bare, Struct):
        yield from _of_struct(raw, bare, path)
    elif get_origin(bare) is tuple:
        yield from _of_tuple(raw, kind, get_args(bare)[0], path)
    elif wrong := _of_moment(raw, path) if kind is Moment else _taken(raw, kind, path)[1]:
        yield wrong


def _of_moment(raw: Raw, path: str) -> Invalid | None:
    moment, wrong = _taken(raw, Moment, path)
    return wrong or unreal(moment)


def _of_tuple(raw: Raw, kind: Any, element: Any, path: str) -> Iterator[Invalid]:
    """The elements, if there are as many as there may be."""
    elements, wrong = _taken(raw, _of_raw(kind), path)
    if wrong:
        yield wrong
        return
    for number, each in enumerate(elements):
        yield from _of_value(each, element, f"{path}[{number}]")


@cache
def _kinds(struct: type[Struct]) -> dict[str, Any]:
    return get_type_hints(struct, include_extras=True)


@cache
def _of_raw(kind: Any) -> Any:
    """A tuple's type, its bounds kept, whose elements may be anything."""
    return kind.copy_with((tuple[Raw, ...],)) if hasattr(kind, "__metadata__") else tuple[Raw, ...]


@cache
def _decoder(kind: Any) -> Callable[[Raw], Any]:
    return msgspec.json.Decoder(kind).decode


def _taken(raw: Raw, kind: Any, path: str) -> tuple[Any, Invalid | None]:
    """A value of a type, or what is wrong with it."""
    try:
        return _decoder(kind)(raw), None
    except ValidationError as error:
        return None, explained(str(error), path)
