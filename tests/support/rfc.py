"""What RFC 9110 and 9112 demand of a server: bytes to send, statuses to come back; and a strict reader of answers.

Where the RFC leaves a choice, the row has the one that was taken. After a request that is refused for its framing the
connection ends: what follows cannot be determined from its body (RFC 9112, 6.3).
"""

import gzip
import re
from collections.abc import Container
from typing import NamedTuple

from support.wire import HIT, UID, get, post

TARGET = b"/orders/" + UID
PROBE = get(TARGET, b"X-Request-ID: probe", b"Connection: close")
"""Sent after each row: answered as itself, or not at all."""
SMUGGLED = get(TARGET, b"X-Request-ID: smuggled")
"""In a body, and never to be answered."""
HEX = b"%x" % len(SMUGGLED)
BODY = b"{}"
"""JSON that is not an order: 422."""


class Row(NamedTuple):
    """A request; `statuses` are of the answers to it, `goes_on` whether the connection is there for another."""

    section: str
    sent: bytes
    statuses: tuple[int, ...]
    goes_on: bool
    bodiless: bool = False
    """Its answers have no body: HEAD."""


def taken(section: str, sent: bytes, *statuses: int, bodiless: bool = False) -> Row:
    return Row(section, sent, statuses or (200,), goes_on=True, bodiless=bodiless)


def last(section: str, sent: bytes, *statuses: int, bodiless: bool = False) -> Row:
    """Answered, and the connection ends as it was asked to, or must."""
    return Row(section, sent, statuses or (200,), goes_on=False, bodiless=bodiless)


def refused(section: str, sent: bytes, status: int = 400, *, bodiless: bool = False) -> Row:
    return Row(section, sent, (status,), goes_on=False, bodiless=bodiless)


def line(text: bytes) -> bytes:
    """A request with this line and nothing else wrong."""
    return text + b"\r\nHost: h\r\n\r\n"


def field(text: bytes) -> bytes:
    """A GET with this line among its fields."""
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % (TARGET, text)


def framed(fields: bytes, body: bytes, version: bytes = b"1.1") -> bytes:
    """A POST with these lines, which say how long its body is."""
    return b"POST /orders HTTP/%b\r\nHost: h\r\n%b\r\n\r\n%b" % (version, fields, body)


def long(value: bytes) -> bytes:
    """A POST with this Content-Length and a request in its body."""
    return framed(b"Content-Length: " + value, SMUGGLED)


def coded(value: bytes) -> bytes:
    """A POST with this Transfer-Encoding, its body one chunk with a request in it."""
    return framed(b"Transfer-Encoding: " + value, HEX + b"\r\n" + SMUGGLED + b"\r\n0\r\n\r\n")


def chunks(text: bytes) -> bytes:
    """A POST whose chunked body is this."""
    return framed(b"Transfer-Encoding: chunked", text)


REQUEST_LINES = {
    "origin form": taken("9112 3.2.1", line(b"GET %b HTTP/1.1" % TARGET)),
    "empty line before": taken("9112 2.2", b"\r\n" + HIT),
    "no version": refused("9112 3", line(b"GET " + TARGET), 505),
    "no version, no fields": refused("9112 3", b"GET %b\r\n\r\n" % TARGET, 505),
    "two spaces before the target": refused("9112 3", line(b"GET  %b HTTP/1.1" % TARGET)),
    "two spaces before the version": refused("9112 3", line(b"GET %b  HTTP/1.1" % TARGET)),
    "tab before the target": refused("9112 3", line(b"GET\t%b HTTP/1.1" % TARGET)),
    "tab before the version": refused("9112 3", line(b"GET %b\tHTTP/1.1" % TARGET)),
    "space before the method": refused("9112 3", line(b" GET %b HTTP/1.1" % TARGET)),
    "space after the version": refused("9112 3", line(b"GET %b HTTP/1.1 " % TARGET)),
    "no target": refused("9112 3", line(b"GET HTTP/1.1")),
    "empty target": refused("9112 3", line(b"GET  HTTP/1.1")),
    "space in the target": refused("9112 3.2", line(b"GET %b x HTTP/1.1" % TARGET)),
    "control character in the target": refused("9112 3.2", line(b"GET %b\x01 HTTP/1.1" % TARGET)),
    "NUL in the target": refused("9112 3.2", line(b"GET %b\x00 HTTP/1.1" % TARGET)),
    "byte above ASCII in the target": refused("9112 3.2", line(b"GET %b\xff HTTP/1.1" % TARGET)),
    "bare CR in the line": refused("9112 2.2", line(b"GET %b\r HTTP/1.1" % TARGET)),
    "fragment in the target": refused("9112 3.2", line(b"GET %b#x HTTP/1.1" % TARGET)),
    "no slash before the path": refused("9112 3.2.1", line(b"GET orders/%b HTTP/1.1" % UID)),
    "absolute form": taken("9112 3.2.2", line(b"GET http://h%b HTTP/1.1" % TARGET)),
    "absolute form, other host in Host": taken("9112 3.2.2", b"GET http://h%b HTTP/1.1\r\nHost: x\r\n\r\n" % TARGET),
    "absolute form, capitals": taken("9110 4.2.3", line(b"GET HTTP://H%b HTTP/1.1" % TARGET)),
    "absolute form, userinfo": refused("9110 4.2.4", line(b"GET http://u@h%b HTTP/1.1" % TARGET)),
    "absolute form, no host": refused("9110 4.2.1", line(b"GET http://%b HTTP/1.1" % TARGET)),
    "absolute form, another scheme": refused("9110 7.4", line(b"GET https://h%b HTTP/1.1" % TARGET), 421),
    "absolute form, no scheme of HTTP": refused("9112 3.2.2", line(b"GET ftp://h%b HTTP/1.1" % TARGET)),
    "asterisk form": taken("9112 3.2.4", line(b"OPTIONS * HTTP/1.1"), 404),
    "asterisk with GET": refused("9112 3.2.4", line(b"GET * HTTP/1.1")),
    "authority form with GET": refused("9112 3.2.3", line(b"GET h:80 HTTP/1.1")),
    "CONNECT": refused("9110 9.3.6", line(b"CONNECT h:80 HTTP/1.1")),
    "unknown method": refused("9110 9.1", line(b"BREW %b HTTP/1.1" % TARGET)),
    "lower-case method": refused("9110 9.1", line(b"get %b HTTP/1.1" % TARGET)),
    "method that is no token": refused("9110 9.1", line(b"GE(T %b HTTP/1.1" % TARGET)),
    "TRACE": taken("9110 9.3.8", line(b"TRACE %b HTTP/1.1" % TARGET), 405),
    "lower-case version": refused("9112 2.3", line(b"GET %b http/1.1" % TARGET)),
    "version of another protocol": refused("9112 2.3", line(b"GET %b HTCPCP/1.1" % TARGET)),
    "version 1.2": refused("9110 2.5", line(b"GET %b HTTP/1.2" % TARGET)),
    "version 2.0": refused("9110 15.6.6", line(b"GET %b HTTP/2.0" % TARGET), 505),
    "version 0.9": refused("9110 15.6.6", line(b"GET %b HTTP/0.9" % TARGET), 505),
    "version 11.1": refused("9112 2.3", line(b"GET %b HTTP/11.1" % TARGET)),
    "version 1.10": refused("9112 2.3", line(b"GET %b HTTP/1.10" % TARGET)),
    "version without a minor": refused("9112 2.3", line(b"GET %b HTTP/1" % TARGET)),
    "preface of HTTP/2": refused("9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": refused("9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "percent-encoded NUL": taken("9110 4.2", line(b"GET %b%%00 HTTP/1.1" % TARGET), 404),
    "percent-encoded slash": taken("9110 4.2", line(b"GET /orders%%2F%b HTTP/1.1" % UID)),
    "dot segments": taken("9110 4.2", line(b"GET /orders/../orders/%b HTTP/1.1" % UID), 404),
    "percent sign alone": taken("9110 4.2", line(b"GET %b%% HTTP/1.1" % TARGET), 404),
}

HEADS = {
    "hit": taken("9110 9.3.2", get(TARGET, method=b"HEAD"), bodiless=True),
    "miss": taken("9110 9.3.2", get(b"/orders/nobody", method=b"HEAD"), 404, bodiless=True),
    "known": taken("9110 13.1.2", get(TARGET, b"If-None-Match: *", method=b"HEAD"), 304, bodiless=True),
    "list": taken("9110 9.3.2", get(b"/orders", method=b"HEAD"), bodiless=True),
    "not valid": taken("9110 9.3.2", get(b"/orders?limit=0", method=b"HEAD"), 400, bodiless=True),
    "with a body": taken(
        "9110 9.3.2",
        get(TARGET, b"Content-Length: %d" % len(SMUGGLED), method=b"HEAD") + SMUGGLED,
        bodiless=True,
    ),
    "close": last("9112 9.6", get(TARGET, b"Connection: close", method=b"HEAD"), bodiless=True),
    "HTTP/1.0": last("9112 9.3", b"HEAD %b HTTP/1.0\r\n\r\n" % TARGET, bodiless=True),
    "no Host": refused("9112 3.2", b"HEAD %b HTTP/1.1\r\n\r\n" % TARGET, bodiless=True),
    "two Hosts": refused("9112 3.2", get(TARGET, b"Host: h", method=b"HEAD"), bodiless=True),
    "version 2.0": refused("9110 15.6.6", line(b"HEAD %b HTTP/2.0" % TARGET), 505, bodiless=True),
}

HOSTS = {
    "no Host": refused("9112 3.2", b"GET %b HTTP/1.1\r\n\r\n" % TARGET),
    "no Host in HTTP/1.0": last("9112 3.2", b"GET %b HTTP/1.0\r\n\r\n" % TARGET),
    "two Hosts": refused("9112 3.2", field(b"Host: x")),
    "two Hosts alike": refused("9112 3.2", field(b"Host: h")),
    "two Hosts in HTTP/1.0": refused("9112 3.2", b"GET %b HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n" % TARGET),
    "empty Host": taken("9110 7.2", get(host=b"")),
    "Host with a port": taken("9110 7.2", get(host=b"h:8080")),
    "Host with an empty port": taken("9110 4.2.1", get(host=b"h:")),
    "Host with a port that is none": refused("9110 7.2", get(host=b"h:80x")),
    "Host with two ports": refused("9110 7.2", get(host=b"h:80:80")),
    "Host with userinfo": refused("9112 3.2", get(host=b"u@h")),
    "Host with a path": refused("9112 3.2", get(host=b"h/p")),
    "Host with a query": refused("9112 3.2", get(host=b"h?q")),
    "Host with a fragment": refused("9112 3.2", get(host=b"h#f")),
    "Host with a scheme": refused("9112 3.2", get(host=b"http://h")),
    "Host with a space": refused("9112 3.2", get(host=b"h h")),
    "Host with a byte above ASCII": refused("9112 3.2", get(host=b"h\xc3\xa9")),
    "Host in brackets": taken("9110 7.2", get(host=b"[::1]:8080")),
    "Host in half a bracket": refused("9110 7.2", get(host=b"[::1")),
    "Host of an IPv6 address without brackets": refused("9110 7.2", get(host=b"::1")),
}

FIELDS = {
    "tab and spaces around a value": taken("9112 5.1", field(b"X: \t a \t ")),
    "empty value": taken("9110 5.5", field(b"X:")),
    "bytes above ASCII in a value": taken("9110 5.5", field(b"X: \xc3\xa9")),
    "tab in a value": taken("9110 5.5", field(b"X: a\tb")),
    "space before the colon": refused("9112 5.1", field(b"X : a")),
    "tab before the colon": refused("9112 5.1", field(b"X\t: a")),
    "space before the colon of Host": refused("9112 5.1", b"GET %b HTTP/1.1\r\nHost : h\r\n\r\n" % TARGET),
    "folded line": refused("9112 5.2", field(b"X: a\r\n b")),
    "line folded with a tab": refused("9112 5.2", field(b"X: a\r\n\tb")),
    "folded Host": refused("9112 5.2", b"GET %b HTTP/1.1\r\nHost:\r\n h\r\n\r\n" % TARGET),
    "space before the first field": refused("9112 2.2", b"GET %b HTTP/1.1\r\n Host: h\r\n\r\n" % TARGET),
    "no colon": refused("9112 5", field(b"X")),
    "no name": refused("9112 5", field(b": a")),
    "space in a name": refused("9110 5.1", field(b"X Y: a")),
    "no token as a name": refused("9110 5.1", field(b"X(Y): a")),
    "byte above ASCII in a name": refused("9110 5.1", field(b"X\xff: a")),
    "NUL in a name": refused("9110 5.1", field(b"X\x00: a")),
    "NUL in a value": refused("9110 5.5", field(b"X: a\x00b")),
    "control character in a value": refused("9110 5.5", field(b"X: a\x01b")),
    "DEL in a value": refused("9110 5.5", field(b"X: a\x7fb")),
    "bare CR in a value": refused("9110 5.5", field(b"X: a\rb")),
    "CR before CRLF": refused("9112 2.2", field(b"X: a\r")),
    "bare LF ends a field": refused("9112 2.2", field(b"X: a\nY: b")),
    "bare LF ends the request line": refused("9112 2.2", b"GET %b HTTP/1.1\nHost: h\r\n\r\n" % TARGET),
    "bare LF ends the head": refused("9112 2.2", b"GET %b HTTP/1.1\r\nHost: h\r\n\n" % TARGET),
    "bare LFs alone": refused("9112 2.2", b"GET %b HTTP/1.1\nHost: h\n\n" % TARGET),
    "a hundred fields": taken("9110 5.4", field(b"\r\n".join(b"X%d: a" % n for n in range(99)))),
    "more than a hundred fields": refused("9110 5.4", field(b"\r\n".join(b"X%d: a" % n for n in range(100))), 431),
    "a large field": taken("9110 5.4", field(b"X: " + b"a" * 30_000)),
    "too large a field": refused("9110 5.4", field(b"X: " + b"a" * 40_000), 431),
    "too large a name": refused("9110 5.4", field(b"X" * 40_000 + b": a"), 431),
}

LENGTHS = {
    "length": taken("9110 8.6", post(BODY), 422),
    "length with zeros before": taken("9110 8.6", framed(b"Content-Length: 002", BODY), 422),
    "no length and no chunks": taken("9112 6.3", get(b"/orders", method=b"POST"), 400),
    "length of a GET": taken("9110 9.3.1", field(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED),
    "chunks of a GET": taken(
        "9110 9.3.1", field(b"Transfer-Encoding: chunked") + HEX + b"\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"
    ),
    "the same length twice": refused("9112 6.3", framed(b"Content-Length: 2\r\nContent-Length: 2", BODY)),
    "two lengths": refused("9112 6.3", framed(b"Content-Length: 0\r\nContent-Length: %d" % len(SMUGGLED), SMUGGLED)),
    "two lengths, the longer first": refused(
        "9112 6.3", framed(b"Content-Length: %d\r\nContent-Length: 0" % len(SMUGGLED), SMUGGLED)
    ),
    "list of the same length": refused("9112 6.3", framed(b"Content-Length: 2, 2", BODY)),
    **{
        f"length {value!r}": refused("9112 6.3", long(value))
        for value in (
            *(b"", b"+0", b"-0", b"-1", b"0x0", b"0_0", b"0.0", b"0e0", b"0 0", b"0,5", b"0;", b'"0"', b"zero"),
            *(b"\x0b0", b"0\x0b", b"\xd9\xa0", b"0\x00", b"18446744073709551616", b"9" * 40, b"0\r\n 5"),
        )
    },
    "length with a space before the colon": refused("9112 5.1", framed(b"Content-Length : 0", SMUGGLED)),
    "length and chunks": refused("9112 6.3", framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    "chunks and length": refused("9112 6.3", framed(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n")),
    "length and an unknown coding": refused("9112 6.3", framed(b"Content-Length: 2\r\nTransfer-Encoding: x", BODY)),
    "length and chunks of a GET": refused(
        "9112 6.3", field(b"Content-Length: 5\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED
    ),
    "length with an underscore is no length": taken(
        "9110 5.1", framed(b"Content_Length: %d" % len(SMUGGLED), b""), 400
    ),
}

CODINGS = {
    "chunked": taken("9112 7.1", coded(b"chunked"), 400),
    "chunked in capitals": taken("9112 7", coded(b"CHUNKED"), 400),
    "chunked with spaces before": taken("9112 5.1", coded(b" \tchunked"), 400),
    **{
        f"coding {value!r}": refused("9112 6.1", coded(value))
        for value in (
            *(b"", b"identity", b"gzip", b"xchunked", b"chunkedx", b"chunked, identity", b"chunked, gzip"),
            *(b"identity, chunked", b"gzip, chunked", b"chunked, chunked", b"chunked,", b", chunked", b"chunked;q=1"),
            *(b'"chunked"', b"'chunked'", b"chunked\x00", b"\x0bchunked", b"chunked\x0b", b"chun ked", b"\xa0chunked"),
            *(b"x\r\n chunked", b"\r\n chunked", b"chunked\r\n x"),
        )
    },
    "chunked twice": refused("9112 6.1", coded(b"chunked\r\nTransfer-Encoding: chunked")),
    "chunked, then identity": refused("9112 6.1", coded(b"chunked\r\nTransfer-Encoding: identity")),
    "identity, then chunked": refused("9112 6.1", coded(b"identity\r\nTransfer-Encoding: chunked")),
    "chunked in HTTP/1.0": refused("9112 6.1", framed(b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"1.0")),
    "coding with a space before the colon": refused("9112 5.1", framed(b"Transfer-Encoding : chunked", b"0\r\n\r\n")),
    "coding with an underscore is no coding": taken("9110 5.1", framed(b"Transfer_Encoding: chunked", b""), 400),
}

CHUNKS = {
    "one chunk": taken("9112 7.1", chunks(b"2\r\n{}\r\n0\r\n\r\n"), 422),
    "size in capitals and zeros": taken("9112 7.1", chunks(b"000A\r\n{        }\r\n00\r\n\r\n"), 422),
    "extension": taken("9112 7.1.1", chunks(b"2;a=b\r\n{}\r\n0\r\n\r\n"), 422),
    "extension in quotes": taken("9112 7.1.1", chunks(b'2;a="b;c"\r\n{}\r\n0\r\n\r\n'), 422),
    "trailer": taken("9112 7.1.2", chunks(b"2\r\n{}\r\n0\r\nX: a\r\n\r\n"), 422),
    "trailer with framing": refused(
        "9110 6.5.1", chunks(b"2\r\n{}\r\n0\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n")
    ),
    "trailer with Host": taken("9110 6.5.1", chunks(b"2\r\n{}\r\n0\r\nHost: u@x\r\n\r\n"), 422),
    **{
        f"size {value!r}": refused("9112 7.1", chunks(value + b"\r\n{}\r\n0\r\n\r\n"))
        for value in (
            *(b"", b"+2", b"-2", b"0x2", b"2_0", b"2 ", b" 2", b"2\t", b"2.0", b"g", b"f" * 17, b"2\x00", b"\xb2"),
            *(b"2;a=b\x00", b"2;\x01", b'2;a="b', b"2 ;a=b", b"2;a=b\n"),
        )
    },
    "bare LF after a size": refused("9112 7.1", chunks(b"2\n{}\r\n0\r\n\r\n")),
    "bare CR after a size": refused("9112 7.1", chunks(b"2\r{}\r\n0\r\n\r\n")),
    "bare LF after data": refused("9112 7.1", chunks(b"2\r\n{}\n0\r\n\r\n")),
    "nothing after data": refused("9112 7.1", chunks(b"2\r\n{}0\r\n\r\n")),
    "more data than said": refused("9112 7.1", chunks(b"2\r\n{}}\r\n0\r\n\r\n")),
    "bare LF in an extension": refused("9112 7.1.1", chunks(b"2;a\nb\r\n{}\r\n0\r\n\r\n")),
    "bare LF ends the trailers": refused("9112 7.1.2", chunks(b"2\r\n{}\r\n0\r\n\n")),
    "trailer without a colon": refused("9112 7.1.2", chunks(b"2\r\n{}\r\n0\r\nX\r\n\r\n")),
    "trailer folded": refused("9112 5.2", chunks(b"2\r\n{}\r\n0\r\nX: a\r\n b\r\n\r\n")),
    "trailer with a space before its colon": refused("9112 5.1", chunks(b"2\r\n{}\r\n0\r\nX : a\r\n\r\n")),
}

CONNECTIONS = {
    "close": last("9112 9.6", field(b"Connection: close")),
    "close in a list": last("9112 9.6", field(b"Connection: x, Close")),
    "HTTP/1.0": last("9112 9.3", b"GET %b HTTP/1.0\r\nHost: h\r\n\r\n" % TARGET),
    "HTTP/1.0, keep-alive": last("9112 9.3", b"GET %b HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" % TARGET),
    "HTTP/1.0, POST": last("9112 9.3", framed(b"Content-Length: 2", BODY, b"1.0"), 422),
    "HTTP/1.0, POST without a length": last("9112 6.3", b"POST /orders HTTP/1.0\r\nHost: h\r\n\r\n", 400),
    "expect": taken("9110 10.1.1", framed(b"Content-Length: 2\r\nExpect: 100-continue", BODY), 100, 422),
    "expect in capitals": taken("9110 10.1.1", framed(b"Content-Length: 2\r\nExpect: 100-CONTINUE", BODY), 100, 422),
    "expect without a body": taken("9110 10.1.1", field(b"Expect: 100-continue")),
    "expect in HTTP/1.0": last("9110 10.1.1", framed(b"Content-Length: 2\r\nExpect: 100-continue", BODY, b"1.0"), 422),
    "unknown expectation": taken("9110 10.1.1", framed(b"Content-Length: 2\r\nExpect: tea", BODY), 422),
    "upgrade to h2c": last(
        "9110 7.8", field(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA")
    ),
    "upgrade to a WebSocket": last("9110 7.8", field(b"Connection: Upgrade\r\nUpgrade: websocket")),
    "upgrade that Connection does not name": taken("9110 7.8", field(b"Upgrade: h2c")),
    "Connection names Host": taken("9110 7.6.1", field(b"Connection: host")),
    "pipelined": taken("9112 9.3.2", HIT + post(BODY) + get(b"/orders/nobody") + HIT, 200, 422, 404, 200),
    "pipelined, the third wrong": Row(
        "9112 9.3.2", HIT + post(BODY) + long(b"x") + HIT, (200, 422, 400), goes_on=False
    ),
    "pipelined, the second the last": last("9112 9.6", HIT + field(b"Connection: close") + HIT, 200, 200),
}

PACKED = gzip.compress(BODY, mtime=0)
CONTENT_CODINGS = {
    "gzip": taken("9110 8.4.1.3", post(PACKED, b"Content-Encoding: gzip"), 422),
    "x-gzip": taken("9110 8.4.1.3", post(PACKED, b"Content-Encoding: x-gzip"), 422),
    "gzip in capitals": taken("9110 8.4.1", post(PACKED, b"Content-Encoding: GZIP"), 422),
    "gzip in chunks": taken(
        "9110 8.4",
        chunks(b"%x\r\n%b\r\n0\r\n\r\n" % (len(PACKED), PACKED)).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1),
        422,
    ),
    "identity and gzip in two fields": taken(
        "9110 5.3", post(PACKED, b"Content-Encoding: identity", b"Content-Encoding: gzip"), 422
    ),
    "no coding in the field": taken("9110 5.6.1", post(BODY, b"Content-Encoding: "), 422),
    "identity": taken("9110 12.5.3", post(BODY, b"Content-Encoding: identity"), 422),
    "gzip, and it is none": taken("9110 8.4", post(BODY, b"Content-Encoding: gzip"), 400),
    "gzip without a body": taken("9110 8.4", post(b"", b"Content-Encoding: gzip"), 400),
    "gzip that is not told of": taken("9110 8.4", post(PACKED), 400),
    "br": taken("9110 15.5.16", post(BODY, b"Content-Encoding: br"), 415),
    "deflate in chunks": taken(
        "9110 15.5.16",
        framed(b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        415,
    ),
    "gzip twice": taken("9110 15.5.16", post(PACKED, b"Content-Encoding: gzip, gzip"), 415),
    "unknown coding, expect": taken(
        "9110 10.1.1", framed(b"Content-Length: 2\r\nContent-Encoding: br\r\nExpect: 100-continue", BODY), 415
    ),
    "of a GET": taken("9110 9.3.1", field(b"Content-Encoding: br")),
}

SPACES = {
    "Host, space": taken("9112 5.1", get(host=b"h ")),
    "Host, tab": taken("9112 5.1", get(host=b"h\t")),
    "length, space": taken("9112 5.1", framed(b"Content-Length: 2 ", BODY), 422),
    "length, tab": taken("9112 5.1", framed(b"Content-Length: 2\t", BODY), 422),
    "length, space in an empty value": refused("9112 6.3", long(b" ")),
    "chunked, space": taken("9112 5.1", coded(b"chunked "), 400),
    "chunked, tab: refused by the parser, though 5.1 has it taken": refused("9112 6.1", coded(b"chunked\t")),
    "another coding, space": refused("9112 6.1", coded(b"gzip, chunked ")),
    "expect, space": taken("9112 5.1", framed(b"Content-Length: 2\r\nExpect: 100-continue ", BODY), 100, 422),
    "expect, tab": taken("9112 5.1", framed(b"Content-Length: 2\r\nExpect: 100-continue\t", BODY), 100, 422),
    "close, space": last("9112 5.1", field(b"Connection: close ")),
    "close, tab": last("9112 5.1", field(b"Connection: close\t")),
}
"""White space after a value is not part of it."""

UNFINISHED = {
    "line": b"GET %b HTTP/1.1\r\n" % TARGET,
    "field": get()[:-4],
    "head": get()[:-2],
    "head, half of its end": get()[:-1],
    "body": framed(b"Content-Length: 3", BODY),
    "last chunk": chunks(b"2\r\n{}\r\n0\r\n"),
    "trailer": chunks(b"2\r\n{}\r\n0\r\nX: a\r\n"),
}
"""Requests that lack their end: a final CRLF, or a byte of the body."""

ROWS: dict[str, Row] = {
    f"{group}: {name}": row
    for group, rows in {
        "line": REQUEST_LINES,
        "head": HEADS,
        "host": HOSTS,
        "field": FIELDS,
        "length": LENGTHS,
        "coding": CODINGS,
        "chunk": CHUNKS,
        "connection": CONNECTIONS,
        "content coding": CONTENT_CODINGS,
        "space after": SPACES,
    }.items()
    for name, row in rows.items()
}

STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]*\r\n")
FIELD_LINE = re.compile(rb"([a-z0-9-]+): ([ -~]*)\r\n")


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    fields: dict[str, str]
    body: bytes


def answers(sent: bytes, bodiless: Container[int] = ()) -> list[Answer]:
    """All answers on a connection; those at the places `bodiless`, to HEAD, have no body.

    Raises AssertionError where the bytes are anything else than whole answers.
    """
    told: list[Answer] = []
    at = 0
    while at < len(sent):
        start = STATUS.match(sent, at)
        assert start, sent[at : at + 100]
        at, fields = start.end(), dict[str, str]()
        while found := FIELD_LINE.match(sent, at):
            fields[found[1].decode()] = found[2].decode()
            at = found.end()
        assert sent[at : at + 2] == b"\r\n", sent[at : at + 100]
        status = int(start[1])
        empty = status in {100, 204, 304} or len(told) in bodiless
        length = 0 if empty else int(fields["content-length"])
        body = sent[at + 2 : at + 2 + length]
        assert len(body) == length, "an answer is cut"
        at += 2 + length
        told.append(Answer(status, fields, body))
    return told


def check(row: Row, told: list[Answer], before: int = 0) -> None:
    """The answers are those of the row, then that of the probe if the connection stays; nothing else is answered."""
    expected = [*([200] * before), *row.statuses, *([200] if row.goes_on else [])]
    assert [each.status for each in told] == expected, row.section
    names = [each.fields.get("x-request-id") for each in told]
    assert "smuggled" not in names
    assert names.count("probe") == row.goes_on
    assert all(each.status < 500 or each.status == 505 for each in told)
    assert all(each.fields["content-type"] == "application/problem+json" for each in told if each.status == 400)


def bodiless(row: Row, at: int = 0) -> Container[int]:
    """The place of its answer if that has no body."""
    return {at} if row.bodiless else ()
