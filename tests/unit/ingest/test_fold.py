"""Folding a batch over the stored orders: one final state a uid, one outcome a record, however batches are cut."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.ingest.fold import Created, Decision, Folded, Known, Origin, Replaced, ReplayedDeadLetters, fold, origin_of
from orders.order import Row
from orders.record import Condition, Entry, Outcome, RecordCoordinates
from support.entries import TOPIC_ID, delete, invalid, known, replay, upsert

ABSENT = Condition(None)


def outcomes(entries: Sequence[Entry], stored: dict[str, Known] | None = None) -> list[Outcome]:
    folded = fold([replying(e) for e in entries], stored or {}, TOPIC_ID)
    return [d.outcome for d in folded.replies]


def replying(entry: Entry) -> Entry:
    return Entry(entry.record, entry.content, entry.condition, reply=True)


def test_a_new_order_is_created_and_then_unchanged_by_the_same_content() -> None:
    assert outcomes([upsert("a", offset=1), upsert("a", offset=2)]) == ["created", "unchanged"]


def test_other_content_replaces_and_keeps_the_id() -> None:
    folded = fold([upsert("a", 2, offset=9)], {"a": known("a", 1)}, TOPIC_ID)
    (write,) = folded.writes
    assert isinstance(write, Replaced)
    assert write.known.id == 7
    assert write.row.payment_amount == 2


def test_a_record_at_or_below_its_rows_own_offset_changes_nothing() -> None:
    stored = {"a": known("a", 1, offset=5)}
    assert outcomes([upsert("a", 2, offset=5), upsert("a", 3, offset=4)], stored) == ["unchanged"] * 2
    folded = fold([delete("a", offset=5)], stored, TOPIC_ID)
    assert folded == Folded([], [], [], folded.replies, folded.decisions, [])


def test_another_partition_or_topic_has_no_order_with_the_row() -> None:
    stored = {"a": known("a", 1, offset=5)}
    assert outcomes([upsert("a", 2, partition=1, offset=0)], stored) == ["replaced"]
    assert [d.outcome for d in fold([replying(upsert("a", 2, offset=0))], stored, "topic-2").replies] == ["replaced"]


def test_a_condition_absent_lets_one_of_two_contents_in() -> None:
    first, second = upsert("a", 1, offset=1, condition=ABSENT), upsert("a", 2, offset=2, condition=ABSENT)
    assert outcomes([first, second]) == ["created", "conflict"]


def test_identical_content_meets_no_condition_and_is_unchanged() -> None:
    assert outcomes([upsert("a", 1, offset=9, condition=ABSENT)], {"a": known("a", 1)}) == ["unchanged"]


def test_a_condition_on_a_version_holds_for_the_stored_version_alone() -> None:
    stored = {"a": known("a", 1, version=10)}
    right, wrong = Condition(10), Condition(11)
    assert outcomes([upsert("a", 2, offset=9, condition=right)], stored) == ["replaced"]
    assert outcomes([upsert("a", 2, offset=9, condition=wrong)], stored) == ["conflict"]
    assert outcomes([delete("a", offset=9, condition=right)], stored) == ["deleted"]
    twice = [upsert("a", 2, offset=9), upsert("a", 3, offset=10, condition=right)]
    assert outcomes(twice, stored) == ["replaced", "conflict"]


def test_a_delete_of_what_is_not_there_changes_nothing() -> None:
    assert outcomes([delete("a", offset=1)]) == ["unchanged"]
    assert fold([delete("a", offset=1)], {}, TOPIC_ID).deletes == []


def test_an_order_made_and_deleted_in_one_batch_leaves_nothing() -> None:
    folded = fold([upsert("a", offset=1), delete("a", offset=2)], {}, TOPIC_ID)
    assert (folded.writes, folded.deletes) == ([], [])


def test_an_order_deleted_and_recreated_is_a_new_one() -> None:
    folded = fold([delete("a", offset=8), upsert("a", offset=9)], {"a": known("a")}, TOPIC_ID)
    (write,) = folded.writes
    assert isinstance(write, Created)
    assert write.known is not None
    assert folded.deletes == []


def test_an_invalid_message_is_refused_and_its_neighbours_are_not() -> None:
    folded = fold([upsert("a", offset=1), invalid(offset=2), upsert("b", offset=3)], {}, TOPIC_ID)
    assert [w.row.order_uid for w in folded.writes] == ["a", "b"]
    assert [d.record.offset for d in folded.refused] == [2]
    assert [d.outcome for d in folded.replies] == ["refused"]


def test_orders_are_written_in_the_order_of_their_arrival() -> None:
    folded = fold([upsert(uid, offset=i) for i, uid in enumerate("zay")], {}, TOPIC_ID)
    assert [w.row.order_uid for w in folded.writes] == ["z", "a", "y"]


DEAD_LETTER = RecordCoordinates(TOPIC_ID, 0, 4)


def replayed(entries: Sequence[Entry], stored: dict[str, Known], origins: dict[str, Origin] | None = None) -> Folded:
    """A fold where the dead letter at `DEAD_LETTER` is known."""
    return fold(entries, stored, TOPIC_ID, ReplayedDeadLetters(frozenset({DEAD_LETTER}), origins or {}))


def test_a_replay_is_refused_where_the_stored_order_is_newer_than_the_dead_letter_unless_forced() -> None:
    stored = {"a": known("a", 1, offset=5)}
    (decisions,) = replayed([upsert("a", 2, offset=9, replay=replay(4))], stored).replays
    assert (decisions.outcome, decisions.newer) == ("conflict", True)
    (decisions,) = replayed([upsert("a", 2, offset=9, replay=replay(4, forced=True))], stored).replays
    assert decisions.outcome == "replaced"


def test_a_replay_replaces_an_older_order_and_meets_a_same_one_unchanged() -> None:
    older, newer = {"a": known("a", 1, offset=3)}, {"a": known("a", 2, offset=5)}
    assert [d.outcome for d in replayed([upsert("a", 2, offset=9, replay=replay(4))], older).replays] == ["replaced"]
    assert [d.outcome for d in replayed([upsert("a", 2, offset=9, replay=replay(4))], newer).replays] == ["unchanged"]
    assert [d.outcome for d in replayed([upsert("b", 2, offset=9, replay=replay(4))], {}).replays] == ["created"]
    assert [d.outcome for d in replayed([delete("a", offset=9, replay=replay(4))], older).replays] == ["deleted"]
    assert [d.outcome for d in replayed([delete("a", offset=9, replay=replay(4))], newer).replays] == ["conflict"]


@pytest.mark.parametrize(
    ("row", "dead_letter", "newer"), [(2, 1, True), (1, 1, False), (1, 2, False), (None, 1, True), (1, None, True)]
)
def test_between_partitions_the_time_tells_what_is_newer_and_a_missing_one_counts_as_newer(
    row: int | None, dead_letter: int | None, newer: bool
) -> None:
    there = Origin(TOPIC_ID, 1, 0, row)
    assert there.is_newer(Origin(TOPIC_ID, 0, 4, dead_letter)) is newer
    assert Origin("topic-2", 0, 0, row).is_newer(Origin(TOPIC_ID, 0, 4, dead_letter)) is newer


def test_dead_letters_of_one_order_are_replayed_one_after_the_other_and_the_last_wins() -> None:
    """A row that came from a replay is as old as its dead letter, in one batch and in two."""
    first, second = upsert("a", 1, offset=9, replay=replay(2)), upsert("a", 2, offset=10, replay=replay(4))
    both = ReplayedDeadLetters(frozenset({RecordCoordinates(TOPIC_ID, 0, 2), DEAD_LETTER}), {})
    assert [d.outcome for d in fold([first, second], {}, TOPIC_ID, both).replays] == ["created", "replaced"]
    older = upsert("a", 1, offset=11, replay=replay(2))
    assert [d.outcome for d in fold([second, older], {}, TOPIC_ID, both).replays] == ["created", "conflict"]
    stored = {"a": known("a", 1, offset=9)}
    origins = {"a": Origin(TOPIC_ID, 0, 2, 1)}
    assert [d.outcome for d in replayed([second], stored, origins).replays] == ["replaced"]
    assert [d.outcome for d in replayed([second], stored).replays] == ["conflict"]


def test_a_replay_that_is_refused_again_is_no_second_dead_letter() -> None:
    folded = replayed([invalid(offset=9, replay=replay(4))], {})
    assert folded.refused == []
    assert [(d.outcome, d.replay) for d in folded.replays] == [("refused", replay(4))]


def test_a_refused_message_that_names_no_dead_letter_is_one_itself() -> None:
    folded = fold([invalid(offset=9, replay=replay(4))], {}, TOPIC_ID)
    assert [d.record.offset for d in folded.refused] == [9]
    assert folded.replays == []


def test_a_dead_letter_and_its_replay_may_come_in_one_batch() -> None:
    """As they do when a topic is read into an empty database."""
    folded = fold([invalid(offset=4), upsert("a", offset=9, replay=replay(4))], {}, TOPIC_ID)
    assert [d.record.offset for d in folded.refused] == [4]
    assert [d.outcome for d in folded.replays] == ["created"]


def test_the_condition_that_a_replayed_message_carries_still_holds() -> None:
    stored = {"a": known("a", 1, offset=3)}
    (decisions,) = replayed([upsert("a", 2, offset=9, condition=ABSENT, replay=replay(4))], stored).replays
    assert (decisions.outcome, decisions.newer) == ("conflict", False)


entries = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 1), st.booleans()), min_size=1, max_size=12
)


def stream(drawn: list[tuple[str, int, int, bool]]) -> list[Entry]:
    """Records of two partitions; amount 0 stands for a tombstone."""
    made = []
    for offset, (order_uid, amount, partition, conditional) in enumerate(drawn):
        condition = ABSENT if conditional else None
        entry = (
            upsert(order_uid, amount, partition=partition, offset=offset, condition=condition)
            if amount
            else delete(order_uid, partition=partition, offset=offset)
        )
        made.append(entry)
    return made


def apply(folded: Folded, stored: dict[str, Known]) -> dict[str, Known]:
    """What PostgreSQL would hold after the transaction."""
    after = {uid: k for uid, k in stored.items() if uid not in {d.known.row.order_uid for d in folded.deletes}}
    for write in folded.writes:
        after[write.row.order_uid] = Known(write.row, 1, 1, write.origin)
    return after


def rows(stored: dict[str, Known]) -> dict[str, tuple[Row, Origin]]:
    return {uid: (k.row, k.origin) for uid, k in stored.items()}


@given(entries, st.lists(st.integers(1, 11), max_size=4))
def test_where_batches_are_cut_changes_no_row_and_no_outcome(
    drawn: list[tuple[str, int, int, bool]], cuts: list[int]
) -> None:
    all_entries = [replying(e) for e in stream(drawn)]
    whole = fold(all_entries, {}, TOPIC_ID)
    stored: dict[str, Known] = {}
    told: list[Outcome] = []
    edges = [0, *sorted({c for c in cuts if c < len(all_entries)}), len(all_entries)]
    for start, end in pairwise(edges):
        folded = fold(all_entries[start:end], stored, TOPIC_ID)
        stored = apply(folded, stored)
        told += [d.outcome for d in folded.replies]
    assert rows(stored) == rows(apply(whole, {}))
    assert told == [d.outcome for d in whole.replies]


dead_letters = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 11), st.booleans()), max_size=8
)


@given(dead_letters, st.lists(st.integers(1, 7), max_size=3))
def test_where_batches_are_cut_changes_no_replay(drawn: list[tuple[str, int, int, bool]], cuts: list[int]) -> None:
    """Of records that replay dead letters at offset 0 to 11 and others, amount 0: one that is refused."""
    stream = [
        upsert(order_uid, amount, offset=100 + n, replay=replay(dead_letter) if dead_letter and not plain else None)
        if amount
        else invalid(offset=100 + n, replay=replay(dead_letter) if dead_letter else None)
        for n, (order_uid, amount, dead_letter, plain) in enumerate(drawn)
    ]
    known_dead_letters = frozenset(RecordCoordinates(TOPIC_ID, 0, offset) for offset in range(8))
    whole = fold(stream, {}, TOPIC_ID, ReplayedDeadLetters(known_dead_letters, {}))
    told: list[Decision] = []
    stored: dict[str, Known] = {}
    origins: dict[str, Origin] = {}
    for start, end in pairwise([0, *sorted({c for c in cuts if c < len(stream)}), len(stream)]):
        folded = fold(stream[start:end], stored, TOPIC_ID, ReplayedDeadLetters(known_dead_letters, origins))
        stored, told = apply(folded, stored), told + folded.decisions
        settled = {d.record.offset: origin_of(d.replay) for d in told if d.replay}
        origins = {uid: settled[row.origin.offset] for uid, row in stored.items() if row.origin.offset in settled}
    assert rows(stored) == rows(apply(whole, {}))
    assert told == whole.decisions


@given(entries)
def test_a_stream_read_again_from_one_partition_changes_nothing(drawn: list[tuple[str, int, int, bool]]) -> None:
    once = stream([(u, max(a, 1), 0, c) for u, a, _, c in drawn])
    stored = apply(fold(once, {}, TOPIC_ID), {})
    again = fold(once, stored, TOPIC_ID)
    assert (again.writes, again.deletes) == ([], [])


@given(entries, st.lists(st.integers(1, 11), max_size=4), st.integers(0, 11))
def test_a_stream_with_deletes_read_again_from_anywhere_ends_as_it_was(
    drawn: list[tuple[str, int, int, bool]], cuts: list[int], start: int
) -> None:
    """Orders that are there are not even written; deleted ones may come back and are deleted again."""
    once = stream([(uid, amount, 0, conditional) for uid, amount, _, conditional in drawn])
    before = apply(fold(once, {}, TOPIC_ID), {})
    stored = dict(before)
    again = once[start:]
    for first, end in pairwise([0, *sorted({c for c in cuts if c < len(again)}), len(again)]):
        folded = fold(again[first:end], stored, TOPIC_ID)
        assert before.keys().isdisjoint(write.row.order_uid for write in folded.writes)
        stored = apply(folded, stored)
    assert rows(stored) == rows(before)


@given(entries)
def test_a_stream_with_each_message_ten_times_is_the_stream(drawn: list[tuple[str, int, int, bool]]) -> None:
    once = stream([(uid, amount, 0, conditional) for uid, amount, _, conditional in drawn])
    tenfold = stream([(uid, amount, 0, conditional) for uid, amount, _, conditional in drawn for _ in range(10)])
    ten, one = apply(fold(tenfold, {}, TOPIC_ID), {}), apply(fold(once, {}, TOPIC_ID), {})
    assert {uid: known.row for uid, known in ten.items()} == {uid: known.row for uid, known in one.items()}


def test_a_delete_that_a_version_conditioned_deletes_nothing_when_it_is_read_again() -> None:
    """The order that is made again has another version: docs/operations.md says so."""
    again = fold([delete("a", offset=2, condition=Condition(10))], {"a": known("a", version=11, offset=1)}, TOPIC_ID)
    assert [d.outcome for d in again.replies] == ["conflict"]
