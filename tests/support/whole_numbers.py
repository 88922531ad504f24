"""A hook of Schemathesis: numbers as JavaScript writes them.

To JSON Schema 1.0 is the integer 1, whatever it is written like (2020-12, 6.1.1 of Validation), and `JSON.stringify`
writes 1. The decoder takes integers that are written as such, which no schema can say.
"""

import json
from typing import Any

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
def serialize(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(plain(value)).encode()
