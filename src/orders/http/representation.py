"""What caches need to know of an order: its entity tags, whether one is still good, when the bytes are compressed.

RFC 9110: 8.8.3 (ETag), 13.1.2 (If-None-Match), 12.5.3 (Accept-Encoding). A tag is a hash of the bytes that it stands
for: the same after a restart and on every machine, another for every representation.
"""

import gzip
import re
from collections.abc import Mapping

from xxhash import xxh3_64_intdigest as digest

WORTH_BYTES = 1400
"""From this length on a body is compressed: a shorter one goes into one packet either way."""
LEVEL = 5
CACHE = {"cache-control": "private, no-cache", "vary": "accept-encoding"}
"""An order may be kept by who asked for it, and is asked for again before it is used."""
TAG = b'"%x"'

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")', re.ASCII)
_TAGS = re.compile(rf"[ \t,]*{_TAG.pattern}(?:[ \t]*,[ \t]*(?:{_TAG.pattern})?)*[ \t]*")
_CODING = re.compile(r"[ \t]*(?P<name>[\w!#$%&'*+.^`|~-]+)[ \t]*(?:;[ \t]*q=(?P<weight>[01](?:\.\d{0,3})?)[ \t]*)?")


def tag_of(body: bytes) -> bytes:
    """The strong entity tag of bytes as they are served."""
    return TAG % digest(body)


def matches(field: str, tag: str) -> bool:
    """Whether If-None-Match names a tag, by weak comparison; one that is not well formed names none."""
    if field.strip(" \t") == "*":
        return True
    return bool(_TAGS.fullmatch(field)) and tag in _TAG.findall(field)


def takes_gzip(field: str) -> bool:
    """Whether Accept-Encoding asks for gzip, by name or by `*`; a part that is not well formed asks for nothing."""
    weights: dict[str, float] = {}
    for part in field.lower().split(","):
        if coding := _CODING.fullmatch(part):
            weights[coding["name"]] = float(coding["weight"] or 1)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def represented(body: bytes, accepted: str) -> tuple[bytes, Mapping[str, str]]:
    """The bytes to serve and their fields, for what Accept-Encoding accepts."""
    tag = tag_of(body).decode()
    if len(body) < WORTH_BYTES or not takes_gzip(accepted):
        return body, {**CACHE, "etag": tag}
    packed = gzip.compress(body, LEVEL, mtime=0)
    return packed, {**CACHE, "etag": f'{tag[:-1]}-gzip"', "content-encoding": "gzip"}
