"""What the service says of itself to programs is what it does."""

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from orders import sample
from orders.api import examples
from orders.api.app import ENDPOINTS
from orders.api.examples import sample_order
from orders.api.openapi import ANYWHERE, asyncapi, openapi, order_schema
from orders.api.reference import docs_page
from orders.decoder import decode
from orders.http.problems import KINDS
from orders.record import Invalid
from support.hostile import FORBIDDEN, NOT_AN_ORDER, TAKEN, WRONG_VALUES
from support.system import ROOT
from support.wire import UID, plain_app

DOCUMENT: dict[str, Any] = json.loads(openapi(ENDPOINTS))
SOMETIMES = {"Preference-Applied", "Accept-Encoding", "Link"}
"""Fields that are there where the request asks for them, where a 415 is for its coding, and where a list continues."""


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(plain_app()) as made:
        yield made


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_each_path_takes_the_methods_that_are_described(http: TestClient, path: str) -> None:
    """And OPTIONS, which lists them; every other one is 405, which lists them too.

    A path that could be an order's has those of an order too.
    """
    own = "/orders/{order_uid}" if re.fullmatch("/orders/[a-z]+", path) else path
    described = {method.upper() for each in (path, own) for method in DOCUMENT["paths"][each]} | {"OPTIONS"}
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        got = http.request(method, path)
        assert (got.status_code != 405) == (method in described)
        if method == "OPTIONS" or method not in described:
            assert set(got.headers["allow"].split(", ")) == described


def test_everything_is_described_for_a_caller() -> None:
    """Each operation, parameter, status and field says in words what it means."""
    for endpoint in ENDPOINTS:
        assert endpoint.summary
        assert endpoint.about
        for about in (
            *(each.about for each in endpoint.parameters),
            *(each.about for each in endpoint.returns.values()),
        ):
            assert len(about.split()) > 1, about
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            assert "$ref" in told or told.get("description"), f"{name}.{field}"


def test_the_document_is_openapi() -> None:
    """3.1, every reference leads somewhere, every example is valid."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_example_is_the_original_order() -> None:
    """Wherever it stands, and the schema takes it."""
    original = json.loads((ROOT / "src/orders/original.json").read_bytes())
    content = DOCUMENT["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == original
    assert DOCUMENT["components"]["schemas"]["Order"]["examples"] == [original]
    validate(content["example"], content["schema"])


def test_a_saved_order_links_to_its_get() -> None:
    """The operation is there and has the parameter."""
    operations = {each["operationId"]: each for path in DOCUMENT["paths"].values() for each in path.values()}
    for status in ("200", "201"):
        (link,) = DOCUMENT["paths"]["/orders"]["post"]["responses"][status]["links"].values()
        parameters = operations[link["operationId"]]["parameters"]
        assert set(link["parameters"]) == {each["name"] for each in parameters if each["in"] == "path"}


def test_every_kind_of_error_is_described() -> None:
    """By an operation, or as what any request may meet; the rest is of paths and methods that are not there."""
    told = {
        int(status) for path in DOCUMENT["paths"].values() for each in path.values() for status in each["responses"]
    }
    assert {kind.status for kind in KINDS.values()} - told == {405}


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", f"/orders/{UID.decode()}", {}),
        ("GET", f"/orders/{UID.decode()}", {"if-none-match": "*"}),
        ("GET", "/orders/nobody", {}),
        ("GET", "/orders/nobody?view=x", {}),
        ("HEAD", "/orders/nobody", {}),
        ("POST", "/orders", {}),
        ("POST", "/orders", {"content-type": "text/plain"}),
        ("POST", "/orders", {"content-encoding": "gzip"}),
        ("POST", "/orders", {"content-encoding": "br"}),
        ("POST", "/orders", {"origin": "null"}),
        *[("GET", each.path, {}) for each in ENDPOINTS if each.method == "GET" and "{" not in each.path],
        *[("GET", f"/problems/{name}", {}) for name in ("not-found", "other")],
    ],
)
def test_answers_are_as_described(http: TestClient, method: str, path: str, fields: Mapping[str, str]) -> None:
    """Status, media type, the fields that are promised, and a body of the shape."""
    got = http.request(method, path, headers=dict(fields))
    bare = path.partition("?")[0]
    template = re.sub("^/orders/.*", "/orders/{order_uid}", re.sub("^/problems/.*", "/problems/{name}", bare))
    told = DOCUMENT["paths"][template][method.lower()]["responses"][str(got.status_code)]
    assert all(name in got.headers for name in told.get("headers", {}) if name not in SOMETIMES)
    if got.content:
        media = got.headers["content-type"].partition(";")[0]
        schema = told["content"][media]["schema"]
        if media.endswith("json") and UID.decode() not in path:
            validate(got.json(), schema)


def validate(value: object, schema: Any) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_the_schema_takes_what_the_decoder_takes() -> None:
    """And refuses what it refuses for types, limits, what is missing, unknown fields and U+0000."""
    schema = json.loads(order_schema())
    validator = validator_for(schema)(schema)
    strange = [json.loads(each.value) for each in TAKEN if not is_another_matter(each.value)]
    for order in [sample_order(), *map(json.loads, sample.samples(50, 3)), *strange]:
        validator.validate(order)
    wrong = [each for each in (*NOT_AN_ORDER, *WRONG_VALUES) if not any(day in each.value for day in UNREAL)]
    forbidden = [each for each in FORBIDDEN if each.name.startswith(("U+0000", "257"))]
    refused = [each for each in (*wrong, *forbidden) if not is_another_matter(each.value)]
    taken = [each.name for each in refused if validator.is_valid(json.loads(each.value))]
    assert taken == []


UNREAL = (b'"2021-02-29', b'"0001-01-01T00:00:00+', b'"9999-12-31T23:59:59-')
"""What looks like an instant and is none is for `format`, which validators may pass over."""


def is_another_matter(value: bytes) -> bool:
    """Numbers such as 1.0 and 1e2 are integers to JSON Schema, and not to us; Python does not read 5,000 digits."""
    return any(number in value for number in (b"1.0", b"1e2", b"9" * 5000))


def test_the_topic_is_described() -> None:
    """Under its name; every reference leads somewhere, and the example is an order."""
    told = json.loads(asyncapi("sales"))
    assert told["channels"]["orders"]["address"] == "sales"
    for reference in re.findall(r'"\$ref":"#/([^"]+)"', json.dumps(told).replace('": "', '":"')):
        place: Any = told
        for name in reference.split("/"):
            place = place[name]
    message = told["components"]["messages"]["order"]
    schema = {**message["payload"]["schema"], "components": told["components"]}
    Draft202012Validator(schema).validate(message["examples"][0]["payload"])


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """It names every path and every error of one, and loads nothing."""
    page = docs_page(ENDPOINTS).decode()
    for endpoint in ENDPOINTS:
        assert f"{endpoint.path}</code>" in page
        assert all(f'href="/problems/{name}"' in page for name in endpoint.problems)
    assert all(f'href="/problems/{name}"' in page for name in ANYWHERE)
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", page)


def test_the_page_shows_an_order_as_it_is_taken_and_an_error_with_all_that_is_wrong() -> None:
    """The order is the example of the OpenAPI document, and can be posted as it stands there."""
    order, search, lookup, error = (
        unescape(found)
        for found in re.findall(r"<pre><code>(.*?)</code></pre>", docs_page(ENDPOINTS).decode(), re.DOTALL)
    )
    assert json.loads(order) == sample_order()
    assert not isinstance(decode(order.encode()), Invalid)
    assert (json.loads(search), json.loads(lookup)) == (examples.search(), examples.lookup())
    assert json.loads(error)["type"] == "/problems/invalid-order"
    assert {each["pointer"] for each in json.loads(error)["errors"]} == {"#/delivery", "#/items/0/price"}
