"""The limit of dead letters: which record is one too many, and what of a batch is written then."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from orders.ingest.dead_letter_limit import Limit, packed, unpacked
from orders.record import Batch, Entry, Moved, RefusalWindow, Span, Stop
from support.entries import invalid, upsert

LIMITS = st.builds(Limit, st.integers(1, 40), st.integers(1, 100))
DEFAULT = Limit(1000, 25)


def expected(limit: Limit, refused: Sequence[bool]) -> int | None:
    """By the words of the setting: the first record with which the last `records` hold too many."""
    for taken in range(1, len(refused) + 1):
        last = refused[max(taken - limit.records, 0) : taken]
        if refused[taken - 1] and sum(last) * 100 >= limit.percent * limit.records:
            return taken
    return None


@given(LIMITS, st.lists(st.lists(st.booleans(), max_size=30), max_size=8))
def test_a_partition_stops_at_the_same_record_however_the_records_fall_into_batches(
    limit: Limit, batches: list[list[bool]]
) -> None:
    window, before, stopped = 0, 0, None
    for batch in batches:
        window, taken = limit.after(unpacked(packed(window)), batch)
        if taken is not None:
            stopped = before + taken
            break
        before += len(batch)
    assert stopped == expected(limit, [bad for batch in batches for bad in batch])


@given(LIMITS)
def test_nothing_but_dead_letters_stops_within_the_window(limit: Limit) -> None:
    _, taken = limit.after(0, [True] * limit.records)
    assert taken == limit.most <= limit.records


@given(st.integers(1, 40), st.integers(2, 100))
def test_a_share_that_is_below_the_limit_in_every_window_never_stops(records: int, percent: int) -> None:
    limit = Limit(records, percent)
    bad = limit.most - 1
    _, taken = limit.after(0, [n % records < bad for n in range(20 * records)])
    assert taken is None


@pytest.mark.parametrize(("every", "taken"), [(1, 250), (2, 499), (4, 997), (5, None), (100, None)])
def test_by_default_a_quarter_of_the_last_thousand_stops(every: int, taken: int | None) -> None:
    """All bad: after 250 records; every second: after 499; every fifth, or one of a hundred: never."""
    _, stopped = DEFAULT.after(0, [n % every == 0 for n in range(100_000)])
    assert stopped == taken


def batch_of(*entries: Entry) -> Batch:
    numbers = {entry.record.partition for entry in entries}
    offsets = {n: [e.record.offset for e in entries if e.record.partition == n] for n in numbers}
    return Batch(entries, {n: Span(min(each), max(each) + 1) for n, each in sorted(offsets.items())})


def mixed(*bad: int, partition: int = 0, count: int = 6) -> list[Entry]:
    """A partition's entries from offset 0 on, of which some are refused."""
    good = [upsert(f"u{partition}-{n}", partition=partition, offset=n) for n in range(count)]
    return [invalid(partition=partition, offset=n) if n in bad else entry for n, entry in enumerate(good)]


def test_a_batch_is_cut_behind_the_record_that_is_too_many_and_other_partitions_are_whole() -> None:
    batch = batch_of(*mixed(1, 3), *mixed(2, partition=1))
    passed = Limit(4, 50).check(batch, {0: RefusalWindow(), 1: RefusalWindow()}, "orders")
    assert passed.batch.spans == {0: Span(0, 4), 1: Span(0, 6)}
    assert [(e.record.partition, e.record.offset) for e in passed.batch.entries] == [
        *((0, n) for n in range(4)),
        *((1, n) for n in range(6)),
    ]
    assert {p: moved.offset for p, moved in passed.moved.items()} == {0: 4, 1: 6}
    (stop,) = passed.stops.values()
    assert stop == Stop("dead_letters", passed.stops[0].reason)
    assert stop.reason.startswith("2 of the last 4 records of orders/0 became dead letters: ")
    assert "`orders resume`" in stop.reason


def test_what_earlier_batches_refused_counts_on() -> None:
    limit = Limit(4, 50)
    first = limit.check(batch_of(*mixed(2, count=3)), {0: RefusalWindow()}, "t")
    assert first.stops == {}
    again = limit.check(batch_of(*mixed(0, count=2)), {0: RefusalWindow(first.moved[0].refused)}, "t")
    assert (again.batch.spans, list(again.stops)) == ({0: Span(0, 1)}, [0])


def test_a_window_without_dead_letters_takes_no_room_and_old_ones_leave_it() -> None:
    limit = Limit(4, 50)
    assert limit.check(batch_of(*mixed()), {0: RefusalWindow()}, "t").moved == {0: Moved(6)}
    assert limit.check(batch_of(*mixed()), {0: RefusalWindow(packed(0b0001))}, "t").moved == {0: Moved(6)}


def test_records_that_may_pass_do_not_count() -> None:
    passed = Limit(4, 50).check(batch_of(*mixed(0, 1, 2, 4)), {0: RefusalWindow(counted_from=4)}, "t")
    assert passed.stops == {}
    assert passed.moved[0].refused == packed(0b10)


def test_zero_percent_switches_it_off() -> None:
    batch = batch_of(*mixed(*range(6)))
    assert Limit(1, 0).check(batch, {0: RefusalWindow(packed(1))}, "t") == (batch, {0: Moved(6)}, {})


def test_the_leader_epoch_of_the_last_record_goes_with_the_position() -> None:
    entries = [
        structs.replace(each, record=structs.replace(each.record, epoch=each.record.offset // 4)) for each in mixed()
    ]
    assert DEFAULT.check(batch_of(*entries), {0: RefusalWindow()}, "t").moved == {0: Moved(6, 1)}
    cut = batch_of(*entries[:3], *mixed(partition=1))
    assert {p: m.epoch for p, m in DEFAULT.check(cut, {0: RefusalWindow(), 1: RefusalWindow()}, "t").moved.items()} == {
        0: 0,
        1: None,
    }


def test_the_leader_epoch_of_a_control_record_behind_the_last_record_goes_with_the_position() -> None:
    """It may be later than that of the record: seeking with that would find a log truncation."""
    entries = [structs.replace(each, record=structs.replace(each.record, epoch=4)) for each in mixed()]
    batch = Batch(tuple(entries), {0: Span(0, 8, 6), 1: Span(3, 5, 5)})
    assert DEFAULT.check(batch, {0: RefusalWindow(), 1: RefusalWindow()}, "t").moved == {0: Moved(8, 6), 1: Moved(5, 5)}
