"""The Postman collection is what comes of the OpenAPI document, and calls all that is in it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orders.api.app import ENDPOINTS
from orders.api.examples import UID, sample_order
from tools import postman
from tools.calls import FOLDERS, Call

COLLECTION: dict[str, Any] = json.loads(postman.FILE.read_text())
TOLD = [call for folder in FOLDERS for call in folder.calls]


def test_the_file_is_what_the_tool_writes() -> None:
    assert postman.FILE.read_text() == postman.text(), "run `python -m tools.postman`"


def test_it_starts_with_the_original_example_on_the_default_address() -> None:
    variables = {variable["key"]: variable["value"] for variable in COLLECTION["variable"]}
    assert variables["baseUrl"] == "http://127.0.0.1:8080"
    assert variables["orderUid"] == UID
    assert json.loads(variables["postedOrder"]) == sample_order()


def test_its_first_call_posts_the_original_order_under_a_uid_of_its_own() -> None:
    first = next(calls())
    assert json.loads(first["request"]["body"]["raw"]) == sample_order() | {"order_uid": "{{orderUid}}"}


def test_every_call_is_described_and_goes_to_the_base_url() -> None:
    for call in calls():
        assert call["request"]["description"], call["name"]
        assert call["request"]["url"]["raw"].startswith("{{baseUrl}}/"), call["name"]


def test_every_operation_is_called() -> None:
    called = {call.operation for call in (*TOLD, *postman.rest().calls)}
    assert called == {f"{each.method} {each.path}" for each in ENDPOINTS}


@pytest.mark.parametrize("call", TOLD, ids=lambda call: call.name)
def test_a_call_has_only_values_of_parameters_that_are_described(call: Call) -> None:
    parameters = postman.operation_of(call.operation)["parameters"]
    assert call.values.keys() <= {each["name"] for each in parameters}
    assert call.values.keys() >= {each["name"] for each in parameters if each["required"]}


def calls() -> Iterator[Any]:
    """The calls of the folders, in their order."""
    for folder in COLLECTION["item"]:
        yield from folder["item"]
