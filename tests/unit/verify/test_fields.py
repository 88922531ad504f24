"""The fields in which an order differs are named, for a row that is still the one that was compared."""

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.memory.shared import Put
from orders.order import Row, document, text
from orders.record import Record, Span
from orders.sample import samples
from orders.verify import fields
from orders.verify.findings import Clue, Findings

SENT = dict(enumerate(samples(4, seed=5)))
"""What lies in partition 0, by offset."""


def sent(offset: int) -> Row:
    row = fields.row_of(SENT[offset])
    assert row is not None
    return row


def fetch(spans: Mapping[int, Span]) -> Iterable[Record]:
    for partition, span in spans.items():
        assert span.end == span.begin + 1
        yield Record(partition, span.begin, None, None, SENT[span.begin])


def told(rows: Mapping[int, Row], version: int = 7) -> dict[str | None, tuple[str, ...]]:
    """What is named of stored rows, by the offsets of their records."""
    findings = Findings(10)
    for offset in rows:
        order_uid = sent(offset).order_uid
        findings.take("content", order_uid=order_uid, place=(0, 0), clue=Clue(order_uid, 0, offset, 7))
    puts = {row.order_uid: Put(row.order_uid, version, document(1, text(row))) for row in rows.values()}

    def read(uids: Sequence[str]) -> Mapping[str, Put]:
        return {each: puts[each] for each in uids}

    fields.report(findings, fetch, read)
    return {each.order_uid: each.fields for each in findings.shown}


def test_the_fields_of_each_order_are_named() -> None:
    rows = {
        1: sent(1)._replace(delivery_name="other", payment_amount=-1),
        2: sent(2)._replace(items=sent(1).items),
        3: sent(3)._replace(extra='{"order":{"more":1}}'),
    }
    assert told(rows) == {
        sent(1).order_uid: ("delivery_name", "payment_amount"),
        sent(2).order_uid: ("items",),
        sent(3).order_uid: ("extra",),
    }


@pytest.mark.parametrize(
    ("row", "version"),
    [(sent(1)._replace(locale="other"), 8), (sent(1)._replace(track_number="x" * 1001), 7)],
    ids=["changed meanwhile", "no row that the decoder would take"],
)
def test_of_a_row_that_cannot_be_compared_again_none_is_named(row: Row, version: int) -> None:
    assert told({1: row}, version) == {row.order_uid: ()}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), unique=True))
def test_each_record_is_looked_at_in_one_round_and_no_partition_twice_in_one(places: list[tuple[int, int]]) -> None:
    clues = [Clue("uid", partition, offset, 1) for partition, offset in places]
    rounds = list(fields.rounds(clues))
    assert all(clue.partition == partition for each in rounds for partition, clue in each.items())
    assert sorted(clue for each in rounds for clue in each.values()) == sorted(clues)
