"""What a POST asks for beside its body: its type, where it comes from, and how long it waits (RFC 7240)."""

import re

JSON_TYPE = re.compile(r"application/(?:[\w!#$&^.+-]+\+)?json[ \t]*(?:;.*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PREFERENCE = re.compile(
    r"[ \t]*(respond-async|wait(?:[ \t]*=[ \t]*([0-9]{1,9}))?)[ \t]*(?:;.*)?", re.IGNORECASE | re.ASCII
)
"""What we honour of RFC 7240, 4.1 and 4.3; parameters are passed over."""


def is_json(content_type: str | None) -> bool:
    """Whether a body may be read as JSON; one without a type may (RFC 9110, 8.3)."""
    return content_type is None or JSON_TYPE.fullmatch(content_type.strip(" \t")) is not None


def is_foreign(origin: str | None, host: str) -> bool:
    """Whether a browser says that a page of another origin asks (RFC 6454, 7): none of ours needs to."""
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


def patience(field: str, deadline: float) -> tuple[float, str]:
    """How long a POST waits for its outcome, in seconds, and what of Prefer is honoured.

    `respond-async` alone does not wait; the first `wait=N` waits N seconds, if the deadline is not shorter.
    """
    parts = _QUOTED.sub('""', field).split(",")
    asked = [found for part in parts if (found := _PREFERENCE.fullmatch(part))]
    applied = ["respond-async"] if any(each[1].lower() == "respond-async" for each in asked) else []
    waits = [int(each[2]) for each in asked if each[2]]
    if waits:
        return min(float(waits[0]), deadline), ", ".join([*applied, f"wait={waits[0]}"])
    return (0.0 if applied else deadline), ", ".join(applied)
