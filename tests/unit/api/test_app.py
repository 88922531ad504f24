"""What the application answers, without services."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from html import escape
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from orders import sample
from orders.api.health import Purpose, report_of
from orders.api.reader import FoundOrder
from orders.api.startup import FINISHED
from orders.api.views import original
from orders.api.waiting import RecordOutcome
from orders.decoder import decode
from orders.errors import Busy, Misconfigured, OrdersError, Unavailable
from orders.http.problems import KINDS, MEDIA_TYPE, problem
from orders.metrics.exposition import Page, page
from orders.metrics.table import POSTS, private
from orders.order import MAX_DOCUMENT_BYTES, Content, document
from orders.pages.start import page_at
from orders.readiness import Lag, ReadinessPart, ReadinessParts, ReadinessReport, RestorePart, StartParts, StartupReport
from orders.record import Outcome
from support.metrics import READERS, counted, series_of
from support.problem import is_problem
from support.wire import DOCUMENT, LARGE, TAG, UID, plain_app, told

SAVED = {"message": "Order processed and saved successfully"}
ORDER = next(iter(sample.samples(1, 0)))
ORDER_UID = json.loads(ORDER)["order_uid"]


def client(**parts: Any) -> TestClient:
    return TestClient(plain_app(**parts))


@pytest.fixture
def plain() -> Iterator[TestClient]:
    with client() as made:
        yield made


def test_an_order_in_memory(plain: TestClient) -> None:
    """200 with the stored bytes; HEAD has the same fields and no body."""
    got = plain.get("/orders/" + UID.decode())
    assert (got.status_code, got.content) == (200, DOCUMENT)
    assert dict(got.headers) == {
        "cache-control": "private, no-cache",
        "vary": "accept-encoding",
        "etag": TAG.decode(),
        "content-type": "application/json",
        "content-length": str(len(DOCUMENT)),
    }
    assert dict(plain.head("/orders/" + UID.decode()).headers) == dict(got.headers)


def test_an_order_that_is_known(plain: TestClient) -> None:
    """304 with the fields that a cache renews, and nothing else."""
    got = plain.get("/orders/" + UID.decode(), headers={"if-none-match": TAG.decode()})
    assert (got.status_code, got.content) == (304, b"")
    renewed = {"cache-control": "private, no-cache", "vary": "accept-encoding", "etag": TAG.decode()}
    assert dict(got.headers) == renewed


def test_a_large_order_is_compressed_where_that_is_asked_for(plain: TestClient) -> None:
    """With a tag of its own; the client reads the same bytes."""
    packed = plain.get("/orders/large", headers={"accept-encoding": "gzip"})
    assert (packed.content, packed.headers["content-encoding"]) == (LARGE, "gzip")
    assert int(packed.headers["content-length"]) < len(LARGE)
    whole = plain.get("/orders/large", headers={"accept-encoding": "identity"})
    assert (whole.content, "content-encoding" in whole.headers) == (LARGE, False)
    assert packed.headers["etag"] != whole.headers["etag"]
    assert packed.headers["vary"] == whole.headers["vary"] == "accept-encoding"


def test_an_order_in_postgresql(plain: TestClient) -> None:
    """A miss is read from PostgreSQL."""
    assert plain.get("/orders/stored").json() == {"order": {"id": 2, "order_uid": "stored"}}


@pytest.mark.parametrize("uid", ["nobody", "a b", "%D0%B6", "a" * 129, "a%00", "a+"])
def test_no_such_order(plain: TestClient, uid: str) -> None:
    """404 for what is unknown, and for what cannot be a uid."""
    got = plain.get("/orders/" + uid)
    assert is_problem(got, "order-not-found")
    assert got.json() == {
        "type": "/problems/order-not-found",
        "title": "Order not found",
        "status": 404,
        "detail": "PostgreSQL holds no order with this order_uid. Check the order_uid, or ask again once the order is "
        "stored.",
        "message": "Order not found",
    }


def test_views() -> None:
    """`?view=` chooses the shape, whatever the default is; another name is the client's mistake."""
    content = decode(ORDER)
    assert isinstance(content, Content)
    served = document(1, content.text)
    for default in ("standard", "original"):
        with client(find=lambda _: served, default_view=default) as http:
            assert http.get("/orders/a?view=standard").content == served
            assert http.get("/orders/a?view=original").content == original(served)
            assert http.get("/orders/a").content == (served if default == "standard" else original(served))
            assert http.get("/orders/a?view=other").status_code == 400


def test_postgresql_away_is_never_404() -> None:
    """A miss that cannot be looked up: 503 with Retry-After and nothing of the cause."""

    async def away(_: str) -> None:
        raise Unavailable("PostgreSQL cannot be reached at secret-host")

    with client(order=away) as http:
        got = http.get("/orders/nobody")
    assert got.status_code == 503
    assert got.headers["retry-after"] == "1"
    assert "secret-host" not in got.text


@pytest.mark.parametrize(
    ("outcome", "status", "body"),
    [
        ("created", 201, SAVED),
        ("unchanged", 200, SAVED),
    ],
)
def test_post_outcomes(outcome: Outcome, status: int, body: object) -> None:
    """What became of the record decides the status."""
    with client(submit=told(outcome)) as http:
        got = http.post("/orders", content=ORDER)
    assert (got.status_code, got.json()) == (status, body)
    assert got.headers["location"] == f"/orders/{ORDER_UID}"


def stored(value: bytes) -> Callable[[str], Awaitable[FoundOrder | None]]:
    """PostgreSQL with this order."""
    content = decode(value)
    assert isinstance(content, Content)
    found = FoundOrder(document(1, content.text), 1, 0.0)

    async def order(_: str) -> FoundOrder:
        return found

    return order


def conflict(order: Callable[[str], Awaitable[FoundOrder | None]], value: bytes = ORDER) -> httpx2.Response:
    """The answer to a POST of which PostgreSQL holds another order, and this one by the time that it is asked."""
    with client(submit=told("conflict"), order=order) as http:
        return http.post("/orders", content=value)


def test_post_of_another_order_of_that_uid() -> None:
    """409 names the fields that differ, and no value: a POST never replaces."""
    other = json.loads(ORDER) | {"entry": "another"}
    other["items"][0]["price"] += 1
    got = conflict(stored(json.dumps(other).encode()))
    assert (got.status_code, got.headers["content-type"]) == (409, MEDIA_TYPE)
    assert got.json() == {
        "type": "/problems/order-exists",
        "title": "Order exists with other content",
        "status": 409,
        "detail": "The stored order with this order_uid differs in 2 fields: `errors` lists them. "
        "A POST never replaces an order: send a record to the topic to do so.",
        "errors": [
            {"detail": "Not as in the stored order", "pointer": "#/entry"},
            {"detail": "Not as in the stored order", "pointer": "#/items/0/price"},
        ],
        "error": "Order exists with other content",
    }
    assert "location" not in got.headers


def test_so_many_fields_that_differ_are_listed_and_the_others_counted() -> None:
    """Of 150 items that the stored order lacks a hundred are listed."""
    order = json.loads(ORDER)
    items = order["items"][:1]
    got = conflict(
        stored(json.dumps(order | {"items": items}).encode()), json.dumps(order | {"items": items * 151}).encode()
    )
    assert got.json()["detail"].startswith(
        "The stored order with this order_uid differs in 150 fields: `errors` lists the first 100, 50 more are not "
    )
    assert [each["pointer"] for each in got.json()["errors"]] == [f"#/items/{number}" for number in range(1, 101)]


async def _deleted(_: str) -> None:
    return None


async def _away(_: str) -> None:
    raise Unavailable("PostgreSQL cannot be reached")


async def _by_hand(_: str) -> FoundOrder:
    return FoundOrder(b'{"order":{"id":1,"delivery":null}}', 1, 0.0)


async def _silent(_: str) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("order", [stored(ORDER), _deleted, _away, _by_hand, _silent])
def test_a_conflict_is_a_conflict_whatever_is_stored_by_then(
    order: Callable[[str], Awaitable[FoundOrder | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same by then, deleted, not to be read, no order, or no answer: 409 without a list."""
    monkeypatch.setattr("orders.api.orders.COMPARISON_SECONDS", 0.05)
    assert is_problem(conflict(order), "order-exists")


@pytest.mark.parametrize("outcome", ["created", "unchanged", "refused"])
def test_only_a_conflict_asks_for_the_stored_order(outcome: Outcome) -> None:
    with client(submit=told(outcome), order=_silent) as http:
        assert http.post("/orders", content=ORDER).status_code in {200, 201, 422}


def test_post_in_place_of_the_original() -> None:
    """With the view of the original Go service as default a POST returns 200, as that did."""
    with client(default_view="original") as http:
        got = http.post("/orders", content=ORDER)
    assert (got.status_code, got.json()) == (200, SAVED)


def test_post_without_an_outcome_in_time() -> None:
    """202: Kafka has it, PostgreSQL not yet."""

    async def submit(_: Content, _wait: float) -> None:
        return None

    with client(submit=submit) as http:
        got = http.post("/orders", content=ORDER)
    assert (got.status_code, got.json()) == (202, {"message": "Order accepted, not yet saved"})
    assert got.headers["location"] == f"/orders/{ORDER_UID}"


@pytest.mark.parametrize(
    ("prefer", "waited", "applied"),
    [
        ("", 10.0, None),
        ("respond-async", 0.0, "respond-async"),
        ("wait=3", 3.0, "wait=3"),
        ("wait=99", 10.0, "wait=99"),
    ],
)
def test_post_that_prefers(prefer: str, waited: float, applied: str | None) -> None:
    """How long to wait, and that this was heard."""
    waits: list[float] = []

    async def submit(_: Content, wait: float) -> None:
        waits.append(wait)

    with client(submit=submit) as http:
        got = http.post("/orders", content=ORDER, headers={"prefer": prefer})
    assert (got.status_code, got.headers.get("preference-applied"), waits) == (202, applied, [waited])


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"content-type": "text/plain"}, "not-json"),
        ({"content-type": "application/x-www-form-urlencoded"}, "not-json"),
        ({"content-type": "application/json", "origin": "https://evil.example"}, "cross-site"),
        ({"origin": "null"}, "cross-site"),
        ({"content-type": "text/plain", "content-encoding": "br"}, "not-json"),
    ],
)
def test_post_of_a_page_that_nobody_asked(plain: TestClient, fields: dict[str, str], name: str) -> None:
    """What a browser lets any page send is refused, before the body is looked at."""
    assert is_problem(plain.post("/orders", content=b"{", headers=fields), name)


@pytest.mark.parametrize(
    "fields", [{}, {"content-type": "application/json; charset=utf-8"}, {"content-type": "application/vnd.orders+json"}]
)
def test_post_of_json_by_any_of_its_names(plain: TestClient, fields: dict[str, str]) -> None:
    """Also without a type, as some programs send it."""
    assert plain.post("/orders", content=ORDER, headers=fields).status_code == 201


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "identity, gzip"])
def test_post_that_is_compressed(coding: str) -> None:
    """The same order, whatever way it came."""
    got: list[Content] = []

    async def submit(content: Content, _wait: float) -> None:
        got.append(content)

    with client(submit=submit) as http:
        packed = http.post("/orders", content=gzip.compress(ORDER), headers={"content-encoding": coding})
        plain = http.post("/orders", content=ORDER)
    assert (packed.status_code, plain.status_code) == (202, 202)
    assert got[0] == got[1]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (ORDER, "invalid-gzip"),
        (gzip.compress(ORDER)[:-1], "invalid-gzip"),
        (gzip.compress(ORDER) + b"\n", "invalid-gzip"),
        (gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1)), "too-large"),
    ],
)
def test_post_that_is_compressed_and_wrong(plain: TestClient, body: bytes, name: str) -> None:
    """Labelled and not compressed, cut, followed by more; and limits hold for what comes out."""
    assert is_problem(plain.post("/orders", content=body, headers={"content-encoding": "gzip"}), name)


def test_what_is_wrong_with_a_compressed_order_is_said_of_what_comes_out(plain: TestClient) -> None:
    """The position is that in the text, not in the bytes that arrived."""
    body, fields = gzip.compress(ORDER[:-1]), {"content-encoding": "gzip"}
    answer = plain.post("/orders", content=body, headers=fields)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-json")
    assert f"unexpected end at byte {len(ORDER) - 1} " in answer.json()["detail"]


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, br", "gzip, gzip"])
def test_post_in_a_coding_that_is_not_supported(plain: TestClient, coding: str) -> None:
    """Plain JSON so labelled too; Accept-Encoding says what is, and is not there where the type is wrong."""
    got = plain.post("/orders", content=ORDER, headers={"content-encoding": coding})
    assert is_problem(got, "unknown-coding")
    assert got.headers["accept-encoding"] == "gzip"
    assert "accept-encoding" not in plain.post("/orders", headers={"content-type": "text/plain"}).headers


def test_post_that_postgresql_refuses() -> None:
    """422 with the reason that ingest gives."""

    async def submit(_: Content, _wait: float) -> RecordOutcome:
        return RecordOutcome("refused", None, "a reason", "$.items")

    with client(submit=submit) as http:
        got = http.post("/orders", content=ORDER)
    assert (got.status_code, got.headers["content-type"]) == (422, "application/problem+json")
    assert got.json() == {
        "type": "/problems/invalid-order",
        "title": "Invalid order",
        "status": 422,
        "errors": [{"detail": "a reason", "pointer": "#/items"}],
        "error": "Invalid order",
    }


@pytest.mark.parametrize("error", [Unavailable("Kafka at secret-host"), Misconfigured("topic secret-host")])
def test_post_while_kafka_is_away(error: OrdersError) -> None:
    """503 with Retry-After."""

    async def submit(_: Content, _wait: float) -> None:
        raise error

    with client(submit=submit) as http:
        got = http.post("/orders", content=ORDER)
    assert (got.status_code, got.headers["retry-after"]) == (503, "1")
    assert "secret-host" not in got.text


async def _accepted(_: Content, _wait: float) -> None:
    return None


async def _unavailable(_: Content, _wait: float) -> None:
    raise Unavailable("Kafka")


@pytest.mark.parametrize(
    ("submit", "body", "outcome"),
    [
        *((told(outcome), ORDER, outcome) for outcome in ("created", "replaced", "unchanged", "conflict", "refused")),
        (_accepted, ORDER, "accepted"),
        (_unavailable, ORDER, "unavailable"),
        (told("created"), b"{", "refused"),
        (told("created"), b"{}", "refused"),
    ],
)
def test_each_post_is_counted_by_what_it_was_told(submit: Any, body: bytes, outcome: str) -> None:
    values = private()
    with client(submit=submit, values=values) as http:
        http.post("/orders", content=body)
    assert counted(values) == {f'orders_posts_total{{outcome="{outcome}"}}': 1}


def test_metrics_are_given_in_the_format_that_is_asked_for() -> None:
    """200 with the type that the text has; HEAD has the same fields and no body."""
    values = private()
    values.add(POSTS, "created")

    async def metrics(accept: str) -> Page:
        return page(values.layout, values.cells.tolist(), {}, accept)

    with client(metrics=metrics) as http:
        for accept in READERS:
            got = http.get("/metrics", headers={"accept": accept})
            assert series_of(got.text, accept)['orders_posts_total{outcome="created"}'] == 1
            assert got.headers["content-type"] == page(values.layout, values.cells.tolist(), {}, accept).content_type
            assert dict(http.head("/metrics", headers={"accept": accept}).headers) == dict(got.headers)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "unexpected end at byte 0 (line 1, column 1)"),
        (b"{\n", "unexpected end at byte 2 (line 2, column 1)"),
        (b"{'a':1}", "expected '\"' at byte 1 (line 1, column 2)"),
        (b'{"a":1}x', "bytes after the end at byte 7 (line 1, column 8)"),
        (b'{"a":\n"\xff"}', "not UTF-8 at byte 7 (line 2, column 2)"),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark (BOM) at byte 0 (line 1, column 1)"),
    ],
)
def test_post_of_no_json(plain: TestClient, body: bytes, what: str) -> None:
    """400 as the original Go service answered, with what is wrong and where."""
    got = plain.post("/orders", content=body)
    assert (got.status_code, got.headers["content-type"]) == (400, MEDIA_TYPE)
    assert got.json() == {
        "type": "/problems/invalid-json",
        "title": "Invalid JSON",
        "status": 400,
        "detail": f"Invalid JSON: {what}",
        "error": "Invalid JSON",
    }


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.status in {404, 409}])
def test_what_is_not_there_or_there_already_has_a_detail(name: str) -> None:
    """RFC 9457, 3.1.4: sentences for this kind, with the next step."""
    detail = json.loads(problem(name))["detail"]
    assert detail.endswith(".")
    assert detail.count(". ") == 1


def test_post_of_an_invalid_order(plain: TestClient) -> None:
    """422 says of everything that is wrong where it is and why."""
    order = json.loads(ORDER)
    order["items"][0]["price"] = "x"
    del order["locale"]
    got = plain.post("/orders", content=json.dumps(order))
    assert (got.status_code, got.json()["error"]) == (422, "Invalid order")
    assert got.json()["errors"] == [
        {"detail": "Expected `integer`, got `string`", "pointer": "#/items/0/price"},
        {"detail": "Object missing required field `locale`", "pointer": "#/locale"},
    ]


def test_post_too_large(plain: TestClient) -> None:
    """413, with or without a length announced; the largest order is still read."""
    body = b" " * (MAX_DOCUMENT_BYTES + 1)
    for sent in (body, iter([body[:1000], body[1000:]])):
        got = plain.post("/orders", content=sent)
        assert is_problem(got, "too-large")
    assert plain.post("/orders", content=body[1:]).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/x", 404),
        ("PUT", "/orders", 405),
        ("DELETE", "/orders/a", 405),
        ("POST", "/", 405),
        ("GET", "/a/b/c", 404),
    ],
)
def test_other_paths_and_methods(plain: TestClient, method: str, path: str, status: int) -> None:
    """405 names what is allowed."""
    got = plain.request(method, path)
    assert is_problem(got, {404: "not-found", 405: "method-not-allowed"}[status])
    assert ("allow" in got.headers) == (status == 405)


@pytest.mark.parametrize("name", KINDS)
def test_a_problem_has_a_page(plain: TestClient, name: str) -> None:
    """Its `type` leads there, on the same server."""
    got = plain.get(json.loads(problem(name))["type"])
    assert (got.status_code, got.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"<h1>{escape(KINDS[name].title)}</h1>" in got.text
    assert "default-src 'none'" in got.headers["content-security-policy"]
    assert is_problem(plain.get("/problems/other"), "not-found")


@pytest.mark.parametrize(
    ("error", "suspected"), [(Unavailable("PostgreSQL"), 1), (Misconfigured("right"), 1), (Busy("many"), 0)]
)
def test_a_request_that_met_an_outage_has_it_looked_at(error: Exception, suspected: int) -> None:
    """So that its end is logged; too many requests are none."""
    suspicions: list[str] = []

    async def failing(_: str) -> None:
        raise error

    with capture_logs(), client(order=failing, suspect=lambda: suspicions.append("!")) as http:
        assert http.get("/orders/nobody").status_code == 503
    assert len(suspicions) == suspected


def test_a_mistake_of_ours() -> None:
    """500 without a trace; the log has it."""

    async def broken(_: str) -> None:
        raise ValueError("Test Testov, +9720000000")

    with capture_logs() as logs, client(order=broken) as http:
        got = http.get("/orders/nobody")
    assert is_problem(got, "internal")
    assert [(line["event"], line["kind"]) for line in logs] == [("internal_error", "ValueError")]


def test_health() -> None:
    """/livez answers always; /readyz 200 or 503 with every part, by what it is asked for."""
    fine, bad = ReadinessPart(ok=True), ReadinessPart(ok=False, reason="away")

    async def health(purpose: Purpose) -> ReadinessReport:
        parts = ReadinessParts(fine, bad, fine, Lag(ok=True, messages=3), fine, RestorePart(ok=True, done=1, total=2))
        return report_of(parts, purpose)

    with client(health=health) as http:
        assert http.get("/livez").status_code == 200
        got = http.get("/readyz?for=writing")
        reading = http.get("/readyz")
        assert is_problem(http.get("/readyz?for=both"), "unknown-purpose")
    assert (got.status_code, got.headers["retry-after"]) == (503, "1")
    assert (reading.status_code, reading.headers.get("retry-after")) == (200, None)
    assert reading.json() == {**got.json(), "ready": True}
    assert got.json() == {
        "ready": False,
        "reading": True,
        "writing": False,
        "parts": {
            "postgres": {"ok": True, "reason": ""},
            "kafka": {"ok": False, "reason": "away"},
            "assignment": {"ok": True, "reason": ""},
            "lag": {"ok": True, "reason": "", "messages": 3},
            "memory": {"ok": True, "reason": ""},
            "restore": {"ok": True, "reason": "", "done": 1, "total": 2},
            "process": {"ok": True, "reason": ""},
        },
    }


@pytest.mark.parametrize("started", [True, False])
def test_start(started: bool) -> None:
    """/startupz is 200 or 503 with the parts that the start waits for; HEAD too."""
    start = (
        FINISHED
        if started
        else StartupReport(started, StartParts(ReadinessPart(ok=True), ReadinessPart(ok=False, reason="no keeper")))
    )

    async def startup() -> StartupReport:
        return start

    with client(startup=startup) as http:
        got, head = http.get("/startupz"), http.head("/startupz")
    assert (got.status_code, head.status_code, head.content) == (200 if started else 503, got.status_code, b"")
    reason = "" if started else "no keeper"
    parts = {"postgres": {"ok": True, "reason": ""}, "restore": {"ok": started, "reason": reason}}
    assert got.json() == {"started": started, "parts": parts}
    assert got.headers.get("retry-after") == (None if started else "1")


def test_page(plain: TestClient) -> None:
    """One file without anything from elsewhere, under a policy that allows its own style only."""
    got = plain.get("/", headers={"host": "127.0.0.1:8080"})
    assert (got.status_code, got.content) == (200, page_at(""))
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert got.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    for link in ("/livez", "/readyz", "/startupz", "/orders/", "/docs"):
        assert f'href="{link}' in got.text


@pytest.mark.parametrize("host", ["localhost", "orders.example:443", "10.0.0.7:9000", "[::1]:8080"])
def test_page_at_another_address(plain: TestClient, host: str) -> None:
    """The commands of the page go where the page came from."""
    got = plain.get("/", headers={"host": host})
    assert got.text.count(f" http://{host}/orders") == 2
    assert "127.0.0.1" not in got.text


@pytest.mark.parametrize("host", ["", "a;id", "$(id)", "a&b", "a'", "user@a"])
def test_page_without_a_plain_host(plain: TestClient, host: str) -> None:
    """What could be read as HTML or as shell does not come into the page."""
    assert plain.get("/", headers={"host": host}).content == page_at("")
