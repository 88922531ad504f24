"""What Schemathesis is told beside its options: how numbers are written, new orders, and a check of its own kind.

What the POSTs of each phase were answered is written to the file that `POSTED` names.
"""

import atexit
import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import requests
import schemathesis

PLAIN = 1e21
"""From here on JavaScript writes an exponent (ECMA-262, 6.1.6.1.20)."""

posted: dict[str, Counter[int]] = {}
"""How many POSTs had each status, by phase."""
_uids: set[str] = set()
_numbers = itertools.count()


def plain(value: Any) -> Any:
    """The value with every whole number as an integer."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < PLAIN else value


@schemathesis.serializer("application/json")
def written_as_javascript_does(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """To JSON Schema 1.0 is an integer (Validation, 6.1.1), and `JSON.stringify` writes 1.

    The decoder takes integers that are written as such, which no schema can say.
    """
    return value if isinstance(value, bytes) else json.dumps(plain(value)).encode()


@schemathesis.check
def saved_order_is_found(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Where Location says. The check of resources that were created asks only after those without other parameters."""
    if case.method == "POST" and case.path == "/orders" and response.status_code in {200, 201}:
        (location,) = response.headers["location"]
        base = str(case.operation.base_url).rstrip("/")
        found = requests.get(base + location, timeout=10)
        assert found.status_code == 200, f"{found.status_code} at {location} after {response.status_code}"


def without_filters(given: Any) -> Any:
    """A list or search without what no schema can say: which filters go together, and what is a cursor.

    Of the filters an id of a customer stays.
    """
    if not isinstance(given, dict):
        return given
    customer = given.get("customer_id")
    kept = {"limit", "fields", "view"} | ({"customer_id"} if customer and "\0" not in str(customer) else set())
    return {name: value for name, value in given.items() if name in kept}


def _is_valid(case: schemathesis.Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Gives a valid order of the coverage phase a uid of its own where it has one that was sent before.

    That phase varies one value at a time and keeps the uid, so that nearly all would be told that the order exists.
    A valid list or search has the filters of `without_filters`.
    """
    if _is_valid(case) and case.path == "/orders" and case.method in {"GET", "HEAD"}:
        case.query = without_filters(case.query)
    if _is_valid(case) and case.path == "/orders/search":
        case.body = without_filters(case.body)
    if (case.method, case.path) != ("POST", "/orders") or _phase(case) != "coverage" or not isinstance(case.body, dict):
        return
    uid = case.body.get("order_uid")
    if not _is_valid(case) or not isinstance(uid, str):
        return
    if uid in _uids:
        case.body = {**case.body, "order_uid": f"coverage-{next(_numbers)}"}
    _uids.add(uid)


@schemathesis.hook
def after_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], response: schemathesis.Response) -> None:
    """Counts what POSTs are answered; leaves GET out of `Allow` where another path describes it: of an order."""
    if response.request.method == "OPTIONS" and case.path in {"/orders/search", "/orders/lookup"}:
        assert response.headers["allow"] == ["GET, HEAD, POST, OPTIONS"]
        response.headers["allow"] = ["POST, OPTIONS"]
    if case.method == "POST" and case.path == "/orders":
        posted.setdefault(_phase(case), Counter())[response.status_code] += 1


def _phase(case: schemathesis.Case[Any]) -> str:
    return case.meta.phase.name.value if case.meta else "none"


@atexit.register
def _tell() -> None:
    if name := os.environ.get("POSTED"):
        Path(name).write_text(json.dumps(posted))
