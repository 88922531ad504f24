"""What a POST asks for beside its body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.http.request_fields import is_foreign, is_json, patience


@pytest.mark.parametrize(
    ("content_type", "told"),
    [
        (None, True),
        ("application/json", True),
        ("Application/JSON;charset=UTF-8", True),
        (" application/problem+json ", True),
        ("", False),
        ("text/json", False),
        ("application/jsonp", False),
        ("application/json, text/plain", False),
        ("multipart/form-data; boundary=json", False),
    ],
)
def test_what_is_json(content_type: str | None, *, told: bool) -> None:
    """Every name of it, and no other."""
    assert is_json(content_type) == told


@pytest.mark.parametrize(
    ("origin", "host", "told"),
    [
        (None, "h", False),
        ("http://h", "h", False),
        ("https://H:8080", "h:8080", False),
        ("http://h:1", "h:2", True),
        ("null", "h", True),
        ("", "h", True),
        ("http://evil.example", "h", True),
    ],
)
def test_who_is_foreign(origin: str | None, host: str, *, told: bool) -> None:
    """A page of this host is not; programs say nothing."""
    assert is_foreign(origin, host) == told


@pytest.mark.parametrize(
    ("prefer", "waited", "applied"),
    [
        ("", 10.0, ""),
        ("respond-async", 0.0, "respond-async"),
        ("Respond-Async", 0.0, "respond-async"),
        ("wait=2", 2.0, "wait=2"),
        ("wait = 2; x=y, respond-async", 2.0, "respond-async, wait=2"),
        ("wait=0", 0.0, "wait=0"),
        ("wait=100", 10.0, "wait=100"),
        ("wait=1, wait=2", 1.0, "wait=1"),
        ("wait", 10.0, ""),
        ("wait=-1", 10.0, ""),
        ("wait=1.5", 10.0, ""),
        ('return=minimal, foo="a, wait=1"', 10.0, ""),
        ("handling=lenient, wait=5", 5.0, "wait=5"),
    ],
)
def test_patience(prefer: str, waited: float, applied: str) -> None:
    """What is not understood is passed over (RFC 7240, 2)."""
    assert patience(prefer, 10.0) == (waited, applied)


@given(st.text())
def test_any_text_is_read(field: str) -> None:
    """Nobody waits longer than the deadline."""
    assert 0 <= patience(field, 10.0)[0] <= 10
