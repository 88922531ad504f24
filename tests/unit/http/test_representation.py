"""Entity tags, whether one is named, and when bytes are compressed."""

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.http.representation import WORTH_BYTES, matches, represented, tag_of, takes_gzip

TAGS = st.from_regex(r'"[\x21\x23-\x7e]{0,8}"', fullmatch=True)


@given(st.binary(), st.binary())
def test_a_tag_is_of_the_bytes(one: bytes, other: bytes) -> None:
    """Equal for equal bytes, another for others, of up to 16 hexadecimal digits in quotes."""
    assert (tag_of(one) == tag_of(other)) == (one == other)
    assert re.fullmatch(rb'"[0-9a-f]{1,16}"', tag_of(one))


def test_a_tag_is_the_same_everywhere() -> None:
    """Of no seed, start or machine: clients keep it for weeks."""
    assert tag_of(b'{"order":{"id":1}}') == b'"49944059397efdba"'


@given(st.lists(st.tuples(st.booleans(), TAGS), min_size=1, max_size=5), TAGS)
def test_a_list_of_tags_names_what_is_in_it(listed: list[tuple[bool, str]], tag: str) -> None:
    """Weak or strong, with any spaces and empty elements between (RFC 9110, 5.6.1)."""
    field = " ,, ".join(f"W/{each}" if weak else each for weak, each in listed)
    assert matches(field, tag) == (tag in {each for _, each in listed})


@pytest.mark.parametrize(
    "field", ["", '"', "a", '"a" x', '"a""b"', "w/", "W/", '"a" "a"', "*, *", '"\x01", "a"', '"a"\xa0', "'a'", "a, b"]
)
def test_a_list_that_is_not_well_formed_names_none(field: str) -> None:
    """The whole answer is always right."""
    assert not matches(field, '"a"')


@given(st.text())
def test_any_text_is_read(field: str) -> None:
    """Whatever stands in the fields, an answer comes."""
    assert matches(field, '"a"') in {True, False}
    assert takes_gzip(field) in {True, False}


@pytest.mark.parametrize(
    ("field", "taken"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.001, br", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip;q=2", False),
        ("gzip;level=9", False),
        ("gzipped", False),
    ],
)
def test_whether_gzip_is_asked_for(field: str, *, taken: bool) -> None:
    """By RFC 9110, 12.5.3."""
    assert takes_gzip(field) == taken


@given(length=st.integers(1, 3 * WORTH_BYTES), asked=st.booleans())
def test_what_is_worth_it_is_compressed(*, length: int, asked: bool) -> None:
    """The bytes come back; another representation has another tag, and the same one always has the same."""
    body = b"x" * length
    content, fields = represented(body, "gzip" if asked else "")
    packed = "content-encoding" in fields
    assert packed == (asked and length >= WORTH_BYTES)
    assert (gzip.decompress(content) if packed else content) == body
    assert (fields["etag"] == tag_of(body).decode()) == (not packed)
    assert represented(body, "gzip" if asked else "") == (content, fields)
