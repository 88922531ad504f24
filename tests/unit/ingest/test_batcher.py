"""The batcher decides by count, bytes, age and dryness alone, and a batch's spans always cover it exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from orders.ingest.batcher import Batcher, halves, size_of
from orders.record import Batch, Entry, Reached, Record, Span
from support.entries import upsert


def batcher(records: int = 3, size: int = 1000, age: float = 1.0) -> Batcher:
    made = Batcher(records, size, age)
    made.place(0, 0)
    made.place(1, 10)
    return made


def test_a_batch_is_due_as_soon_as_the_stream_runs_dry() -> None:
    made = batcher()
    made.add([upsert("a", offset=0)], now=0.0)
    assert made.due(0.5, dry=False) is None
    assert made.due(0.5, dry=True) == "dry"


def test_a_busy_stream_is_cut_by_age_and_by_count() -> None:
    made = batcher()
    made.add([upsert("a", offset=0)], now=0.0)
    assert made.due(1.0, dry=False) == "age"
    made.add([upsert("a", offset=1), upsert("a", offset=2)], now=0.0)
    assert made.due(0.0, dry=False) == "records"


def test_a_batch_is_full_by_its_bytes() -> None:
    made = batcher(size=size_of(upsert("a")))
    made.add([upsert("a", offset=0)], now=0.0)
    assert made.due(0.0, dry=False) == "bytes"


def test_keys_and_headers_count_as_values_do() -> None:
    record = Record(0, 0, None, b"key", b"value", (("name", b"content"), ("none", None)))
    assert size_of(structs.replace(upsert("a"), record=record)) == len(b"keyvaluenamecontentnone")


def test_an_empty_batch_is_never_due() -> None:
    assert batcher().due(1e9, dry=True) is None
    assert batcher().batch() is None


def test_records_that_were_seen_and_records_of_foreign_partitions_are_passed_over() -> None:
    made = batcher(records=10)
    made.add([upsert("a", offset=0), upsert("a", offset=0), upsert("a", partition=7)], now=0.0)
    batch = made.batch()
    assert batch is not None
    assert [e.record.offset for e in batch.entries] == [0]
    assert batch.spans == {0: Span(0, 1)}


def test_control_records_behind_the_last_record_belong_to_its_batch() -> None:
    """Until a record comes behind them; of partitions that are not ours nothing is believed."""
    made = batcher()
    made.add([upsert("a", offset=0)], now=0.0)
    made.skip_control_records({0: Reached(3, 5), 1: Reached(10, 5), 7: Reached(9, 5)}, now=0.0)
    made.add([upsert("a", offset=2)], now=0.0)
    batch = made.batch()
    assert batch is not None
    assert [e.record.offset for e in batch.entries] == [0]
    assert batch.spans == {0: Span(0, 3, 5)}
    made.add([upsert("a", offset=3)], now=0.0)
    batch = made.batch()
    assert batch is not None
    assert batch.spans == {0: Span(0, 4)}


def test_where_control_records_alone_were_skipped_the_position_continues_without_records() -> None:
    made = batcher()
    made.skip_control_records({1: Reached(12, 5)}, now=3.0)
    assert (made.due(3.5, dry=False), made.due(3.5, dry=True), made.due(4.0, dry=False)) == (None, "dry", "age")
    assert made.batch() == Batch((), {1: Span(10, 12, 5)})
    made.written()
    made.skip_control_records({1: Reached(12, 5), 0: Reached(0)}, now=5.0)
    assert made.batch() is None


def test_what_is_written_is_left_behind_and_the_next_span_begins_where_it_ended() -> None:
    made = batcher()
    made.add([upsert("a", offset=0)], now=0.0)
    made.written()
    assert made.batch() is None
    made.add([upsert("a", offset=4)], now=0.0)
    batch = made.batch()
    assert batch is not None
    assert batch.spans == {0: Span(1, 5)}


def test_a_lost_partition_takes_its_entries_with_it() -> None:
    made = batcher()
    made.add([upsert("a", offset=0), upsert("b", partition=1, offset=10)], now=0.0)
    made.forget([0])
    batch = made.batch()
    assert batch is not None
    assert batch.spans == {1: Span(10, 11)}


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Entries of up to three partitions, interleaved, with gaps between and behind their offsets; a fourth has none."""
    places = draw(st.lists(st.integers(0, 2), min_size=2, max_size=30))
    ends = {p: draw(st.integers(0, 50)) for p in set(places)}
    begins = dict(ends)
    entries: list[Entry] = []
    for partition in places:
        offset = ends[partition] + draw(st.integers(0, 3))
        entries.append(upsert("a", partition=partition, offset=offset))
        ends[partition] = offset + 1
    control_records = {p: draw(st.integers(0, 3)) for p in begins}
    spans = {
        p: Span(begins[p], ends[p] + control_records[p], 9 if control_records[p] else None) for p in sorted(begins)
    }
    return Batch(tuple(entries), spans | ({3: Span(5, 7, 9)} if draw(st.booleans()) else {}))


@given(batches())
def test_halves_are_the_batch_one_after_the_other(batch: Batch) -> None:
    first, second = halves(batch)
    assert first.entries + second.entries == batch.entries
    for partition, span in batch.spans.items():
        parts = [half.spans[partition] for half in (first, second) if partition in half.spans]
        assert parts[0].begin == span.begin
        assert parts[-1][1:] == span[1:]
        assert len(parts) == 1 or parts[0].end == parts[1].begin


@given(batches())
def test_collecting_a_batch_gives_its_spans(batch: Batch) -> None:
    made = Batcher(1000, 10**6, 1.0)
    for partition, span in batch.spans.items():
        made.place(partition, span.begin)
    made.add(batch.entries, now=0.0)
    made.skip_control_records({p: Reached(span.end, 9) for p, span in batch.spans.items()}, now=0.0)
    assert made.batch() == batch


@pytest.mark.parametrize("partitions", [[0], [1], [0, 1], [5]])
def test_forgetting_keeps_the_count_of_bytes_true(partitions: list[int]) -> None:
    made = batcher(size=2 * size_of(upsert("a")))
    made.add([upsert("a", offset=0), upsert("b", partition=1, offset=10)], now=0.0)
    made.forget(partitions)
    left = made.batch()
    assert (made.due(0.0, dry=False) == "bytes") == (left is not None and len(left.entries) == 2)
