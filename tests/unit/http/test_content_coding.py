"""Bodies of POSTs: plain, or compressed with gzip, in whatever pieces; what is cut, damaged or too large."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orders import sample
from orders.http.content_coding import MOST_MEMBERS, BodyRefused, Packed, PlainBody, body_of

MOST = 100_000
ORDER = next(iter(sample.samples(1, 0)))
PACKED = gzip.compress(ORDER, mtime=0)
members = st.lists(st.binary(max_size=300), min_size=1, max_size=5)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def taken(sent: Sequence[bytes], most: int = MOST) -> bytes | str:
    """The whole body, or the error."""
    body = Packed(most)
    try:
        for piece in sent:
            body.take(piece)
        return body.whole()
    except BodyRefused as refused:
        return refused.name


def packed(parts: Sequence[bytes], level: int = 9) -> bytes:
    return b"".join(gzip.compress(part, level, mtime=0) for part in parts)


@given(members, st.integers(0, 9), st.integers(1, 50))
def test_what_was_packed_comes_out_however_it_arrives(parts: list[bytes], level: int, size: int) -> None:
    """Of several members, one after the other, as RFC 1952, 2.2 has them."""
    assert taken(pieces(packed(parts, level), size)) == b"".join(parts)


@given(members, st.integers(1, 50), st.data())
def test_a_stream_that_is_cut_is_refused(parts: list[bytes], size: int, data: st.DataObject) -> None:
    """Wherever; but where a member ends, what is before it is a whole stream."""
    ends = {len(packed(parts[:count])): b"".join(parts[:count]) for count in range(1, len(parts) + 1)}
    whole = packed(parts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert taken(pieces(whole[:cut], size)) == ends.get(cut, "invalid-gzip")


@given(st.integers(0, 8 * len(PACKED) - 1), st.integers(1, 50))
@example(8 * (len(PACKED) - 8), 7)
@example(8 * (len(PACKED) - 4), 7)
def test_a_damaged_bit_never_changes_the_order(bit: int, size: int) -> None:
    """It is refused, as checksum and length tell; a bit of the header that means nothing may differ."""
    damaged = bytearray(PACKED)
    damaged[bit // 8] ^= 1 << bit % 8
    got = taken(pieces(bytes(damaged), size))
    assert got == "invalid-gzip" or (got == ORDER and bit // 8 < 10)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_are_a_mistake_of_ours(data: bytes, size: int) -> None:
    """Nor are they behind a whole member."""
    for sent in (data, PACKED + data):
        try:
            expected: bytes | str = gzip.decompress(sent) if sent else "invalid-gzip"
        except (OSError, EOFError, zlib.error):
            expected = "invalid-gzip"
        got = taken(pieces(sent, size))
        assert got == expected or (got == "invalid-gzip" and data.endswith(b"\0"))  # the module skips zeros


@pytest.mark.parametrize("behind", [b"x", b"\0", b"\0" * 512, b"\x1f", b"{}", PACKED[:5]])
def test_what_is_behind_the_end_is_refused(behind: bytes) -> None:
    """Zeros too, with which tapes were filled: HTTP has a length."""
    assert taken([PACKED + behind]) == taken([PACKED, behind]) == "invalid-gzip"


def test_nothing_at_all_is_no_gzip() -> None:
    assert taken([]) == taken([b""]) == "invalid-gzip"


def test_a_deflate_stream_without_gzips_header_is_refused() -> None:
    for bare in (zlib.compress(ORDER), zlib.compress(ORDER)[2:-4], ORDER):
        assert taken([bare]) == "invalid-gzip"


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_the_bound_is_of_what_comes_out(size: int) -> None:
    """To the byte, also over several members."""
    for parts in ([b" " * MOST], [b" " * (MOST - 1), b" "]):
        assert taken(pieces(packed(parts), size)) == b" " * MOST
        assert taken(pieces(packed([*parts, b" "]), size)) == "too-large"


def test_the_bound_is_of_what_arrives_too() -> None:
    """What came in more bytes than that is not read to its end, however little comes out."""
    noise = random.Random(1).randbytes(MOST)
    assert taken([gzip.compress(noise, mtime=0)]) == "too-large"
    named = PACKED[:3] + b"\x08" + PACKED[4:10] + b"n" * MOST  # a header's file name, without an end
    assert taken(pieces(named, 1000)) == "too-large"


def test_a_bomb_takes_no_more_memory_than_the_bound() -> None:
    """A gigabyte of spaces in a megabyte ends at the bound."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(64)) + packer.flush()
    most = 1_000_000
    assert len(bomb) < most
    tracemalloc.start()
    got = taken([bomb], most)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == "too-large"
    assert peak < 4 * most


def test_more_members_than_anybody_makes_are_refused() -> None:
    """Each costs time, and an empty one has twenty bytes."""
    empty = gzip.compress(b"", mtime=0)
    assert taken([empty * MOST_MEMBERS]) == b""
    assert taken([empty * (MOST_MEMBERS + 1)]) == "invalid-gzip"


@pytest.mark.parametrize(
    ("field", "taking"),
    [
        *[(field, PlainBody) for field in ("", " ", ",", "identity", "Identity, identity", ", identity ,")],
        *[(field, Packed) for field in ("gzip", "GZip", "x-gzip", "X-GZIP", "\tgzip ", "identity, gzip", "gzip,")],
        *[(field, None) for field in ("deflate", "br", "zstd", "compress", "*", "gzip, gzip", "gzip, x-gzip")],
        *[(field, None) for field in ("gzip;q=1", '"gzip"', "gzip gzip", "gzip, br", "x-gzip2", "gzip\x00", "none")],
    ],
)
def test_codings_that_are_taken(field: str, taking: type[PlainBody] | None) -> None:
    """Gzip once, by both of its names, in any case, in a list with what changes nothing."""
    assert body_of(field) is taking


def test_a_long_list_of_codings_takes_no_time() -> None:
    """As long as a head may be."""
    assert body_of("identity," * 3000) is PlainBody
    assert body_of(" ," * 16_000) is PlainBody
    assert body_of(f"gzip{' ' * 32_000}x") is None
