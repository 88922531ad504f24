"""The body of a POST as it arrives: plain, or compressed with gzip (RFC 9110, 8.4; RFC 1952).

What comes out is bounded like a plain body. It is made in steps, and no step makes more than the bound has left.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Literal

CodingProblem = Literal["too-large", "invalid-gzip"]

GZIP = 16 + zlib.MAX_WBITS
"""zlib's word for: a gzip member, with its header, checksum and length."""
STEP = 4096
"""Bytes that are handed to zlib at a time: it copies what lies behind a member."""
MOST_MEMBERS = 1000
"""More than any program makes of an order; each costs some microseconds, however little is in it."""


class BodyRefused(Exception):
    """The body is refused with this error of `problems`."""

    def __init__(self, name: CodingProblem) -> None:
        super().__init__(name)
        self.name: CodingProblem = name


class PlainBody:
    """A plain body of at most so many bytes. Raises `BodyRefused`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = bytearray()

    def take(self, data: bytes) -> None:
        """The next piece."""
        self._taken += data
        if len(self._taken) > self._most:
            raise BodyRefused("too-large")

    def whole(self) -> bytes:
        """All of it, once it has ended."""
        return bytes(self._taken)


class Packed(PlainBody):
    """A body of one gzip member or several; packed too it has at most so many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._arrived = self._members = 0
        self._member = zlib.decompressobj(GZIP)
        self._is_within = True
        """Whether a member has begun, or must: the last one has not ended."""

    def take(self, data: bytes) -> None:
        self._arrived += len(data)
        if self._arrived > self._most:
            raise BodyRefused("too-large")
        for at in range(0, len(data), STEP):
            self._unpack(data[at : at + STEP])

    def _unpack(self, data: bytes) -> None:
        while data:
            if not self._is_within:
                self._begin()
            super().take(self._inflate(data))
            data = self._member.unused_data
            self._is_within = not self._member.eof

    def _begin(self) -> None:
        self._members += 1
        if self._members >= MOST_MEMBERS:
            raise BodyRefused("invalid-gzip")
        self._member, self._is_within = zlib.decompressobj(GZIP), True

    def _inflate(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, self._most - len(self._taken) + 1)
        except zlib.error:
            raise BodyRefused("invalid-gzip") from None

    def whole(self) -> bytes:
        if self._is_within:
            raise BodyRefused("invalid-gzip")
        return super().whole()


_BODIES: Mapping[tuple[str, ...], Callable[[int], PlainBody]] = {(): PlainBody, ("gzip",): Packed, ("x-gzip",): Packed}


def body_of(field: str) -> Callable[[int], PlainBody] | None:
    """What takes a body with this Content-Encoding; None where it is not supported.

    gzip, once, by either of its names (RFC 9110, 8.4.1.3); `identity` and empty parts of the list change nothing.
    """
    names = (name.strip(" \t") for name in field.lower().split(","))
    return _BODIES.get(tuple(name for name in names if name not in {"", "identity"}))
