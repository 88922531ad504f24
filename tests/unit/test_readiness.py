"""Reports of readiness: their bytes, and what is read of those of other releases."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.readiness import (
    Lag,
    ReadinessPart,
    ReadinessParts,
    ReadinessReport,
    Ready,
    RestorePart,
    StartParts,
    StartupReport,
    read,
)

TEXTS = st.text(st.characters(codec="utf-8"))
COUNTS = st.integers(0, 2**53)
PART = st.builds(ReadinessPart, st.booleans(), TEXTS)
PARTS = st.builds(
    ReadinessParts,
    *(PART, PART, PART),
    st.builds(Lag, st.booleans(), TEXTS, st.none() | COUNTS),
    PART,
    st.builds(RestorePart, st.booleans(), TEXTS, COUNTS, COUNTS),
    PART,
)
FINE = ReadinessPart(ok=True)


def test_the_bytes_of_a_report() -> None:
    """Programs of others read them: no field leaves, moves or changes its name."""
    parts = ReadinessParts(
        FINE, ReadinessPart(ok=False, reason="away"), FINE, Lag(ok=True, messages=7), FINE, RestorePart(True, "", 3, 9)
    )
    report = ReadinessReport(ready=True, reading=True, writing=False, parts=parts)
    assert msgspec.json.encode(report) == (
        b'{"ready":true,"reading":true,"writing":false,"parts":{'
        b'"postgres":{"ok":true,"reason":""},"kafka":{"ok":false,"reason":"away"},'
        b'"assignment":{"ok":true,"reason":""},"lag":{"ok":true,"reason":"","messages":7},'
        b'"memory":{"ok":true,"reason":""},"restore":{"ok":true,"reason":"","done":3,"total":9},'
        b'"process":{"ok":true,"reason":""}}}'
    )
    assert msgspec.json.encode(
        StartupReport(started=False, parts=StartParts(FINE, ReadinessPart(ok=False, reason="x")))
    ) == (b'{"started":false,"parts":{"postgres":{"ok":true,"reason":""},"restore":{"ok":false,"reason":"x"}}}')


@given(PARTS, st.booleans(), st.booleans())
def test_what_a_server_answers_is_read(parts: ReadinessParts, ready: bool, writing: bool) -> None:
    found = read(msgspec.json.encode(ReadinessReport(ready, ready, writing, parts)))
    assert found == Ready(ready, writing, msgspec.structs.asdict(parts))
    assert (found.lag, found.restore) == (parts.lag, parts.restore)


def test_a_start_is_read_too() -> None:
    """Its part `restore` counts no orders."""
    waiting = ReadinessPart(ok=False, reason="the keeper waits")
    found = read(msgspec.json.encode(StartupReport(started=False, parts=StartParts(FINE, waiting))))
    assert (found.ready, found.missing) == (False, "restore: the keeper waits")
    assert found.restore == RestorePart(ok=False, reason="the keeper waits")


@pytest.mark.parametrize(
    ("body", "ready"),
    [
        ({}, Ready()),
        ({"ready": True}, Ready(ready=True)),
        ({"ready": True, "parts": {}, "since": [1]}, Ready(ready=True)),
        ({"parts": {"kafka": {}}}, Ready(parts={"kafka": ReadinessPart(ok=False)})),
        ({"parts": {"lag": {"ok": True, "bytes": 5}}}, Ready(parts={"lag": Lag(ok=True)})),
        ({"parts": {"queue": {"ok": False, "reason": "full"}}}, Ready(parts={"queue": ReadinessPart(False, "full")})),
    ],
)
def test_fields_may_be_missing_or_new_and_so_may_parts(body: Any, ready: Ready) -> None:
    """A command asks a server of any release."""
    assert read(json.dumps(body).encode()) == ready


def test_what_a_server_does_not_answer_is_unknown() -> None:
    assert (Ready().lag.messages, Ready().restore.total, Ready().restore.ok, Ready().missing) == (None, 0, False, "")


def test_what_is_missing_names_each_part_with_its_reason() -> None:
    parts = {
        "postgres": FINE,
        "lag": Lag(ok=False, reason="too far behind"),
        "restore": RestorePart(False, "under way"),
    }
    assert Ready(parts=parts).missing == "lag: too far behind; restore: under way"


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", '{"ready":1}', '{"parts":[]}', '{"parts":{"kafka":{"ok":"yes"}}}']
)
def test_the_answer_of_something_else_is_refused(body: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        read(body.encode())
