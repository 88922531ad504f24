"""What a client that used an unknown host name gets, and what the log has of it."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from orders.http.fastlane import fast_lane
from orders.http.hosts import DAY_SECONDS, LONGEST, MOST, Unknown, knows, sentence
from orders.http.problems import KINDS, PATH
from orders.http.request_line import HOST
from orders.logs import printable
from support.rfc import Answer, answers
from support.wire import HIT, MEMORY, UID, converse, get, plain_app

APP = plain_app()
KNOWN = ("127.0.0.1", "orders.example")


def talk(*sent: bytes, unknown: Unknown | None = None) -> list[Answer]:
    """Answers to requests on one connection, alike on both lanes."""
    told = [
        answers(asyncio.run(converse(fast_lane(lookup, hosts=KNOWN, unknown=unknown), APP, sent))[0])
        for lookup in (MEMORY.get, None)
    ]
    assert told[0] == told[1]
    return told[0]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (get(host=b"evil.example"), "evil.example"),
        (get(host=b"evil.example:8080"), "evil.example"),
        (get(b"/livez", host=b"Evil.Example."), "Evil.Example."),
        (get(b"http://evil.example:80/livez", host=b"orders.example"), "evil.example"),
        (get(b"/orders/" + UID, host=b"a'b"), "a'b"),
    ],
)
def test_the_body_names_the_setting_and_the_host_that_was_sent(sent: bytes, name: str) -> None:
    """Without its port, as the setting takes it."""
    (got,) = talk(sent)
    told = json.loads(got.body)
    assert (got.status, got.fields["content-type"]) == (421, "application/problem+json")
    assert told["detail"] == f"Unknown host name {name!r}: add it to ORDERS_HTTP_HOSTS"
    assert (told["type"], told["title"]) == (f"{PATH}unknown-host", KINDS["unknown-host"].title)
    assert knows([name])(name.encode())


@given(st.from_regex(HOST, fullmatch=True) | st.binary(max_size=2000))
def test_whatever_host_is_sent_its_sentence_is_short_and_printable(host: bytes) -> None:
    told = sentence(host)
    assert len(told) <= 4 * LONGEST + 60  # each character may be escaped
    assert printable(told) == told
    assert told.replace("…", "").isascii()


@pytest.mark.parametrize("host", [b"[v1.\x85\x9b31m]", b"[v1.a\tb]", b'[v1."]', b"x" * 20_000])
def test_a_host_of_odd_characters_or_of_great_length_is_escaped_and_cut(host: bytes) -> None:
    """The grammar of later versions of IP lets through what no name has."""
    with capture_logs() as lines:
        (got,) = talk(get(host=host))
    assert (got.status, len(got.body) < 800) == (421, True)
    assert json.loads(got.body)["detail"].isprintable()
    assert all(len(line["reason"]) < 400 for line in lines)


@pytest.mark.parametrize("host", [b"evil.example", b"orders.example"])
def test_an_https_url_is_reported_that_there_is_no_tls_whatever_its_host(host: bytes) -> None:
    """The name is not the fault of an absolute https target: to add it would change nothing (RFC 9110, 7.4)."""
    (got,) = talk(get(b"https://%b/livez" % host))
    assert (got.status, json.loads(got.body)["type"]) == (421, f"{PATH}https-target")


@pytest.mark.parametrize("target", [b"", b"http://evil.example", b"https://evil.example"])
@pytest.mark.parametrize("host", [b"evil.example", b"orders.example"])
def test_the_pages_about_errors_are_there_for_every_host(host: bytes, target: bytes) -> None:
    """So the `type` of a 421 can be read where it was met; the connection continues."""
    page = target + PATH.encode()
    first, second, third, last = talk(
        get(page + b"unknown-host", host=host),
        get(page + b"unknown-host?a=b", host=host),
        get(page + b"nothing", host=host),
        get(b"/livez", host=b"127.0.0.1"),
    )
    assert b"ORDERS_HTTP_HOSTS" in first.body == second.body
    assert [each.status for each in (first, third, last)] == [200, 404, 200]


@pytest.mark.parametrize(
    "target",
    [
        *(b"/problems/../orders/" + UID, b"/problems/%2e%2e/orders/" + UID, b"/problems/x/../../orders/" + UID),
        *(b"/problems", b"//problems/unknown-host", b"/problems/a/b", b"/orders/problems/", b"/x?/problems/a"),
        *(b"/PROBLEMS/unknown-host", b"/problems;a/unknown-host", b"http://evil.example/x/problems/a"),
    ],
)
def test_nothing_else_is_there_for_an_unknown_host(target: bytes) -> None:
    assert [each.status for each in talk(get(target, host=b"evil.example"))] == [421]


def test_two_hosts_are_refused_also_where_a_page_about_errors_is_asked_for() -> None:
    """RFC 9112, 3.2."""
    sent = get(b"/problems/unknown-host", b"Host: x", host=b"evil.example")
    assert [each.status for each in talk(sent)] == [400]


def reasons(lines: object) -> list[str]:
    assert isinstance(lines, list)
    return [line["reason"] for line in lines if line["event"] == "unknown_host"]


def test_a_host_is_logged_once_however_often_it_comes() -> None:
    """Whatever its port and its capitals; one that is known is not."""
    unknown = Unknown()
    sent = [get(host=host) for host in (b"a.example", b"A.example:1", b"b.example", b"a.example:2", b"localhost")]
    with capture_logs() as lines:
        for each in sent:
            talk(each, unknown=unknown)
    assert reasons(lines) == [sentence(b"a.example"), sentence(b"b.example")]
    assert {line["log_level"] for line in lines} == {"warning"}


def test_processes_that_share_a_memory_log_a_host_once(tmp_path: Path) -> None:
    processes = [Unknown(tmp_path / "memory") for _ in range(4)]
    with capture_logs() as lines:
        for each in processes * 2:
            each.report(b"a.example")
    assert reasons(lines) == [sentence(b"a.example")]


def test_a_million_hosts_are_a_hundred_lines_and_one_that_says_so(tmp_path: Path) -> None:
    """What is kept of them is bounded too, in memory and on the disk."""
    unknown = Unknown(tmp_path / "memory", clock=lambda: 0.0)
    with capture_logs() as lines:
        for number in range(10 * MOST):
            unknown.report(b"host-%d" % number)
    assert [line["event"] for line in lines] == ["unknown_host"] * MOST + ["unknown_hosts_many"]
    assert sum(1 for _ in tmp_path.rglob("*")) == MOST + 1


def test_a_day_later_hosts_are_logged_again_and_nothing_is_left_of_those_before(tmp_path: Path) -> None:
    """So those that an attacker filled the log with hide no other for ever; two processes still log once."""
    now = 1e9
    processes = [Unknown(tmp_path / "memory", clock=lambda: now) for _ in range(2)]
    for number in range(MOST):
        processes[0].report(b"host-%d" % number)
    now += DAY_SECONDS
    with capture_logs() as lines:
        for each in processes:
            each.report(b"a.example")
    assert reasons(lines) == [sentence(b"a.example")]
    assert sum(1 for _ in tmp_path.rglob("*")) == 2


def test_a_host_is_logged_also_where_no_file_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as lines:
        Unknown(tmp_path / "file" / "memory").report(b"a.example")
    assert reasons(lines) == [sentence(b"a.example")]


@pytest.mark.parametrize("name", ["orders.example:8080", "ORDERS.example.", "*"])
def test_a_name_is_known_however_the_setting_has_it(name: str) -> None:
    """With a port, which HTTP does not compare, in capitals, or with the root's dot."""
    assert knows([name])(b"orders.example:80")


def test_a_hit_after_an_unknown_host_is_not_read() -> None:
    """What is refused ends its connection, whatever follows."""
    assert [each.status for each in talk(get(host=b"evil.example") + HIT)] == [421]
