"""What lists, searches and lookups answer over HTTP, with a double in place of PostgreSQL."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from orders import sample
from orders.api import search
from orders.api.views import original
from orders.decoder import decode as decode_order
from orders.errors import Busy, IndexBuilding, OrdersError, Unavailable
from orders.http.limits import USUAL
from orders.metrics.table import private
from orders.order import MAX_DOCUMENT_BYTES, Content, document
from orders.search.criteria import END, FIRST, Criteria, Range
from orders.search.cursor import Cursor, Position, decode, encode
from orders.search.finder import Bodies, Found, OrderTotal, TooManyBytesError
from orders.search.statements import DOCUMENT, SUMMARY, Payload
from support.metrics import counted
from support.problem import is_problem
from support.wire import plain_app

NEXT = encode(Criteria(), "next", Position(1, "a"))
PREV = encode(Criteria(), "prev", Position(9, "z"))
TRACKED = encode(Criteria("track_number", "T"), "next", Position(9, "z"))
MARCH = 1_772_323_200_000_000
"""2026-03-01 in microseconds."""


def served(order: bytes, number: int) -> bytes:
    content = decode_order(order)
    assert isinstance(content, Content)
    return document(number, content.text)


DOCUMENTS = [served(order, number) for number, order in enumerate(sample.samples(2, 0), start=1)]
ORDERS: Mapping[str, bytes] = {json.loads(each)["order"]["order_uid"]: each for each in DOCUMENTS}
ONE, OTHER = ORDERS


class Asked(NamedTuple):
    """What the finder was asked for."""

    criteria: Criteria
    limit: int
    payload: Payload
    cursor: Cursor | None


class Double:
    """A finder that has these orders and keeps what it was asked for."""

    def __init__(self, orders: Bodies = ORDERS, error: Exception | None = None, **parts: Any) -> None:
        self._orders = orders
        self._error = error
        self._parts = {"next": NEXT, "prev": None, "total": OrderTotal(2, is_estimate=False)} | parts
        self.pages: list[Asked] = []
        self.lookups: list[Sequence[str]] = []

    async def page(self, criteria: Criteria, limit: int, payload: Payload, cursor: Cursor | None) -> Found:
        self.pages.append(Asked(criteria, limit, payload, cursor))
        if self._error:
            raise self._error
        return Found(self._orders, **self._parts)

    async def documents(self, uids: Sequence[str], most_bytes: int) -> Bodies:
        self.lookups.append(uids)
        if self._error:
            raise self._error
        found = {uid: self._orders[uid] for uid in uids if uid in self._orders}
        if sum(len(each or b"") for each in found.values()) > most_bytes:
            raise TooManyBytesError
        return found


def client(finder: Double, **parts: Any) -> TestClient:
    return TestClient(plain_app(finder=finder, **{"find": {}.get, **parts}))


@pytest.fixture
def finder() -> Double:
    return Double()


@pytest.fixture
def http(finder: Double) -> Iterator[TestClient]:
    with client(finder) as made:
        yield made


def shown(answer: httpx2.Response) -> list[str]:
    return [each["order_uid"] for each in answer.json()["orders"]]


def detail(answer: httpx2.Response, name: str) -> str:
    """Of an error of this name."""
    assert answer.json()["type"] == f"/problems/{name}"
    return str(answer.json()["detail"])


def faults(answer: httpx2.Response) -> list[tuple[str, str]]:
    """What is wrong with the body of a search."""
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-search")
    return [(each["pointer"], each["detail"]) for each in answer.json()["errors"]]


# ---- lists ----


def test_a_list_has_the_orders_as_they_are_stored(http: TestClient, finder: Double) -> None:
    """Without the object around each, byte for byte; nobody keeps it."""
    answer = http.get("/orders")
    orders = b",".join(each[len(b'{"order":') : -1] for each in DOCUMENTS)
    total = b'"total":{"count":2,"is_estimate":false}'
    assert answer.content == b'{"orders":[%b],"next":"%b","prev":null,%b}' % (orders, NEXT.encode(), total)
    assert answer.headers["cache-control"] == "private, no-store"
    assert finder.pages == [Asked(Criteria(), 50, DOCUMENT, None)]


@pytest.mark.parametrize(
    ("query", "criteria", "limit"),
    [
        ("limit=1", Criteria(), 1),
        ("limit=200", Criteria(), 200),
        ("track_number=A%20B", Criteria("track_number", "A B"), 50),
        ("customer_id=c&limit=7", Criteria("customer_id", "c"), 7),
        ("transaction=%D0%B6", Criteria("transaction", "ж"), 50),
        ("created_from=2026-03-01", Criteria(range=Range("created", MARCH, END)), 50),
        (
            "received_from=2026-03-01T03:00:00%2B03:00&received_to=2026-03-01T00:00:01Z",
            Criteria(range=Range("received", MARCH, MARCH + 1_000_000)),
            50,
        ),
        ("customer_id=c&created_from=2026-03-01", Criteria("customer_id", "c", Range("created", MARCH, END)), 50),
    ],
)
def test_parameters_are_criteria(http: TestClient, finder: Double, query: str, criteria: Criteria, limit: int) -> None:
    assert http.get(f"/orders?{query}").status_code == 200
    assert finder.pages == [Asked(criteria, limit, DOCUMENT, None)]


LIMIT = "`limit` must be a whole number from 1 to 200."
DATE = "`created_from` must be a date, as 2026-11-30, which begins at midnight in UTC, or a date-time of RFC 3339"


@pytest.mark.parametrize(
    ("query", "name", "words"),
    [
        ("limits=5", "unknown-parameter", "There is no parameter `limits`: did you mean `limit`?"),
        ("custmer=5", "unknown-parameter", "There is no parameter `custmer`: did you mean `customer_id`?"),
        ("phone=5", "unknown-parameter", "There is no parameter `phone`; there are limit, cursor, track_number, "),
        (f"{'x' * 500}=", "unknown-parameter", f"There is no parameter `{'x' * 100}`; there are"),
        ("limit=5&limit=5", "unknown-parameter", "The parameter `limit` is given twice."),
        *[(f"limit={each}", "invalid-parameter", LIMIT) for each in ("0", "201", "x", "", "-1", "1.5", "9" * 30)],
        ("fields=some", "invalid-parameter", "`fields` must be all or summary."),
        ("track_number=", "invalid-parameter", "`track_number` must not be empty."),
        ("track_number=%00", "invalid-parameter", "`track_number` must not have U+0000, which no order has."),
        (f"customer_id={'x' * 1001}", "invalid-parameter", "`customer_id` must be a text of 1 to 1000 characters."),
        ("created_from=today", "invalid-parameter", DATE),
        ("created_from=2026-03-01T00:00:00+03:00", "invalid-parameter", DATE),
        (
            "created_from=2026-03-02&created_to=2026-03-01",
            "invalid-parameter",
            "`created_from` must be before created_to.",
        ),
        (
            "track_number=A&transaction=B",
            "invalid-parameter",
            "`transaction` cannot be given beside track_number: a list is by one of them.",
        ),
        (
            "created_from=2026-03-02&received_to=2026-03-01",
            "invalid-parameter",
            "`received_to` cannot be given beside created_from: a list is by one time.",
        ),
        ("cursor=x", "invalid-cursor", "This is no cursor of a list: take `next` or `prev` of an answer as it is."),
        (f"cursor={NEXT[:-3]}", "invalid-cursor", "This is no cursor of a list: take "),
    ],
)
def test_parameters_that_are_refused(http: TestClient, finder: Double, query: str, name: str, words: str) -> None:
    answer = http.get(f"/orders?{query}")
    assert answer.status_code == 400
    assert detail(answer, name).startswith(words)
    assert finder.pages == []


def test_an_unknown_view(http: TestClient) -> None:
    assert is_problem(http.get("/orders?view=other"), "unknown-view")


def test_a_list_continues_by_its_cursor_alone(http: TestClient, finder: Double) -> None:
    """Its filters may be repeated, and not be others."""
    wanted = Criteria("customer_id", "c")
    cursor = encode(wanted, "prev", Position(3, "a"))
    assert http.get(f"/orders?cursor={cursor}&limit=3").status_code == 200
    assert http.get(f"/orders?cursor={cursor}&customer_id=c").status_code == 200
    assert [each.cursor for each in finder.pages] == [decode(cursor, wanted)] * 2
    assert detail(http.get(f"/orders?cursor={cursor}&customer_id=d"), "invalid-cursor") == (
        "The cursor belongs to other filters: leave the filters out, or repeat them as they were."
    )


def test_a_cursor_of_a_personal_search_is_refused_in_a_url(http: TestClient) -> None:
    cursor = encode(Criteria("phone", "9161234567"), "next", Position(3, "a"))
    assert "repeat the body" in detail(http.get(f"/orders?cursor={cursor}"), "invalid-cursor")


def test_links_lead_to_the_pages_on_both_sides() -> None:
    """RFC 8288; with what the list was asked for."""
    with client(Double(prev=PREV)) as http:
        link = http.get("/orders?limit=3&fields=summary&view=original").headers["link"]
        assert http.head("/orders?limit=3&fields=summary&view=original").headers["link"] == link
        found = {each.split("; ")[1]: urlsplit(each[1 : each.index(">")]) for each in link.split(", ")}
        assert {relation: parse_qs(url.query) for relation, url in found.items()} == {
            f'rel="{relation}"': {"cursor": [cursor], "limit": ["3"], "fields": ["summary"], "view": ["original"]}
            for relation, cursor in (("next", NEXT), ("prev", PREV))
        }
        assert {url.path for url in found.values()} == {"/orders"}
        assert http.get(found['rel="next"'].geturl()).status_code == 200
    with client(Double(next=None)) as http:
        assert "link" not in http.get("/orders").headers


def test_a_list_without_personal_data() -> None:
    summary = b'{"order_uid":"a"}'
    finder = Double({"a": summary})
    with client(finder) as http:
        assert http.get("/orders?fields=summary").json()["orders"] == [{"order_uid": "a"}]
    assert finder.pages[0].payload == SUMMARY


@pytest.mark.parametrize("default", ["standard", "original"])
def test_orders_in_the_shape_of_the_original(default: str) -> None:
    """As a GET of each has it."""
    with client(Double(), default_view=default) as http:
        for view in ("standard", "original"):
            expected = [json.loads(original(each) if view == "original" else each)["order"] for each in DOCUMENTS]
            assert http.get(f"/orders?view={view}").json()["orders"] == expected
            assert http.post("/orders/search", json={"view": view}).json()["orders"] == expected
            assert (
                http.post("/orders/lookup", json={"order_uids": [*ORDERS], "view": view}).json()["orders"] == expected
            )
            if view == default:
                assert http.get("/orders").json()["orders"] == expected


def test_orders_that_cannot_be_shown_are_named() -> None:
    """Those that PostgreSQL cannot show, and those that have no shape of the original."""
    odd: Bodies = {"bad": None, ONE: ORDERS[ONE], "odd": b'{"order":{"id":1,"delivery":null}}'}
    with client(Double(odd)) as http:
        for answer in (http.get("/orders"), http.post("/orders/lookup", json={"order_uids": [*odd]})):
            assert answer.json()["unreadable"] == ["bad"]
            assert len(answer.json()["orders"]) == 2
        answer = http.get("/orders?view=original")
        assert (shown(answer), answer.json()["unreadable"]) == ([ONE], ["bad", "odd"])
        assert http.get("/orders?fields=summary").json()["unreadable"] == ["bad"]


def test_only_a_first_page_says_how_many_there_are() -> None:
    with client(Double(total=None)) as http:
        assert "total" not in http.get("/orders").json()
    with client(Double(total=OrderTotal(12, is_estimate=True))) as http:
        assert http.get("/orders").json()["total"] == {"count": 12, "is_estimate": True}


# ---- searches ----


@pytest.mark.parametrize(
    ("body", "criteria"),
    [
        ({}, Criteria()),
        ({"phone": "+7 916"}, Criteria("phone", "+7 916")),
        ({"email": "a@example.com", "limit": 3}, Criteria("email", "a@example.com")),
        (
            {"name": "Ann", "created_to": "2026-03-01"},
            Criteria("name", "Ann", Range("created", FIRST, MARCH)),
        ),
        ({"name_prefix": "An", "phone": None}, Criteria("name_prefix", "An")),
        ({"q": "anything"}, Criteria("q", "anything")),
        (
            {"track_number": "A", "received_from": "2026-03-01"},
            Criteria("track_number", "A", Range("received", MARCH, END)),
        ),
    ],
)
def test_a_body_is_criteria(http: TestClient, finder: Double, body: dict[str, Any], criteria: Criteria) -> None:
    answer = http.post("/orders/search", json=body)
    assert (answer.status_code, shown(answer)) == (200, [ONE, OTHER])
    assert finder.pages == [Asked(criteria, body.get("limit", 50), DOCUMENT, None)]
    assert "link" not in answer.headers
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"limit": 0}, "#/limit", "Expected `integer` >= 1"),
        ({"limit": 201}, "#/limit", "Expected `integer` <= 200"),
        ({"limit": "5"}, "#/limit", "Expected `integer`, got `string`"),
        ({"phone": 5}, "#/phone", "Expected `string | null`, got `integer`"),
        ({"phone": ""}, "#/phone", "must not be empty"),
        ({"phone": "home"}, "#/phone", "must have a digit"),
        ({"name": "a" * 1001}, "#/name", "Expected `string` of length <= 1000"),
        ({"name": "a", "q": "b"}, "#/q", "cannot be given beside name: a list is by one of them"),
        ({"q": "b", "created_to": "2026-03-01"}, "#/created_to", "cannot be given beside q"),
        ({"created_to": "soon"}, "#/created_to", "must be a date, as "),
        ({"telephone": "1"}, "#", "Object contains unknown field `telephone`"),
        ([], "#", "Expected `object`, got `array`"),
        ({"fields": 5}, "#/fields", "Expected `all` or `summary`"),
        ({"fields": "qx7"}, "#/fields", "Expected `all` or `summary`"),
        ({"view": "qx7"}, "#/view", "Expected `standard` or `original`"),
    ],
)
def test_a_body_that_is_refused(http: TestClient, body: object, pointer: str, words: str) -> None:
    """With a pointer to the field, and without its value."""
    answer = http.post("/orders/search", json=body)
    ((found, said),) = faults(answer)
    assert (found, said[: len(words)]) == (pointer, words)
    assert "qx7" not in answer.text


def test_where_a_text_stands() -> None:
    with client(Double(matched={ONE: ("email", "name")})) as http:
        assert http.post("/orders/search", json={"q": "x"}).json()["matched"] == {ONE: ["email", "name"]}


def test_a_search_continues_with_its_body(http: TestClient, finder: Double) -> None:
    wanted = Criteria("phone", "9161234567")
    cursor = encode(wanted, "next", Position(3, "a"))
    assert http.post("/orders/search", json={"phone": "9161234567", "cursor": cursor}).status_code == 200
    assert finder.pages[0].cursor == decode(cursor, wanted)
    answer = http.post("/orders/search", json={"phone": "9161234568", "cursor": cursor})
    assert "repeat the body" in detail(answer, "invalid-cursor")


# ---- lookups ----


def look_up(http: TestClient, *uids: str) -> Any:
    answer = http.post("/orders/lookup", json={"order_uids": uids})
    assert answer.status_code == 200
    return answer.json()


def test_orders_come_in_the_order_asked(http: TestClient, finder: Double) -> None:
    """Each once; who is not there, or cannot be, is named."""
    found = look_up(http, "nobody", OTHER, "a b", ONE, OTHER, "nobody", "", "\0")
    assert [each["order_uid"] for each in found["orders"]] == [OTHER, ONE]
    assert found["missing"] == ["nobody", "a b", "", "\0"]
    assert "unreadable" not in found
    assert finder.lookups == [["nobody", OTHER, ONE]]


def test_memory_comes_first(finder: Double) -> None:
    """PostgreSQL is asked for the rest alone, and not at all where memory has all."""
    with client(finder, find={ONE.encode(): ORDERS[ONE]}.get) as http:
        assert [each["order_uid"] for each in look_up(http, ONE)["orders"]] == [ONE]
        assert finder.lookups == []
        assert [each["order_uid"] for each in look_up(http, OTHER, ONE)["orders"]] == [OTHER, ONE]
        assert finder.lookups == [[OTHER]]


def test_a_thousand_at_most(http: TestClient, finder: Double) -> None:
    uids = [f"u{number}" for number in range(1001)]
    assert look_up(http, *uids[:1000])["missing"] == uids[:1000]
    for body, words in (
        ({"order_uids": uids}, "Expected `array` of length <= 1000"),
        ({"order_uids": []}, "Expected `array` of length >= 1"),
    ):
        assert faults(http.post("/orders/lookup", json=body)) == [("#/order_uids", words)]
    answer = http.post("/orders/lookup", json={"order_uids": ["a", 5]})
    assert faults(answer) == [("#/order_uids/1", "Expected `string`, got `integer`")]
    assert faults(http.post("/orders/lookup", json={})) == [
        ("#/order_uids", "Object missing required field `order_uids`")
    ]
    assert len(finder.lookups) == 1


@pytest.mark.parametrize("remembered", [[], [ONE], [ONE, OTHER]])
def test_orders_that_are_too_large_together(monkeypatch: pytest.MonkeyPatch, remembered: list[str]) -> None:
    """Wherever they come from."""
    monkeypatch.setattr(search, "MOST_BYTES", len(DOCUMENTS[0]) + 10)
    with client(Double(), find={uid.encode(): ORDERS[uid] for uid in remembered}.get) as http:
        answer = http.post("/orders/lookup", json={"order_uids": [ONE, OTHER]})
        ((pointer, words),) = faults(answer)
        assert (pointer, words.partition(": ")[2]) == ("#/order_uids", "ask for fewer at once")
        assert [each["order_uid"] for each in look_up(http, ONE)["orders"]] == [ONE]


# ---- bodies, methods, paths ----

BODIES = {"/orders/search": {"q": "x"}, "/orders/lookup": {"order_uids": ["a"]}}
paths = pytest.mark.parametrize("path", BODIES)


@paths
def test_bodies_as_those_of_orders(http: TestClient, path: str) -> None:
    """JSON of any of its names, compressed or not, from no other site, not too large."""
    body = json.dumps(BODIES[path]).encode()
    packed = {"content-encoding": "gzip"}
    assert http.post(path, content=body).status_code == 200
    assert http.post(path, content=gzip.compress(body), headers=packed).status_code == 200
    for content, fields, name in (
        (body, {"content-type": "text/plain"}, "not-json"),
        (body, {"origin": "https://evil.example"}, "cross-site"),
        (body, {"content-encoding": "br"}, "unknown-coding"),
        (body, packed, "invalid-gzip"),
        (body + b" " * MAX_DOCUMENT_BYTES, {}, "too-large"),
        (gzip.compress(body + b" " * MAX_DOCUMENT_BYTES), packed, "too-large"),
    ):
        assert is_problem(http.post(path, content=content, headers=fields), name)
    for wrong in (b"", b"{", b"\xff", b'{"q": "' + b"[" * 100_000, body + body):
        answer = http.post(path, content=wrong)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-json")
    for deep in (b"[" * 50_000 + b"]" * 50_000, b'{"q":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b'{"q":"\\ud800"}'):
        assert http.post(path, content=deep).status_code == 422


@paths
def test_the_methods_of_a_path_that_is_also_an_order(http: TestClient, path: str) -> None:
    """OPTIONS and 405 list them."""
    allowed = "GET, HEAD, POST, OPTIONS"
    assert (http.options(path).status_code, http.options(path).headers["allow"]) == (204, allowed)
    for method in ("PUT", "PATCH", "DELETE"):
        answer = http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert http.options("/orders").headers["allow"] == "GET, HEAD, POST, OPTIONS"


@paths
def test_an_order_whose_uid_is_a_path(path: str) -> None:
    """GET and HEAD mean the order; whoever has none gets 404."""
    uid = path.rsplit("/", 1)[1]
    stored = b'{"order":{"id":1,"order_uid":"%b"}}' % uid.encode()
    with client(Double(), find={uid.encode(): stored}.get) as http:
        assert http.get(path).content == stored
        assert http.get(path + "/").content == stored
        assert http.head(path).headers["content-length"] == str(len(stored))
    with client(Double()) as http:
        assert is_problem(http.get(path), "order-not-found")


# ---- what may fail ----

EVERY = (("GET", "/orders", None), *(("POST", path, body) for path, body in BODIES.items()))


@pytest.mark.parametrize(("method", "path", "body"), EVERY)
@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Busy("at secret-host"), "busy"),
        (IndexBuilding("at secret-host"), "index-building"),
        (Unavailable("at secret-host"), "unavailable"),
    ],
)
def test_what_is_not_answered_now(method: str, path: str, body: object, error: OrdersError, name: str) -> None:
    """503 with when to come again, and nothing of the cause."""
    suspected: list[bool] = []
    with client(Double(error=error), suspect=lambda: suspected.append(True)) as http:
        answer = http.request(method, path, json=body)
    assert is_problem(answer, name)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert suspected == [True] * (name == "unavailable")


def test_searches_pass_a_gate_of_their_own() -> None:
    """Where it is full, they are busy; orders in memory are looked up all the same."""
    values = private()
    limits = USUAL._replace(waiting_searches=0)
    with client(Double(), limits=limits, values=values, find={ONE.encode(): ORDERS[ONE]}.get) as http:
        for method, path, body in EVERY:
            assert is_problem(http.request(method, path, json=body), "busy")
        assert http.get("/orders/nobody").status_code == 404
        assert len(look_up(http, ONE)["orders"]) == 1
    assert [count for name, count in counted(values).items() if "searches" in name] == [3]


@pytest.mark.parametrize(
    ("method", "path", "body", "by"),
    [
        ("GET", "/orders", None, "id"),
        ("GET", "/orders?customer_id=c&created_from=2026-03-01", None, "customer_id"),
        ("GET", "/orders?received_from=2026-03-01", None, "received"),
        (
            "GET",
            f"/orders?cursor={TRACKED}",
            None,
            "track_number",
        ),
        ("POST", "/orders/search", {"q": "some"}, "q"),
        ("POST", "/orders/lookup", {"order_uids": ["nobody"]}, "lookup"),
    ],
)
@pytest.mark.parametrize("error", [None, Busy("")])
def test_each_page_is_measured_by_what_it_is_looked_for(
    method: str, path: str, body: object, by: str, error: Exception | None
) -> None:
    """Also one that PostgreSQL did not answer in time."""
    values = private()
    with client(Double(error=error), values=values) as http:
        http.request(method, path, json=body)
    assert counted(values)[f'orders_search_duration_seconds_count{{by="{by}"}}'] == 1
