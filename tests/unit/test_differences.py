"""In which fields two orders differ: exactly those, and no value or name of an unknown field is repeated."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.decoder import decode
from orders.differences import ADDED, LACKING, OTHER, UNKNOWN, FieldDifference, differences
from orders.http.problems import pointer
from orders.order import Content, Delivery, Item, Order, Payment, document
from support.hostile import VALID, jsonpath, put
from support.strategies import Tree, dump, instant, orders, raw_texts, texts

SHAPES: dict[tuple[str, ...], type[msgspec.Struct]] = {(): Order, ("delivery",): Delivery, ("payment",): Payment}
MARK = "qx7persona"
DATE = "date_created"


def canonical(message: bytes) -> bytes:
    content = decode(message)
    assert isinstance(content, Content), content
    return content.text


def between(stored: bytes, given: bytes) -> list[FieldDifference]:
    return differences(document(7, canonical(stored)), canonical(given))


def paths(found: list[FieldDifference]) -> list[str]:
    return [each.path for each in found]


def places(stored: Any, given: Any, at: tuple[str | int, ...] = ()) -> set[str]:
    """A second opinion, by walking over both trees: where they differ, as paths. Unknown values are text."""
    shape = Item if at[:1] == ("items",) else SHAPES[tuple(map(str, at))]
    own, found = shape.__struct_fields__, set()
    for name in own:
        inner = (*at, name)
        if name in {"delivery", "payment"}:
            found |= places(stored[name], given[name], inner)
        elif name == "items":
            both = min(len(stored[name]), len(given[name]))
            for number in range(max(len(stored[name]), len(given[name]))):
                here = (*inner, number)
                found |= places(stored[name][number], given[name][number], here) if number < both else {jsonpath(here)}
        elif (instant(stored[name]) != instant(given[name])) if name == DATE else (stored[name] != given[name]):
            found.add(jsonpath(inner))
    if any(stored.get(name) != given.get(name) for name in {*stored, *given} - {*own}):
        found.add(jsonpath(at))
    return found


ORDERS = orders()


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tree, Tree]:
    """An order and one that differs from it in some places, or in nearly all."""
    one: Tree = draw(ORDERS)
    if draw(st.integers(0, 4)) == 0:
        return one, draw(ORDERS)
    other = {**one, "delivery": dict(one["delivery"]), "payment": dict(one["payment"])}
    other["items"] = [dict(item) for item in one["items"]]
    objects = [other, other["delivery"], other["payment"], *other["items"]]
    for _ in range(draw(st.integers(0, 4))):
        each = draw(st.sampled_from(objects))
        plain = [name for name, value in each.items() if type(value) in {str, int} and name not in {"order_uid", DATE}]
        name = draw(st.sampled_from(plain))
        each[name] = draw(texts if isinstance(each[name], str) else st.integers(-9, 9))
    if draw(st.booleans()):
        other["items"].append(other["items"][0])
    return (one, other) if draw(st.booleans()) else (other, one)


@given(pairs())
def test_exactly_the_places_where_two_orders_differ_are_named(pair: tuple[Tree, Tree]) -> None:
    stored, given_ = (dump(tree).encode() for tree in pair)
    found = between(stored, given_)
    assert len(found) == len(set(paths(found)))
    assert set(paths(found)) == places(*pair)
    assert bool(found) == (canonical(stored) != canonical(given_))


@given(ORDERS)
def test_equal_orders_differ_nowhere(tree: Tree) -> None:
    message = dump(tree).encode()
    assert between(message, message) == []


def with_items(count: int) -> bytes:
    order = json.loads(VALID)
    return json.dumps(order | {"items": order["items"][:1] * count}).encode()


def test_an_item_that_one_side_lacks_is_named_as_a_whole() -> None:
    assert between(with_items(1), with_items(3)) == [FieldDifference(f"$.items[{n}]", ADDED) for n in (1, 2)]
    assert between(with_items(2), with_items(1)) == [FieldDifference("$.items[1]", LACKING)]


@pytest.mark.parametrize(
    ("path", "raw", "said"),
    [
        (["delivery", "zip"], b'"0"', FieldDifference("$.delivery.zip", OTHER)),
        (["items", 0, "price"], b"1", FieldDifference("$.items[0].price", OTHER)),
        (["date_created"], b'"2001-01-01T00:00:00Z"', FieldDifference("$.date_created", OTHER)),
        ([MARK], b'"x"', FieldDifference("$", UNKNOWN)),
        (["payment", MARK], b"[1]", FieldDifference("$.payment", UNKNOWN)),
        (["items", 0, f"{MARK}/~"], b"{}", FieldDifference("$.items[0]", UNKNOWN)),
    ],
)
def test_a_field_is_named_and_of_unknown_ones_the_object_that_has_them(
    path: list[str | int], raw: bytes, said: FieldDifference
) -> None:
    assert between(VALID, put(path, raw)) == [said]
    assert between(put(path, raw), VALID) == [said]


def test_dates_of_one_instant_are_equal() -> None:
    moments = (b'"2021-11-26T06:22:19Z"', b'"2021-11-26T09:22:19.0+03:00"')
    assert between(*(put(["date_created"], moment) for moment in moments)) == []


@given(raw_texts, raw_texts)
def test_unknown_fields_are_compared_as_text(one: str, other: str) -> None:
    """As PostgreSQL keeps them: 1.10 is not 1.1."""
    found = between(put(["extra"], one.encode()), put(["extra"], other.encode()))
    assert found == ([] if one == other else [FieldDifference("$", UNKNOWN)])


@pytest.mark.parametrize("stored", [b"", b"null", b'{"order":1}', b'{"order":{"id":1,"delivery":null,"items":[]}}'])
def test_a_document_that_is_no_order_is_reported_by_one_kind_of_error(stored: bytes) -> None:
    """SQL by hand may have written anything."""
    with pytest.raises(msgspec.DecodeError):
        differences(stored, VALID)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=".[]"), min_size=1)


@given(st.lists(NAMES | st.text("~/01%", min_size=1)))
def test_a_pointer_is_escaped_as_rfc_6901_has_it(names: list[str]) -> None:
    """`~` and `/` of a name (3), and whatever a URI fragment does not take (6)."""
    found = pointer("".join(f".{name}" for name in ["$", *names])[1:])
    assert found.isascii()
    assert not set(found[1:]) & set(' "<>\\^`{|}#')
    assert resolved(found) == names


def resolved(found: str) -> list[str]:
    """The names of a pointer, read as the RFC says."""
    octets = bytearray()
    rest = found.removeprefix("#").encode()
    while rest:
        if rest[:1] == b"%":
            octets.append(int(rest[1:3], 16))
            rest = rest[3:]
        else:
            octets += rest[:1]
            rest = rest[1:]
    return [step.replace("~1", "/").replace("~0", "~") for step in octets.decode().split("/")[1:]]
