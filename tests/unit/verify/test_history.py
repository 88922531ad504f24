"""Whatever the write path makes of records, `verify` finds right; what it cannot have made of them, it does not."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from orders.ingest.fold import Known, Origin, Replaced, fold
from orders.order import Content
from orders.record import Condition, Entry, Tombstone
from orders.verify.compare import named
from orders.verify.findings import DIFFERENCES, UNJUDGED
from orders.verify.history import (
    Ground,
    Histories,
    History,
    Step,
    StoredRow,
    TopicExtent,
    pack,
    pack_row,
    unpack,
    unpack_row,
)
from orders.verify.stored import digest_of
from support.entries import TOPIC_ID, content, record

UID = "b563"
VERSIONS = 100
"""Far above the numbers of versions that the tests' conditions name, but for the first."""


class Sent(NamedTuple):
    """A record of the order; amount 0: a tombstone."""

    partition: int
    amount: int
    condition: Condition | None
    keyed: bool


def sent(partitions: int, versions: Sequence[int] = ()) -> st.SearchStrategy[list[Sent]]:
    """Records that follow each other. Those with the uid as their key, as every tombstone, are in partition 0."""
    conditions = st.sampled_from([None, None, Condition(None), *map(Condition, versions)])
    home = st.builds(Sent, st.just(0), st.integers(0, 2), conditions, st.just(value=True))
    elsewhere = st.builds(Sent, st.integers(0, partitions - 1), st.integers(1, 2), conditions, st.just(value=False))
    return st.lists(home if partitions == 1 else home | elsewhere, min_size=1, max_size=10)


def entries(records: Sequence[Sent]) -> list[Entry]:
    """The records as they are consumed, each at the next offset of its partition."""
    ends, made = dict[int, int](), []
    for each in records:
        offset = ends.get(each.partition, 0)
        ends[each.partition] = offset + 1
        what = content(UID, each.amount) if each.amount else Tombstone(UID)
        key = UID.encode() if each.keyed else b"other"
        made.append(Entry(record(each.partition, offset, key=key), what, each.condition))
    return made


def written(read: Sequence[Entry], cuts: Sequence[int], known: Known | None = None) -> Known | None:
    """What the write path leaves of the order, in batches that end at `cuts`."""
    bounds = sorted({0, len(read), *(cut % (len(read) + 1) for cut in cuts)})
    version = known.version if known else VERSIONS
    for begin, end in pairwise(bounds):
        folded = fold(read[begin:end], {UID: known} if known else {}, TOPIC_ID)
        known = None if folded.deletes else known
        for write in folded.writes:
            version += 1
            number = write.known.id if isinstance(write, Replaced) else version
            known = Known(write.row, number, version, write.origin)
    return known


def row_of(known: Known) -> StoredRow:
    made = content(UID, known.row.payment_amount)
    origin = known.origin
    return StoredRow(origin.topic_id == TOPIC_ID, origin.partition, origin.offset, known.version, digest_of(made.text))


def histories(read: Sequence[Entry], grounds: Mapping[int, Ground], *, foreign: bool = False) -> Histories:
    """The histories of what is still there, each partition by itself."""
    found = dict[int, History]()
    for entry in read:
        partition, offset = entry.record.partition, entry.record.offset
        if offset >= grounds[partition].low:
            keyed = entry.record.key == UID.encode()
            step = Step(offset, named(entry)[1], entry.condition, keyed)
            found[partition] = found.get(partition, History(partition)).after(step)
    return Histories(list(found.values()), TopicExtent(grounds, foreign))


def grounds_of(read: Sequence[Entry], *, lows: Sequence[int] = (), whole: bool = True) -> dict[int, Ground]:
    ends = {entry.record.partition: entry.record.offset + 1 for entry in read}
    lows = [*lows, 0, 0, 0, 0]
    return {p: Ground(min(lows[p], end), end, end, whole=whole) for p, end in ends.items()}


def verdict(found: Histories, known: Known | None) -> str:
    return found.without() if known is None else found.judge(row_of(known))


CUTS = st.lists(st.integers(0, 10), max_size=3)
OLDER = Known(content(UID, 1).row, 7, 10, Origin("older topic", 0, 3))


@given(sent(1), CUTS)
def test_what_a_whole_partition_says_is_decided_for_every_order(records: list[Sent], cuts: list[int]) -> None:
    read = entries(records)
    assert verdict(histories(read, grounds_of(read)), written(read, cuts)) == "same"


@given(sent(1), CUTS, st.integers(1, 2), st.integers(-1, 12))
def test_another_content_or_place_than_the_write_path_makes_is_a_difference(
    records: list[Sent], cuts: list[int], amount: int, offset: int
) -> None:
    read = entries(records)
    known = written(read, cuts)
    planted = Known(content(UID, amount).row, 7, VERSIONS, Origin(TOPIC_ID, 0, offset))
    right = known is not None and (known.row, known.origin[:3]) == (planted.row, planted.origin[:3])
    found = verdict(histories(read, grounds_of(read)), planted)
    assert found == "same" if right else found in DIFFERENCES
    assert known is None or histories(read, grounds_of(read)).without() == "missing"


@given(sent(3, versions=[VERSIONS + 1]), CUTS, st.lists(st.integers(0, 6), min_size=3, max_size=3), st.booleans())
def test_what_the_write_path_made_is_never_a_difference(
    records: list[Sent], cuts: list[int], lows: list[int], older: bool
) -> None:
    """Several partitions, other keys, conditions on versions, retention, an order of an older topic."""
    read = entries(records)
    known = written(read, cuts, OLDER if older else None)
    found = verdict(histories(read, grounds_of(read, lows=lows), foreign=older), known)
    assert found == "same" or found in UNJUDGED


@given(sent(1), CUTS, st.lists(st.booleans(), min_size=10, max_size=10))
def test_compaction_hides_no_difference_and_makes_none(records: list[Sent], cuts: list[int], gone: list[bool]) -> None:
    """All but the last record of a key may be gone, and a tombstone that has nothing left to delete."""
    read = entries(records)
    left = [entry for entry, each in zip(read, gone, strict=False) if not each or entry is read[-1]]
    if len(left) == 1 and isinstance(left[0].content, Tombstone):
        left = []
    grounds = grounds_of(read, whole=len(left) == len(read))
    found = verdict(histories(left, grounds), written(read, cuts))
    assert found == "same" or found in UNJUDGED


@given(sent(1), CUTS, st.integers(0, 9))
def test_a_topic_that_was_read_again_is_found_right(records: list[Sent], cuts: list[int], again: int) -> None:
    """From an earlier position; conditions may then be decided otherwise, but for an order that nobody deleted."""
    read = [entry for entry in entries(records) if entry.condition is None or isinstance(entry.content, Content)]
    if not read or any(isinstance(entry.content, Tombstone) and entry.condition is None for entry in read):
        return
    once = written(read, cuts)
    twice = written(read[again:], cuts, once) if again < len(read) else once
    grounds = {0: grounds_of(read)[0]._replace(whole=True)}
    assert verdict(histories(read, grounds), twice) == "same"


def test_an_order_of_which_no_record_is_left_is_judged_by_its_place() -> None:
    topic = TopicExtent({0: Ground(low=10, end=30, position=20), 1: Ground(low=0, end=9, position=9, whole=False)})
    nothing = Histories([], topic)
    judged = {
        (0, 9): "retention",
        (0, 10): "unsent",
        (0, 19): "unsent",
        (0, 20): "ahead",
        (0, 30): "unsent",
        (1, 3): "gaps",
        (0, -1): "unsent",
        (7, 3): "unsent",
    }
    for (partition, offset), expected in judged.items():
        assert nothing.judge(StoredRow(True, partition, offset, 1, b"x" * 16)) == expected, (partition, offset)
    assert nothing.judge(StoredRow(False, 0, 15, 1, b"x" * 16)) == "older topic"


def test_each_kind_of_difference_is_reported_by_its_name() -> None:
    read = entries([Sent(0, 1, None, keyed=True), Sent(0, 2, None, keyed=True)])
    found = histories(read, grounds_of(read))
    right = row_of(Known(content(UID, 2).row, 1, 1, Origin(TOPIC_ID, 0, 1)))
    older = row_of(Known(content(UID, 1).row, 1, 1, Origin(TOPIC_ID, 0, 0)))
    assert found.judge(right) == "same"
    assert found.judge(right._replace(offset=0)) == "origin"
    assert found.judge(older) == "content"
    assert found.without() == "missing"
    deleted = histories([*read, *entries([Sent(0, 0, None, keyed=True)])], grounds_of(read))
    assert deleted.judge(right) == "deleted"


@given(sent(3, versions=[VERSIONS + 1]))
def test_histories_and_rows_come_back_from_their_bytes(records: list[Sent]) -> None:
    found = histories(read := entries(records), grounds_of(read))
    assert unpack(pack(found.each)) == found.each
    row = row_of(Known(content(UID, 2).row, 1, 2**62, Origin(TOPIC_ID, 2**31 - 1, 2**62)))
    assert unpack_row(pack_row(row)) == row
