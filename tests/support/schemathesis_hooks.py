"""What Schemathesis is told beside its options: how numbers are written, and a check of its own kind."""

import json
from typing import Any

import requests
import schemathesis

PLAIN = 1e21
"""From here on JavaScript writes an exponent (ECMA-262, 6.1.6.1.20)."""


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
    if case.method == "POST" and response.status_code in {200, 201}:
        (location,) = response.headers["location"]
        base = str(case.operation.base_url).rstrip("/")
        found = requests.get(base + location, timeout=10)
        assert found.status_code == 200, f"{found.status_code} at {location} after {response.status_code}"
