"""The description of the topic is a document of AsyncAPI 3.0 by the schema that AsyncAPI publishes."""

import json
from typing import Any

import pytest
from jsonschema import Draft7Validator

from orders.api.openapi import asyncapi
from support.system import ROOT

SCHEMA = ROOT / "tests/postman/node_modules/@asyncapi/specs/schemas/3.0.0.json"

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    if not SCHEMA.exists():
        pytest.fail("no schema of AsyncAPI: run `npm ci` in tests/postman, or `make test-all`", pytrace=False)
    return Draft7Validator(json.loads(SCHEMA.read_bytes()))


@pytest.fixture
def document() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(asyncapi("orders"))
    return told


def test_the_topic_is_described_as_asyncapi_has_it(validator: Draft7Validator, document: dict[str, Any]) -> None:
    assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["asyncapi"], "2.6.0"),
        (["info", "version"], None),
        (["operations", "takeOrder", "action"], "take"),
        (["channels", "orders", "address"], 1),
        (["components", "messages", "order", "headers"], {"type": 1}),
        (["components", "messages", "order", "bindings", "kafka", "bindingVersion"], "9"),
        (["components", "messages", "order", "examples"], [{"body": {}}]),
    ],
    ids=str,
)
def test_a_fault_at_any_depth_is_seen(
    validator: Draft7Validator, document: dict[str, Any], path: list[str], value: object
) -> None:
    *way, name = path
    place = document
    for step in way:
        place = place[step]
    place[name] = value
    assert not validator.is_valid(document)
