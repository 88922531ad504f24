"""Hypothesis strategies for orders as JSON, known and unknown fields alike, and exact comparison of JSON.

An order is a tree of dicts and lists whose unknown values are `RawText`, ready-made JSON that must come back
byte for byte; `dump` writes it in many ways that mean the same.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple, get_type_hints

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from orders.order import Delivery, Item, Order, Payment

Tree = dict[str, Any]


class RawText(NamedTuple):
    """JSON text that is written as it is."""

    text: str


class Number(NamedTuple):
    """A JSON number as its digits, so that 1.10 differs from 1.1."""

    digits: str


def parse(data: bytes) -> Any:
    """JSON with every digit of its numbers; of duplicate keys the last wins."""
    return json.loads(data, parse_int=Number, parse_float=Number)


def meaning(message: bytes) -> Tree:
    """What must come back of a message: all of it but `id`, its date as an instant cut to the microsecond."""
    tree: Tree = parse(message)
    tree.pop("id", None)
    return tree | {"date_created": instant(tree["date_created"])}


def instant(moment: str) -> datetime:
    """RFC 3339 by hand, as a second opinion on the decoder's."""
    clock, rest = moment[:19].upper(), moment[19:].upper()
    digits = rest.removeprefix(".").rstrip("Z").partition("+")[0].partition("-")[0] if rest.startswith(".") else ""
    local = datetime.strptime(clock, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    local += timedelta(microseconds=int(digits[:6].ljust(6, "0")))
    if rest.endswith("Z"):
        return local
    offset = timedelta(hours=int(rest[-5:-3]), minutes=int(rest[-2:]))
    return local - offset if rest[-6] == "+" else local + offset


def dump(tree: Any, space: Callable[[], str] = str, *, ascii_only: bool = False, shuffle: Random | None = None) -> str:
    """JSON text of a tree, with `space` between its tokens and, with `shuffle`, members in any order."""

    def write(node: Any) -> str:
        if isinstance(node, RawText):
            return node.text
        if isinstance(node, dict):
            names = list(node)
            if shuffle:
                shuffle.shuffle(names)
            members = (f"{space()}{write(name)}{space()}:{space()}{write(node[name])}{space()}" for name in names)
            return "{" + ",".join(members) + "}"
        if isinstance(node, list):
            return "[" + ",".join(f"{space()}{write(child)}{space()}" for child in node) + "]"
        return json.dumps(node, ensure_ascii=ascii_only)

    return write(tree)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
integers = st.integers(-(2**63), 2**63 - 1)
uids = st.from_regex(r"[A-Za-z0-9._~-]{1,128}", fullmatch=True).filter(lambda uid: uid not in {".", ".."})
spaces = st.sampled_from(["", "", " ", "\n", "\t", "\r\n  "])


@st.composite
def moments(draw: st.DrawFn) -> str:
    """Dates as RFC 3339 allows them, with up to 12 digits of a second."""
    clock = draw(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))  # noqa: DTZ001 - a clock's face
    fraction = draw(st.sampled_from(["", ".0", ".000000000"]) | st.from_regex(r"\.[0-9]{1,12}", fullmatch=True))
    offset = draw(st.sampled_from(["Z", "z", "+00:00", "-00:00", "+03:00", "-23:59", "+05:45"]))
    mark = draw(st.sampled_from("Tt"))
    return f"{clock.replace(microsecond=0).isoformat()}{fraction}{offset}".replace("T", mark)


def _arrays(values: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.builds(lambda parts, gap: f"[{gap}" + f"{gap},".join(parts) + "]", st.lists(values, max_size=3), spaces)


def _objects(values: SearchStrategy[str]) -> SearchStrategy[str]:
    members = st.builds(lambda name, gap, value: f"{gap}{json.dumps(name)}:{gap}{value}", texts, spaces, values)
    return st.builds(lambda parts: "{" + ",".join(parts) + "}", st.lists(members, max_size=3))


_numbers = st.sampled_from(["0", "-0", "1.10", "1.1", "1e400", "-1E-400", "0.10e+01", "9" * 40]) | integers.map(str)
_strings = st.builds(json.dumps, texts, ensure_ascii=st.booleans())
raw_texts: SearchStrategy[str] = st.recursive(
    st.sampled_from(["true", "false", "null", "[ ]", "{ }"]) | _numbers | _strings,
    lambda values: _arrays(values) | _objects(values),
    max_leaves=6,
)
"""JSON of any kind, as text that is not always the shortest."""


def unknown_fields(known: tuple[str, ...]) -> SearchStrategy[Tree]:
    names = texts.filter(lambda name: name not in {*known, "id"})
    return st.just({}) | st.dictionaries(names, raw_texts.map(RawText), max_size=3)


def _objects_of(struct: type, unknown: bool, **parts: SearchStrategy[Any]) -> SearchStrategy[Tree]:
    """Objects with a struct's fields, by their types, and unknown ones after them."""
    names = struct.__struct_fields__  # type: ignore[attr-defined]  # every Struct has it
    numbers = {name for name, kind in get_type_hints(struct).items() if kind is int}
    known = st.fixed_dictionaries({n: parts.get(n, integers if n in numbers else texts) for n in names})
    return st.builds(lambda a, b: a | b, known, unknown_fields(names) if unknown else st.just({}))


def orders(*, unknown: bool = True) -> SearchStrategy[Tree]:
    """Valid orders as trees; `dump` makes text of them."""
    return _objects_of(
        Order,
        unknown,
        order_uid=uids,
        date_created=moments(),
        delivery=_objects_of(Delivery, unknown),
        payment=_objects_of(Payment, unknown),
        items=st.lists(_objects_of(Item, unknown), min_size=1, max_size=3),
    )


@st.composite
def messages(draw: st.DrawFn, *, unknown: bool = True) -> bytes:
    """Valid messages: orders with any spaces, in any order of members, some with an `id`."""
    tree = draw(orders(unknown=unknown))
    if draw(st.booleans()):
        tree = tree | {"id": RawText(draw(raw_texts))}
    return variant(tree, draw(st.randoms(use_true_random=False)))


def variant(tree: Tree, random: Random) -> bytes:
    """One of the many texts of a tree that mean the same and keep its `RawText`."""
    gap = random.choice(["", " ", "\r\n\t"])
    return dump(tree, lambda: gap, ascii_only=random.random() < 0.5, shuffle=random).encode()
