"""What is counted of a batch: each try by how it ended, each record by what became of it."""

import pytest

from orders.errors import Collided, Misconfigured, OrdersError, PositionsMoved, Rejected, Unavailable
from orders.ingest.counters import Counts
from orders.ingest.fold import Created, Origin, ReplayedDeadLetters, fold
from orders.ingest.store import Numbered, Plan
from orders.metrics.table import private
from orders.record import Batch, Condition, Entry, Record, RecordCoordinates
from support.entries import TOPIC_ID, content, delete, invalid, known, replay, upsert
from support.metrics import counted

ABSENT = Condition(None)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unavailable("x"), "unavailable"),
        (Misconfigured("x"), "misconfigured"),
        (Rejected("x"), "rejected"),
        (Collided("x"), "rejected"),
        (PositionsMoved("x"), "moved"),
    ],
)
def test_a_try_that_fails_is_counted_by_its_error(error: OrdersError, result: str) -> None:
    times = iter([10.0, 10.25])
    values = private()
    with pytest.raises(OrdersError), Counts(values, lambda: next(times)).trying():
        raise error
    series = counted(values)
    assert series[f'orders_commit_duration_seconds_count{{result="{result}"}}'] == 1
    assert series[f'orders_commit_duration_seconds_sum{{result="{result}"}}'] == 0.25


def test_records_are_counted_by_their_outcomes_and_dead_letters_by_their_faults() -> None:
    values = private()
    entries = (
        upsert("a", 1, offset=6),
        upsert("a", 1, offset=7),
        upsert("new", offset=8),
        upsert("new", 2, offset=9),
        upsert("b", 2, offset=10, condition=ABSENT),
        upsert("b", 2, offset=11),
        delete("b", offset=12),
        invalid(offset=13),
    )
    stored = {"a": known("a", 1), "b": known("b", 1)}
    Counts(values).committed(Batch(entries, {}), fold(entries, stored, TOPIC_ID).decisions)
    assert counted(values) == {
        'orders_records_total{outcome="unchanged"}': 2,
        'orders_records_total{outcome="created"}': 1,
        'orders_records_total{outcome="replaced"}': 2,
        'orders_records_total{outcome="conflict"}': 1,
        'orders_records_total{outcome="deleted"}': 1,
        'orders_records_total{outcome="refused"}': 1,
        'orders_dead_letters_total{reason="schema"}': 1,
        "orders_records_without_own_key_total": 6,
    }


def test_a_dead_letter_that_is_refused_again_is_no_second_one() -> None:
    values = private()
    entry = invalid(offset=13, replay=replay(4))
    dead_letters = ReplayedDeadLetters(frozenset({RecordCoordinates(TOPIC_ID, 0, 4)}), {})
    Counts(values).committed(Batch((entry,), {}), fold([entry], {}, TOPIC_ID, dead_letters).decisions)
    assert counted(values)['orders_records_total{outcome="refused"}'] == 1
    assert not [name for name, value in counted(values).items() if "dead_letters" in name and value]


def test_only_orders_under_another_key_than_their_uid_are_without_their_own() -> None:
    """Not tombstones, whose key is their uid, and not what is not an order."""
    values = private()
    own = Entry(Record(0, 0, None, b"a", b"{}"), content("a"))
    none = Entry(Record(0, 1, None, None, b"{}"), content("b"))
    entries = (own, none, delete("c", offset=2), invalid(offset=3))
    Counts(values).committed(Batch(entries, {}), fold(entries, {}, TOPIC_ID).decisions)
    assert counted(values)["orders_records_without_own_key_total"] == 1


def plan(*times: int | None) -> Plan:
    """Orders written, from records with these timestamps."""
    row, text = content("a").row, content("a").text
    return Plan([Numbered(Created(row, text, Origin(TOPIC_ID, 0, 0, time)), 1, 1) for time in times], [], [], [], [])


def test_the_age_of_an_order_is_that_of_its_record() -> None:
    """A record without a time has none, and a clock that is ahead gives 0."""
    values = private()
    Counts(values, wall=lambda: 100.0).readable(plan(99_500, 98_000, None, 100_700))
    series = counted(values)
    assert series["orders_produced_to_readable_seconds_count"] == 3
    assert series["orders_produced_to_readable_seconds_sum"] == 2.5
    assert series['orders_produced_to_readable_seconds_bucket{le="0.0025"}'] == 1
