"""Shared memory on one process and a clock of the test's own: what it keeps, refuses, drops, and how it fails."""

import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orders import deadlines
from orders.errors import StartError, Unavailable
from orders.memory import coherence
from orders.memory import shared as module
from orders.memory.shared import Change, Memory, Put

MIB = 2**20


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(tmp_path: Path, clock: Clock) -> Iterator[Memory]:
    made = Memory.create(tmp_path / "memory", 4 * MIB, clock)
    clock.now += 1
    yield made
    made.close()


def put(shared: Memory, order_uid: str, version: int, document: bytes = b"{}", as_of: float = 1001.0) -> bool:
    return shared.put([Put(order_uid, version, document)], as_of) == 1


# -- what it keeps --


def test_what_was_put_is_served(shared: Memory) -> None:
    assert put(shared, "a", 1, b'{"order":{}}')
    assert shared.get(b"a") == b'{"order":{}}'


def test_what_was_not_put_is_a_miss(shared: Memory) -> None:
    """Also where one uid begins like another, or is nothing that LMDB takes for a key."""
    put(shared, "abc", 1)
    assert [shared.get(uid) for uid in (b"ab", b"abcd", b"", b"x" * 5000)] == [None] * 4


def test_an_entry_of_another_order_is_not_served(shared: Memory) -> None:
    """Should a number ever lead to another order's entry, its uid tells."""
    put(shared, "a", 1)
    with shared._env.begin(write=True) as txn:
        number = txn.get(b"a", b"", shared._numbers)
        txn.put(b"b", number, db=shared._numbers)
        txn.put(b"aa", number, db=shared._numbers)
    assert [shared.get(uid) for uid in (b"b", b"aa")] == [None, None]


def test_a_newer_version_takes_the_place_of_an_older_one(shared: Memory) -> None:
    assert [put(shared, "a", version, b"%d" % version) for version in (2, 1, 2, 3)] == [True, False, False, True]
    assert (shared.get(b"a"), shared.stats().documents) == (b"3", 1)


def test_a_document_that_would_drive_out_too_much_takes_the_older_one_with_it(shared: Memory) -> None:
    """That one is not what PostgreSQL holds any more."""
    assert put(shared, "a", 1)
    assert not put(shared, "a", 2, b"x" * (MIB + 1))
    assert shared.get(b"a") is None


def test_a_document_that_would_drive_out_too_much_is_not_kept(shared: Memory) -> None:
    assert not put(shared, "a", 1, b"x" * (MIB + 1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 300), st.integers(100, 100_000)), min_size=1, max_size=20), max_size=12
    )
)
def test_the_newest_documents_stay_within_the_budget(
    batches: list[list[tuple[int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After any puts the pages in use keep the budget, and what is there are the newest, without a gap."""
    shared = Memory.create(tmp_path_factory.mktemp("budget") / "memory", MIB, lambda: 1001.0)
    puts = [Put(f"order-{n}", 0, b"x" * size) for batch in batches for n, size in batch]
    newest: dict[str, int] = {}
    version = 0
    for batch in batches:
        numbered = []
        for put in puts[version : version + len(batch)]:
            version += 1
            numbered.append(put._replace(version=version))
            newest.pop(put.order_uid, None)
            newest[put.order_uid] = len(put.document)
        assert shared.put(numbered, 1002.0) == len(numbered)
        assert shared.stats().used <= MIB
    there = [uid for uid in newest if shared.get(uid.encode()) is not None]
    assert there == list(newest)[len(newest) - len(there) :]
    assert len(there) == len(newest) or sum(newest[uid] for uid in there) > MIB // 3
    shared.close()


# -- the file --


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "memory"
    Memory.create(path, MIB).close()
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path.parent, path, path.with_name("memory-lock"))]
    assert modes == [0o700, 0o600, 0o600]


def test_open_finds_what_create_made(tmp_path: Path) -> None:
    """Budget, identity and documents are in the file."""
    made = Memory.create(tmp_path / "memory", 20 * MIB, lambda: 1.0)
    made.put([Put("a", 1, b"{}")], 2.0)
    identity = made.identity
    made.close()
    opened = Memory.open(tmp_path / "memory")
    assert (opened.get(b"a"), opened.stats().budget, opened.identity) == (b"{}", 20 * MIB, identity)
    assert opened._env.info()["map_size"] == 40 * MIB
    opened.close()


def test_a_memory_is_made_once_and_opened_only_where_one_is(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be opened"):
        Memory.open(tmp_path / "memory")
    Memory.create(tmp_path / "memory", MIB).close()
    with pytest.raises(StartError, match="cannot be made"):
        Memory.create(tmp_path / "memory", MIB)


# -- fences, minimum versions, time --


def test_a_change_of_a_known_order_goes_fence_commit_settle(shared: Memory, clock: Clock) -> None:
    """From the fence until settle nothing is served or put; afterwards the new bytes are."""
    put(shared, "a", 1)
    shared.fence(["a"], 7)
    assert (shared.get(b"a"), put(shared, "a", 1)) == (None, False)
    shared.settle([Change("a", 2, b"new")], 7, clock.now)
    assert (shared.get(b"a"), put(shared, "a", 1)) == (b"new", False)


def test_after_a_rollback_the_order_may_be_put_again(shared: Memory) -> None:
    shared.fence(["a"], 7)
    shared.unfence(["a"], 7)
    assert put(shared, "a", 1)
    assert shared.stats().restrictions == 0


def test_a_fence_of_a_dead_ingest_expires_though_others_work_on(shared: Memory, clock: Clock) -> None:
    """At most a minute of reads from PostgreSQL, however often the order is changed meanwhile."""
    shared.fence(["a"], 7)
    for _ in range(4):
        clock.now += 20
        shared.fence(["a"], 8)
        shared.settle([Change("a", 1, b"{}")], 8, clock.now)
    assert shared.get(b"a") is not None


def test_what_is_put_after_25_seconds_is_refused(shared: Memory, clock: Clock) -> None:
    clock.now = 1026.0
    assert [put(shared, "a", 1, as_of=as_of) for as_of in (1001.0, 1001.1)] == [False, True]


def test_time_is_looked_at_inside_the_write_transaction(shared: Memory, clock: Clock) -> None:
    """A put that had to wait for the writer lock for too long is refused."""
    started = threading.Event()

    def late() -> None:
        started.set()
        put(shared, "a", 1, as_of=1001.0)

    thread = threading.Thread(target=late)
    with shared._env.begin(write=True):
        thread.start()
        started.wait()
        clock.now += 31
    thread.join()
    assert shared.get(b"a") is None


def test_one_thread_reads_while_another_puts(shared: Memory) -> None:
    """What is read is whole, and versions only rise."""
    versions = range(1, 300)
    thread = threading.Thread(target=lambda: [put(shared, "a", v, b"%d" % v * 500) for v in versions])
    thread.start()
    seen = []
    while thread.is_alive():
        if document := shared.get(b"a"):
            seen.append(document)
    thread.join()
    read = [next(v for v in versions if document == b"%d" % v * 500) for document in seen]
    assert read == sorted(read)
    assert shared.get(b"a") == b"299" * 500


def test_other_machines_changes_drop_older_entries_only(shared: Memory) -> None:
    put(shared, "a", 1)
    put(shared, "b", 2)
    shared.raise_minimum_versions([("a", 2), ("b", 2)])
    assert (shared.get(b"a"), shared.get(b"b")) == (None, b"{}")
    assert [put(shared, "a", 1), put(shared, "a", 2)] == [False, True]


def test_sweep_drops_what_expired_and_only_that(shared: Memory, clock: Clock) -> None:
    shared.raise_minimum_versions([("a", 2)])
    shared.fence(["b"], 7)
    clock.now += 40
    shared.raise_minimum_versions([("c", 2)])
    clock.now += 21
    shared.sweep()
    assert shared.stats().restrictions == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["raise", "fence"]), st.sets(st.sampled_from("abcdefghij"), min_size=1)),
            st.tuples(st.just("wait"), st.sampled_from([1, 30, 61])),
            st.tuples(st.just("sweep"), st.just(1)),
        ),
        max_size=20,
    )
)
def test_a_sweep_looks_at_a_few_restrictions_and_a_round_of_them_drops_all_that_expired(
    steps: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is changed and expires in between; no minimum version is dropped that holds."""
    clock, looks, kept = Clock(), list[bytes](), dict[str, float]()
    shared = Memory.create(tmp_path_factory.mktemp("swept") / "memory", MIB, clock)

    def look(packed: bytes) -> float:
        looks.append(packed)
        return time_of(packed)

    def sweep() -> None:
        looks.clear()
        shared.sweep()
        assert len(looks) <= 3
        holding = [uid.encode() for uid, at in kept.items() if clock.now - at <= deadlines.LIFE]
        assert set(holding) <= keys(shared)

    with closing(shared), pytest.MonkeyPatch.context() as patch:
        time_of = coherence.time_of
        patch.setattr(module, "LOOKED_AT_ONCE", 3)
        patch.setattr(coherence, "time_of", look)
        for what, which in steps:
            if what == "wait":
                clock.now += which
            elif what == "sweep":
                sweep()
            else:
                uids = sorted(which)
                shared.fence(uids, 7) if what == "fence" else shared.raise_minimum_versions([(uid, 1) for uid in uids])
                kept |= dict.fromkeys(uids, clock.now)
        for _ in range(2 * 5):  # what is left of this round, and a whole one of ten restrictions
            sweep()
        assert keys(shared) == {uid.encode() for uid, at in kept.items() if clock.now - at <= deadlines.LIFE}


def keys(shared: Memory) -> set[bytes]:
    """The orders with fences or minimum versions."""
    with shared._env.begin() as txn:
        return {key for key, _ in txn.cursor(shared._trees.restrictions)}


def test_too_many_restrictions_empty_memory_and_ask_for_a_restore(
    shared: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_RESTRICTIONS", 2)
    shared.end_restore(shared.begin_restore())
    shared.raise_minimum_versions([(uid, 1) for uid in "ab"])
    shared.sweep()
    assert not shared.restore_wanted()
    shared.fence(["c"], 7)
    shared.sweep()
    assert shared.restore_wanted()
    assert shared.stats().restrictions == 1  # the fence: an ingest is at work


# -- restore --


def test_a_restore_puts_what_it_read_long_ago(shared: Memory, clock: Clock) -> None:
    """And no fence or minimum version expires while it continues."""
    token = shared.begin_restore()
    shared.fence(["b"], 7)
    shared.raise_minimum_versions([("c", 5)])
    clock.now += 1000
    shared.sweep()
    assert shared.restore([Put(uid, 1, b"{}") for uid in "abc"], token)
    assert [shared.get(uid) is not None for uid in (b"a", b"b", b"c")] == [True, False, False]


def test_an_emptying_ends_a_restore(shared: Memory) -> None:
    """Also at the same reading of the clock; the old keeper can neither put nor say that it is done."""
    token = shared.begin_restore()
    shared.empty()
    assert not shared.restore([Put("a", 1, b"{}")], token)
    shared.end_restore(token)
    assert (shared.get(b"a"), shared.restore_wanted()) == (None, True)


def test_a_restore_is_wanted_until_one_came_to_its_end(shared: Memory) -> None:
    wanted = [shared.restore_wanted()]
    token = shared.begin_restore()
    wanted.append(shared.restore_wanted())
    shared.end_restore(token)
    wanted.append(shared.restore_wanted())
    shared.empty()
    wanted.append(shared.restore_wanted())
    assert wanted == [True, True, False, True]


# -- no keeper --


def test_a_sealed_memory_is_empty_and_takes_nothing_until_a_restore_begins(shared: Memory, clock: Clock) -> None:
    """What other machines change is not heard of; neither reads nor commits put anything, and fences stay."""
    shared.end_restore(shared.begin_restore())
    clock.now += 1
    put(shared, "a", 1, as_of=clock.now)
    shared.fence(["b"], 7)
    clock.now += 1
    assert shared.seal(clock.now)
    clock.now += 1
    shared.empty()
    assert (shared.get(b"a"), put(shared, "a", 1, as_of=clock.now), shared.stats().restrictions) == (None, False, 1)
    shared.settle([Change("b", 2, b"{}")], 7, clock.now)
    assert (shared.get(b"b"), shared.restore_wanted()) == (None, True)
    token = shared.begin_restore()
    clock.now += 1
    assert shared.restore([Put("a", 1, b"{}")], token)
    assert put(shared, "b", 2, as_of=clock.now)


@pytest.mark.parametrize("ended", [True, False])
def test_a_memory_whose_restore_began_since_is_not_sealed(shared: Memory, clock: Clock, ended: bool) -> None:
    """Another keeper listens already; one that is lost later seals it."""
    lost_at = clock.now
    clock.now += 1
    token = shared.begin_restore()
    if ended:
        shared.end_restore(token)
    assert [shared.seal(lost_at), shared.seal(clock.now + 1), shared.seal(clock.now + 2)] == [False, True, False]


def test_an_emptying_that_began_no_restore_does_not_keep_memory_from_being_sealed(shared: Memory, clock: Clock) -> None:
    """As where a fence could not be kept: an ingest did it, and nobody listens."""
    lost_at = clock.now
    clock.now += 1
    shared.empty()
    assert shared.seal(lost_at)


# -- failures --


def pinned(shared: Memory) -> "lmdb.Transaction[bytes]":
    """A reader that stands still, so that the pages of all later changes stay in use until the map is full."""
    reader = shared._env.begin()
    chunk = [Put(f"order-{n}", 0, b"x" * 50_000) for n in range(20)]
    version = 1
    while shared.put([p._replace(version=version) for p in chunk], 1001.0):
        version += 1
    return reader


def test_a_full_map_drops_puts_and_heals_with_room(shared: Memory, clock: Clock) -> None:
    reader = pinned(shared)
    assert not put(shared, "a", 1, b"x" * 500_000)
    shared.settle([Change("a", 1, b"x" * 500_000)], 7, clock.now)
    assert shared.restore([Put("b", 1, b"x" * 500_000)], 1000.0)
    assert shared.get(b"a") is None
    reader.abort()
    assert put(shared, "c", 1, b"x" * 500_000)


def test_where_fences_cannot_be_kept_ingest_hears_of_it(shared: Memory) -> None:
    """Fences that do not fit, even into an emptied memory, are `Unavailable`: no COMMIT may follow."""
    reader = pinned(shared)
    many = [f"{n:0100}" for n in range(50_000)]
    with pytest.raises(Unavailable, match="shared memory"):
        shared.fence(many, 7)
    reader.abort()
    shared.fence(many[:1000], 7)


class Failing:
    """A `_write` that fails so many times."""

    def __init__(self, shared: Memory, times: int) -> None:
        self.write = shared._write
        self.times = times

    def __call__(self, change: object) -> object:
        if self.times:
            self.times -= 1
            raise lmdb.MapFullError("full")
        return self.write(change)  # type: ignore[arg-type]


def test_a_fence_that_fails_empties_memory_and_is_tried_once_more(
    shared: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shared, "other", 1)
    monkeypatch.setattr(shared, "_write", Failing(shared, 1))
    shared.fence(["a"], 7)
    assert (shared.get(b"other"), put(shared, "a", 1, as_of=1002.0)) == (None, False)


def test_a_failing_file_is_away_for_whoever_relies_on_it(shared: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing at all for puts and notices."""
    monkeypatch.setattr(shared, "_write", Failing(shared, 100))
    for change in (
        shared.empty,
        lambda: shared.seal(0),
        shared.begin_restore,
        lambda: shared.raise_minimum_versions([("a", 1)]),
    ):
        with pytest.raises(Unavailable, match="shared memory"):
            change()
    assert not put(shared, "a", 1)
    shared.unfence(["a"], 7)
    shared.settle([Change("a", 1, b"{}")], 7, 1001.0)
    shared.post("keeper", b"{}")
    assert shared.board() == {}


def test_settle_without_room_for_the_bytes_still_raises_the_minimum_version(
    shared: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.fence(["a"], 7)
    monkeypatch.setattr(shared, "_write", Failing(shared, 1))
    shared.settle([Change("a", 2, b"{}")], 7, clock.now)
    assert shared.get(b"a") is None
    assert [put(shared, "a", 1), put(shared, "a", 2)] == [False, True]


def test_appending_out_of_order_is_a_drop(shared: Memory) -> None:
    """LMDB stores nothing then and only says so; the whole put is taken back."""
    put(shared, "a", 1)
    with shared._env.begin(write=True) as txn:
        shared._trees.save(txn, shared._state()._replace(next_number=1))
    assert not put(shared, "b", 2)
    assert (shared.get(b"a"), shared.get(b"b")) == (b"{}", None)


def test_a_closed_memory_serves_nothing(tmp_path: Path) -> None:
    shared = Memory.create(tmp_path / "memory", MIB, lambda: 1.0)
    shared.put([Put("a", 1, b"{}")], 2.0)
    shared.close()
    assert shared.get(b"a") is None
    assert shared.put([Put("a", 2, b"{}")], 2.0) == 0


# -- board and figures --


def test_the_board_holds_the_last_notice_of_each_name(shared: Memory) -> None:
    shared.post("ingest:0", b'{"partitions":[0]}')
    shared.post("keeper", b"{}")
    shared.post("ingest:0", b'{"partitions":[0,1]}')
    assert shared.board() == {"ingest:0": b'{"partitions":[0,1]}', "keeper": b"{}"}


def test_stats_count_documents_restrictions_and_pages(shared: Memory) -> None:
    put(shared, "a", 1, b"x" * 100_000)
    shared.fence(["b"], 7)
    documents, restrictions, used, budget = shared.stats()
    assert (documents, restrictions, budget) == (1, 1, 4 * MIB)
    assert 100_000 < used < 150_000


# -- what it has --


def test_all_entries_are_reported_oldest_first_and_what_is_put_meanwhile_is_left_out(shared: Memory) -> None:
    for version, order_uid in enumerate("abcde", 1):
        put(shared, order_uid, version, order_uid.encode())
    parts = shared.entries(2)
    first = next(parts)
    put(shared, "f", 9)
    put(shared, "c", 9)  # its entry moves to the end
    assert [first, *parts] == [
        [Put("a", 1, b"a"), Put("b", 2, b"b")],
        [Put("d", 4, b"d"), Put("e", 5, b"e")],
    ]


def test_entries_are_looked_at_together(shared: Memory) -> None:
    put(shared, "a", 1, b"1")
    put(shared, "b", 2, b"2")
    assert shared.look(["b", "missing", "a"]) == {"b": Put("b", 2, b"2"), "a": Put("a", 1, b"1")}
