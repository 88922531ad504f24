"""What RFC 9112 demands of a request's line, its target and its size, where the parser lets more through."""

import re
from collections.abc import Callable

HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[^\]@/]+\])(?::[0-9]*)?")
"""Host of RFC 9110, 7.2: a name, an IPv4 address or an IPv6 one in brackets, and a port; no userinfo, no path."""
WIDE = re.compile(rb"(?=[A-Z-]{3,32}(?: {2,}[^ \r\n]+ +| [^ \r\n]+ {2,})HTTP/)")
"""Where a request's line may begin that has more than one space between its parts (RFC 9112, 3): the parser takes it.

Each place in the method is found, for what ends before it may end in such letters: a body has no end of its own.
"""
FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
VERSION = b"HTTP/"
TARGET_URI = re.compile(rb"(https?)://([^/?#]+)", re.IGNORECASE)
"""Scheme and authority of a target in absolute form (RFC 9112, 3.2.2)."""
HELP = re.compile(rb"/problems/[A-Za-z0-9-]*(?:\?.*)?")
"""The pages about errors: also a client that used an unknown name can read why it was refused."""
END = b"\r\n\r\n"


def wrong_with_target(url: bytes, method: bytes, knows: Callable[[bytes], bool]) -> str:
    """The error of `problems`, or "". Origin form is a path, absolute form names this server, and the asterisk is
    for OPTIONS (RFC 9112, 3.2).
    """
    uri = TARGET_URI.match(url)
    is_path = url.startswith(b"/")
    is_host = uri is not None and not uri[2].startswith(b":") and HOST.fullmatch(uri[2])
    is_asterisk = url == b"*" and method == b"OPTIONS"
    if b"#" in url or not (is_path or is_host or is_asterisk):
        return "invalid-http"
    if uri is None or is_help(url):
        return ""
    if uri[1].lower() == b"https":
        return "https-target"
    return "" if knows(uri[2]) else "unknown-host"


def is_help(url: bytes) -> bool:
    """Whether a target, in whichever form, is a page about an error."""
    uri = TARGET_URI.match(url)
    return HELP.fullmatch(url, uri.end() if uri else 0) is not None


class Pieces:
    """A head that comes in pieces, and may have `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        """Of the pieces after the first, in which the head may begin anywhere."""
        self._line = bytearray()
        """Of the request, until its end has come."""
        self._is_whole = False
        """Whether that is all of a line: what ends before it may also stand in it, as a body does."""
        self._tail = b""

    def take(self, data: bytes) -> None:
        """A piece after which the head continues."""
        if not self._bytes:
            _, end, line = data.rpartition(b"\n")
            self._is_whole = bool(end)
            self._line = bytearray(b"" if self._is_field(line) else line[line.rfind(VERSION) + 1 :])
        self._tail = (self._tail + data)[-3:]

    def wrong_with(self, data: bytes) -> str:
        """The error of `problems` that this next piece shows, or ""."""
        self._bytes += self._part_of_head(data)
        if self._bytes > self._most:
            return "head-too-large"
        return "invalid-http" if self._line and self._continues_wide(data) else ""

    def _part_of_head(self, data: bytes) -> int:
        """How many of these bytes are part of the head."""
        end = (self._tail + data).find(END)
        return len(data) if end < 0 else max(end + len(END) - len(self._tail), 0)

    def _continues_wide(self, data: bytes) -> bool:
        """Whether the request's line, which came in pieces, is too wide."""
        self._line += data
        line, end, _ = self._line.partition(b"\n")
        if end:
            self._line.clear()
        return b"  " in line and WIDE.search(line) is not None and not self._is_field(line)

    def _is_field(self, line: bytes | bytearray) -> bool:
        return self._is_whole and FIELD_NAME.match(line) is not None
