"""Messages of which some bytes were changed: most are no order any more, some no JSON."""

from hypothesis import strategies as st

from support.hostile import REFUSED, TAKEN, VALID

ALL = [*(each.value for each in TAKEN), *(each.value for each in REFUSED)]
SMALL = [value for value in ALL if 0 < len(value) < 4_000]
TOKENS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"true", b"-", b"0", b"9" * 30, b"1e400", b"NaN"),
    *(
        b"\0",
        rb"\u0000",
        rb"\ud800",
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"[" * 70,
        b'"order_uid":1,',
    ),
]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """An order, or what is none, with some bytes taken away, put in or copied from elsewhere."""
    value = draw(st.sampled_from(SMALL) | st.just(VALID))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(value)))
        end = begin + draw(st.sampled_from([0, 0, 1, 1, 2, 20, 400]))
        source = draw(st.integers(0, len(value)))
        put = draw(st.sampled_from(TOKENS) | st.binary(max_size=3) | st.just(value[source : source + 40]))
        value = value[:begin] + put + value[end:]
    return value
