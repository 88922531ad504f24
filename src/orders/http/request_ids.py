"""The names by which a request is found again: its request id, and its trace id where it belongs to a trace."""

import re
import secrets
from collections.abc import Iterable

FIELD = b"x-request-id"
REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/=-]{1,128}")
"""Ids that are taken: hexadecimal, UUIDs, base64url, what proxies make. No `@` and no `+`, so no e-mail address."""
TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
"""The field of W3C Trace Context, level 1; a version later than 00 may continue after a further `-`."""


def new_id() -> bytes:
    """An id for a request that has none."""
    return secrets.token_hex(16).encode()


def trace_of(fields: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The trace id among a request's fields; None where it is missing, twice there, or not well formed."""
    found = [value for name, value in fields if name == b"traceparent"]
    matched = TRACEPARENT.fullmatch(found[0]) if len(found) == 1 else None
    return matched[1].decode() if matched else None
