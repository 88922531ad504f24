"""Where a stopped partition continues, and that no record is skipped unless somebody said so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.commands.resuming import (
    Resumed,
    ResumeRequest,
    StoppedPartition,
    chosen,
    held_of,
    plan,
    refuse_nonsense,
    text,
)
from orders.errors import StartError, UsageError
from orders.kafka.admin import PartitionReplicas, TopicDescription
from orders.record import Stop, StopKind

HELD = PartitionReplicas(low=100, end=900, replicas=1, in_sync=1)
KINDS = st.sampled_from(["dead_letters", "retention", "went_back", "unreadable"])


def stopped(offset: int | None = 500, kind: StopKind = "dead_letters") -> StoppedPartition:
    return StoppedPartition(offset, Stop(kind, "a sentence"))


@pytest.mark.parametrize(
    ("start", "target"), [("stored", 500), ("beginning", 100), ("100", 100), ("499", 499), ("500", 500)]
)
def test_a_partition_continues_where_it_is_said(start: str, target: int) -> None:
    assert plan(2, stopped(), HELD, ResumeRequest((2,), start=start, records=7)) == Resumed(
        2, "dead_letters", 500, target, target + 7, 900, position=target
    )


@pytest.mark.parametrize(
    ("start", "what"), [("501", r"1 records \(500 to 500\)"), ("end", r"400 records \(500 to 899\)")]
)
def test_what_would_never_be_read_wants_a_word(start: str, what: str) -> None:
    with pytest.raises(UsageError, match=f"skips {what} of partition 2: add --skip"):
        plan(2, stopped(), HELD, ResumeRequest((2,), start=start))
    assert plan(2, stopped(), HELD, ResumeRequest((2,), start=start, skip=True)).to_offset > 500


@pytest.mark.parametrize("offset", [5, 901])
def test_an_offset_that_kafka_does_not_hold_is_refused(offset: int) -> None:
    """As the stored one is after retention has passed it, or the log was truncated."""
    for asked in (ResumeRequest((0,), skip=True), ResumeRequest((0,), start=str(offset), skip=True)):
        with pytest.raises(UsageError, match=f"offset {offset} of partition 0 is not in Kafka, which holds 100 to 900"):
            plan(0, stopped(offset), HELD, asked)


def test_from_the_beginning_after_retention_passed_nothing_is_skipped_that_is_there() -> None:
    assert plan(0, stopped(5, "retention"), HELD, ResumeRequest((0,), start="beginning")).to_offset == 100


@pytest.mark.parametrize("start", ["stored", "101", "end"])
def test_after_a_log_truncation_only_its_beginning_needs_no_word(start: str) -> None:
    """Nobody can tell where the records begin that took the old offsets."""
    with pytest.raises(UsageError, match="skips what was written again below offset"):
        plan(0, stopped(kind="went_back"), HELD, ResumeRequest((0,), start=start))
    assert plan(0, stopped(kind="went_back"), HELD, ResumeRequest((0,), start="beginning")).to_offset == 100


@given(KINDS, st.integers(0, 40), st.integers(0, 20), st.integers(0, 20), st.integers(0, 45))
def test_without_the_word_every_record_that_kafka_holds_beyond_the_position_is_read(
    kind: StopKind, offset: int, low: int, count: int, start: int
) -> None:
    held = PartitionReplicas(low, low + count, 1, 1)
    try:
        resumed = plan(0, stopped(offset, kind), held, ResumeRequest((0,), start=str(start)))
    except UsageError:
        return
    assert held.low <= resumed.to_offset <= held.end
    assert not set(range(max(offset, held.low), held.end)) & set(range(resumed.to_offset))


def test_a_topic_recreated_is_begun_at_its_beginning_or_end_in_all_partitions() -> None:
    new = stopped(None, "anew")
    assert plan(0, new, HELD, ResumeRequest(every=True, start="beginning")) == (
        Resumed(0, "anew", None, 100, 100, 900, position=100)
    )
    with pytest.raises(UsageError, match="no position in the new topic"):
        plan(0, new, HELD, ResumeRequest(every=True))
    with pytest.raises(UsageError, match="skips 800 records"):
        plan(0, new, HELD, ResumeRequest(every=True, start="end"))
    with pytest.raises(UsageError, match="begin together: give --all"):
        chosen({0: new, 1: new}, ResumeRequest((0,), start="beginning"), "orders")
    assert list(chosen({0: new, 1: new}, ResumeRequest(every=True), "orders")) == [0, 1]


def test_one_that_is_not_stopped_changes_nothing() -> None:
    with pytest.raises(StartError, match=r"not stopped: orders/1, orders/3; nothing was changed"):
        chosen({0: stopped(), 2: stopped()}, ResumeRequest((3, 0, 1)), "orders")
    assert list(chosen({0: stopped(), 2: stopped()}, ResumeRequest((2, 2)), "orders")) == [2]
    assert chosen({}, ResumeRequest(every=True), "orders") == {}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ResumeRequest(), "say which partitions: --partition N, as often as needed, or --all"),
        (ResumeRequest((1,), every=True), "say which partitions: --partition N, as often as needed, or --all"),
        (ResumeRequest((1,), start="now"), "--from is stored, beginning, end or an offset, not 'now'"),
        (ResumeRequest((1,), start="-1"), "--from is stored, beginning, end or an offset, not '-1'"),
        (ResumeRequest((1, 2), start="7"), "an offset belongs to one partition: give one --partition N with it"),
        (ResumeRequest(every=True, start="7"), "an offset belongs to one partition: give one --partition N with it"),
    ],
)
def test_options_that_say_nothing_or_too_much_are_refused(asked: ResumeRequest, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_nonsense(asked)
    assert str(refused.value) == said


def test_a_partition_without_a_leader_cannot_be_looked_into() -> None:
    with pytest.raises(StartError, match="orders/1 has no leader"):
        held_of(TopicDescription("id", {0: HELD}, [1], frozenset()), 1, "orders")


def test_what_was_done_is_one_sentence() -> None:
    one = Resumed(2, "dead_letters", 500, 500, 500, 900)
    assert text([], "orders") == "no partition of orders is stopped"
    assert text([one], "orders") == "orders continues: partition 2 at 500"
    assert text([one, Resumed(3, "retention", 5, 100, 110, 900)], "orders") == (
        "orders continues: partition 2 at 500, 3 at 100; 10 records of each do not count towards the limit"
    )
