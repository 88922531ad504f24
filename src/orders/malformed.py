"""Where bytes stop being JSON (RFC 8259), and why. Pure; asked only about a text that was refused.

msgspec finds the fault. Zeros, which no JSON text holds, are put after the text: then its end is a fault with a
position as well. No description holds a part of the text.
"""

import re
from codecs import BOM_UTF8
from typing import NamedTuple

import msgspec
from msgspec import DecodeError, Raw

NOT_UTF8 = "not UTF-8"
BOM = "starts with a byte order mark (BOM)"
AFTER = "bytes after the end"
END = "unexpected end"

_skip = msgspec.json.Decoder(Raw).decode
_hide_surrogates = re.compile(rb"\\u[dD][89a-fA-F]").sub
_fault = re.compile(r"JSON is malformed: (.*) \(byte ([0-9]+)\)").fullmatch
_ZEROS = bytes(5)
"""As many bytes as msgspec takes at once, of `false` and of `\\u0000`, are then there."""
_LITERALS = {b"t": b"rue", b"f": b"alse", b"n": b"ull"}
_CONTINUATIONS = bytes(range(0x80, 0xC0))


class TextStart(NamedTuple):
    """Where a text begins in its file: bytes before it, its line and its column, both from 1."""

    byte: int = 0
    line: int = 1
    column: int = 1


BEGIN = TextStart()


class Malformed(NamedTuple):
    """`at`: bytes before the first one that cannot stand there; all of them where the text ends too early."""

    at: int
    kind: str


def find(text: bytes) -> Malformed | None:
    """The first fault of a text; None if it is JSON, also where surrogates have no pair. Raises `RecursionError`."""
    if text.startswith(BOM_UTF8):
        return Malformed(0, BOM)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return _before(text[: error.start]) or _of_encoding(text, error)
    return _of_syntax(text)


def describe(text: bytes, found: Malformed, start: TextStart = BEGIN) -> str:
    """One sentence for a person; `start` is where the text begins in a file. Columns count characters."""
    line_begin = text.rfind(b"\n", 0, found.at) + 1
    line = start.line + text.count(b"\n", 0, found.at)
    column = characters(text[line_begin : found.at]) + (1 if line_begin else start.column)
    return f"Invalid JSON: {found.kind} at byte {start.byte + found.at} (line {line}, column {column})"


def characters(text: bytes | bytearray) -> int:
    """How many characters UTF-8 has, whether it is well-formed or not."""
    return len(text.translate(None, _CONTINUATIONS))


def _before(head: bytes) -> Malformed | None:
    """A fault before bytes that are not UTF-8; they stand after the end where the head is a whole text."""
    found = _of_syntax(head)
    if found is None:
        return Malformed(len(head), AFTER)
    return None if found.kind == END else found


def _of_encoding(text: bytes, error: UnicodeDecodeError) -> Malformed:
    """A character that the end of the text cuts off is no other fault than the end."""
    is_cut = error.reason == "unexpected end of data"
    return Malformed(len(text), END) if is_cut else Malformed(error.start, NOT_UTF8)


def _of_syntax(text: bytes) -> Malformed | None:
    kind, at = END, len(text)
    try:
        _skip(_hide_surrogates(rb"\\u00", text) + _ZEROS)
    except DecodeError as error:
        if said := _fault(str(error)):
            kind, at = said[1], int(said[2])
    if kind == "trailing characters":
        return None if at > len(text) else Malformed(at - 1, AFTER)
    if kind == "invalid character in unicode escape":
        at -= 1
    elif kind == "invalid character":
        at = _in_literal(text, at)
    return Malformed(at, kind) if at < len(text) else Malformed(len(text), END)


def _in_literal(text: bytes, at: int) -> int:
    """Of a wrong literal msgspec names the byte after its first letter."""
    for character in _LITERALS.get(text[at - 1 : at], b""):
        if text[at : at + 1] != bytes([character]):
            break
        at += 1
    return at
