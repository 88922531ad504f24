"""Whatever the bytes: one verdict for a POST and for ingest, which names a place, and never an error of ours."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from orders.decoder import decode, read
from orders.http.problems import problem
from orders.order import Content, text
from orders.record import Invalid, Record
from orders.violations import MOST, faults
from support.hostile import VALID
from support.mutations import mutations


@pytest.mark.parametrize("examples", [500, pytest.param(20_000, marks=[pytest.mark.faults, pytest.mark.timeout(1800)])])
def test_any_bytes_have_one_verdict_and_a_refusal_has_its_place(examples: int) -> None:
    @settings(max_examples=examples)
    @given(value=mutations())
    def check(value: bytes) -> None:
        verdict = decode(value)
        assert read(Record(0, 0, None, None, value)).content == verdict
        if isinstance(verdict, Content):
            assert text(verdict.row) == verdict.text
            assert decode(verdict.text) == verdict
        else:
            check_refusal(value, verdict)

    check()


def check_refusal(value: bytes, verdict: Invalid) -> None:
    """What a POST is told of it: each fault with a JSON Pointer, the decoder's own among them."""
    found = faults(value, verdict)
    assert verdict.path in {each.path for each in found}
    assert 1 <= len(found) <= MOST
    assert verdict.is_json == is_json(value) or verdict.fault == "too_deep"
    for each in json.loads(problem("invalid-order", found))["errors"]:
        above = each["pointer"].rpartition("/")[0]
        resolve(value, above if "missing" in each["detail"] else each["pointer"])


def is_json(value: bytes) -> bool:
    """By Python's own decoder, which takes unpaired surrogates as JSON does, and some words that are none."""
    try:
        json.loads(value.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def no_constant(name: str) -> Any:
    raise ValueError(name)


def resolve(value: bytes, pointer: str) -> None:
    """Follows a JSON Pointer (RFC 6901, as a fragment) to a value of the message, and fails where there is none."""
    steps = pointer.split("/")[1:]
    node: Any = json.loads(value.decode()) if steps else None
    for step in steps:
        node = node[int(step) if isinstance(node, list) else step]


def test_an_order_that_is_cut_anywhere_is_no_json() -> None:
    for end in range(len(VALID)):
        verdict = decode(VALID[:end])
        assert isinstance(verdict, Invalid), end
        assert not verdict.is_json, end
