"""JSON objects one after the other in a stream of bytes: a line each, indented, concatenated, or in one array."""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from orders.malformed import BEGIN, TextStart, characters

MOST_BYTES = 2**22
"""Of one value; what is longer is cut, and is refused wherever it goes."""
TOKEN = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*+("?)|[\[\]{}\n]')
"""What a value is followed by to its end. A string has no line break: a quote too many does not reach further."""
SPACE = b" \t\r\n"
LINE_BREAK = ord("\n")
COMMA = ord(",")


class StreamedValue(NamedTuple):
    """A value, or what stands in place of one up to the end of its line, and where it starts in the stream."""

    start: TextStart
    value: bytes


class Splitter:
    """Takes bytes as they come. It looks for the ends of values; whether they are right is for who decodes them."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0
        """Up to here it was looked at."""
        self._line = 1
        """The line of that byte."""
        self._start = BEGIN
        """Of what is held."""
        self._depth = 0
        self._opened_bare = False
        """Whether the value's first line is its bracket alone, as where it is indented."""
        self._in_array = False
        self._has_comma = False
        """Whether a comma came after the last value."""
        self._is_first = True

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[StreamedValue]:
        """The values that end in what has come by now; `last`: nothing more will come."""
        self._held += data
        if self._is_first and (len(self._held) >= len(codecs.BOM_UTF8) or last):
            self._is_first = False
            if self._held.startswith(codecs.BOM_UTF8):
                del self._held[: len(codecs.BOM_UTF8)]
                self._start = TextStart(len(codecs.BOM_UTF8))
        if not self._is_first:
            while (found := self._next(last=last)) is not None:
                yield found

    def _next(self, *, last: bool) -> StreamedValue | None:
        if not self._depth and not self._begin():
            return self._unclosed() if last else None
        if not self._depth:
            return self._rest_of_line(last=last)
        return self._value(last=last)

    def _begin(self) -> bool:
        """Goes to where the next value begins; False where nothing is left."""
        separators = SPACE + b"," if self._in_array else SPACE
        while self._at < len(self._held):
            byte = self._held[self._at]
            if byte in separators:
                self._line += byte == LINE_BREAK
                self._has_comma |= byte == COMMA
            elif byte == ord("[") and not self._in_array:
                self._in_array = True
            elif byte == ord("]") and self._in_array:
                self._in_array = False
                if self._has_comma:
                    break  # no value follows the comma: what stands here is refused
            else:
                break
            self._at += 1
        self._drop(self._at)
        self._at = 0
        if self._held[:1] == b"{":
            self._depth = self._at = 1
            self._opened_bare = False
        return bool(self._held)

    def _unclosed(self) -> StreamedValue | None:
        """Nothing, in place of the rest of an array that was cut off."""
        if not self._in_array:
            return None
        self._in_array = False
        return StreamedValue(self._start, b"")

    def _rest_of_line(self, *, last: bool) -> StreamedValue | None:
        end = self._held.find(b"\n")
        if end < 0 and not last and len(self._held) <= MOST_BYTES:
            return None
        return self._cut(len(self._held) if end < 0 else end)

    def _value(self, *, last: bool) -> StreamedValue | None:
        while (token := TOKEN.search(self._held, self._at)) is not None:
            first, end = token[0][:1], token.end()
            if first == b'"' and not token[1] and not last and self._is_unfinished(end):
                self._at = token.start()
                break
            self._at = end
            if first == b"\n":
                self._line += 1
                if self._is_new_line_of_another(end):
                    return self._cut(end)
            elif first in b"[{":
                self._depth += 1
            elif first in b"]}":
                self._depth -= 1
                if not self._depth:
                    return self._cut(end)
        else:
            self._at = len(self._held)
        return self._cut(len(self._held)) if last or len(self._held) > MOST_BYTES else None

    def _is_unfinished(self, end: int) -> bool:
        """Whether a string without its last quote continues in what comes next."""
        return len(self._held) - end <= 1 and bytes(self._held[end:]) in (b"", b"\\")

    def _is_new_line_of_another(self, at: int) -> bool:
        """Whether a value that was begun on a line with more than its bracket broke off: the next line begins one."""
        self._opened_bare = self._opened_bare or not self._held[1 : at - 1].strip()
        return not self._opened_bare and self._held[at : at + 1] == b"{"

    def _cut(self, end: int) -> StreamedValue:
        found = StreamedValue(self._start, bytes(self._held[:end]).strip(SPACE))
        self._drop(end)
        self._at = self._depth = 0
        self._has_comma = False
        return found

    def _drop(self, end: int) -> None:
        line_break = self._held.rfind(b"\n", 0, end)
        column = 1 if line_break >= 0 else self._start.column
        column += characters(self._held[line_break + 1 : end])
        self._start = TextStart(self._start.byte + end, self._line, column)
        del self._held[:end]


def split(chunks: Iterable[bytes]) -> Iterator[StreamedValue]:
    """The values of a whole stream."""
    splitter = Splitter()
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.feed(b"", last=True)
