"""Values are found in a stream however they are laid out and however it is cut, and a broken one takes no other."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.json_stream import MOST_BYTES, StreamedValue, split
from orders.malformed import TextStart

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=6), JSON, max_size=4), max_size=6)
LAYOUTS: dict[str, Callable[[list[Any]], str]] = {
    "a line each": lambda them: "\n".join(map(json.dumps, them)),
    "CRLF": lambda them: "\r\n".join(map(json.dumps, them)) + "\r\n",
    "indented": lambda them: "\n".join(json.dumps(each, indent=2) for each in them),
    "concatenated": lambda them: "".join(map(json.dumps, them)),
    "an array": json.dumps,
    "an indented array": lambda them: json.dumps(them, indent="\t", ensure_ascii=False),
    "after a byte order mark": lambda them: "\ufeff" + "\n".join(map(json.dumps, them)),
}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("layout", LAYOUTS)
@given(them=OBJECTS, size=st.integers(1, 200))
def test_all_objects_are_found_in_any_layout(layout: str, them: list[dict[str, Any]], size: int) -> None:
    text = LAYOUTS[layout](them)
    found = list(split(cut(text.encode(), size)))
    assert [json.loads(each.value) for each in found] == them
    lines = text.encode().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for each in found:
        assert each.value.partition(b"\n")[0].rstrip(b"\r") in lines[each.start.line - 1], "the line where it begins"


@given(st.binary(max_size=300) | st.text('{}[]",: \nж').map(str.encode), st.integers(1, 50), st.booleans())
def test_each_value_says_where_it_starts(data: bytes, size: int, mark: bool) -> None:
    """The byte, and the line and the column that an editor shows: characters count, a byte order mark does not."""
    data = data.removeprefix(BOM_UTF8)
    for each in split(cut(BOM_UTF8 * mark + data, size)):
        at = each.start.byte - len(BOM_UTF8) * mark
        assert data[at:].startswith(each.value)
        above, _, before = data[:at].rpartition(b"\n")
        line = above.count(b"\n") + 2 if b"\n" in data[:at] else 1
        with suppress(UnicodeDecodeError):
            assert each.start[1:] == (line, len(before.decode()) + 1)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_nothing_but_space_and_brackets_of_arrays_is_left_out_of_any_bytes(data: bytes, size: int) -> None:
    """And how they are cut makes no difference."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    found = list(split([data]))
    assert list(split(cut(data, size))) == found
    drop = b" \t\r\n,[]"
    kept = b"".join(each.value for each in found).translate(None, drop)
    assert kept == data.translate(None, drop)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a": 1\n{"b": 2}\n', [(1, b'{"a": 1'), (2, b'{"b": 2}')]),
        (b'{"a": "x\n{"b": 2}\n', [(1, b'{"a": "x'), (2, b'{"b": 2}')]),
        (b'no JSON\n{"b": 2}', [(1, b"no JSON"), (2, b'{"b": 2}')]),
        (b'{"a": 1} and more\n{"b": 2}', [(1, b'{"a": 1}'), (1, b"and more"), (2, b'{"b": 2}')]),
        (b'{\n"a": [\n{"b": 2}\n]}\n5', [(1, b'{\n"a": [\n{"b": 2}\n]}'), (5, b"5")]),
        (b'[{"a": 1},\n 5,\n{"b": 2}]', [(1, b'{"a": 1}'), (2, b"5,"), (3, b'{"b": 2}')]),
        (b'{"a": "\\"}{"}', [(1, b'{"a": "\\"}{"}')]),
        (b"", []),
        (b"[]\n[]", []),
    ],
)
def test_what_is_broken_takes_no_other_with_it(text: bytes, found: list[tuple[int, bytes]]) -> None:
    assert [(each.start.line, each.value) for each in split([text])] == found


def test_a_value_without_an_end_is_cut() -> None:
    """Memory is bounded, whatever comes; what follows on later lines is found."""
    endless = [b'{"a": [1', *[b", 1"] * 3_000_000, b'\n{"b": 2}\n']
    first, *rest = split(b"".join(endless[at : at + 10_000]) for at in range(0, len(endless), 10_000))
    assert MOST_BYTES < len(first.value) < MOST_BYTES + 100_000
    assert rest[-1] == StreamedValue(TextStart(len(b"".join(endless)) - len(b'{"b": 2}\n'), 2, 1), b'{"b": 2}')
