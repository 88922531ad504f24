"""A model of PostgreSQL drives the real memory through races; what memory serves is always what PostgreSQL holds.

The same model run finds a counterexample as soon as any clause of the rule in `orders.marks` is taken out.
"""

import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from orders import marks
from orders.marks import Floor, View
from orders.memory import Change, Memory, Put
from orders.trees import Work

UIDS = ("a", "b", "c")
DOCUMENT_BYTES = int(2.2 * mmap.PAGESIZE)
BUDGET = 9 * mmap.PAGESIZE
"""Room for two documents of three pages each and a page of either tree: a third one drives out the first."""

some_uids = st.sets(st.sampled_from(UIDS), min_size=1, max_size=2)
either = st.integers(0, 1)
any_of_them = st.integers(0, 5)


def body(order_uid: str, version: int) -> bytes:
    return f"{order_uid}@{version}".encode().ljust(DOCUMENT_BYTES, b".")


def version_of(document: bytes) -> int:
    return int(document.rstrip(b".").split(b"@")[1])


class Transaction:
    """An ingest's transaction: between mark and COMMIT while `changes` is None, then between COMMIT and settle."""

    def __init__(self, writer: int, uids: set[str], known: set[str], gone: set[str], marked_at: float) -> None:
        self.writer = writer
        self.uids = uids
        self.known = known
        self.gone = gone
        self.marked_at = marked_at
        self.changes: list[Change] | None = None
        self.created: list[Put] = []
        self.as_of = 0.0


class Read(NamedTuple):
    """A read-through whose answer was not yet put."""

    put: Put
    as_of: float


class Restore(NamedTuple):
    """A keeper with its token and what it has not yet put of its snapshot."""

    token: float
    snapshot: dict[str, int]


class MemoryModel(RuleBasedStateMachine):
    """Two ingests, read-throughs, keepers, another machine, and a clock: every step is one atomic effect.

    What is slow, stopped or stopped for good is a step that comes late or never.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="memory-model-"))
        self.now = 1000.0
        self.memory = Memory.create(self.folder / "memory", BUDGET, lambda: self.now)
        self.postgres: dict[str, int] = {}
        self.versions = count(1)
        self.writers = count(1)
        self.ingests: list[Transaction | None] = [None, None]
        self.reads: list[Read] = []
        self.restores: list[Restore] = []
        self.unheard: dict[str, int] = {}
        self.seen: dict[str, int] = {}

    def teardown(self) -> None:
        self.memory.close()
        shutil.rmtree(self.folder)

    # -- ingests --

    @rule(which=either, uids=some_uids, delete=st.booleans())
    def begin(self, which: int, uids: set[str], delete: bool) -> None:
        """An ingest has written its batch and marks the known orders in it: COMMIT comes next."""
        if self.ingests[which] is not None:
            return
        known = uids & self.postgres.keys()
        gone = set(sorted(known)[:1]) if delete else set()
        writer = next(self.writers)
        self.memory.mark(sorted(known), writer)
        self.ingests[which] = Transaction(writer, uids, known, gone, self.now)

    @precondition(lambda self: any(self.open()))
    @rule(which=either)
    def commit(self, which: int) -> None:
        """COMMIT, if no mark is older than 30 s and no other transaction inserted the same order."""
        work = self.ingests[which]
        if work is None or work.changes is not None or self.now - work.marked_at > 30:
            return
        if (work.uids - work.known) & self.postgres.keys():
            return
        work.as_of = self.now
        written = {order_uid: next(self.versions) for order_uid in sorted(work.uids)}
        work.changes = [Change(u, v, None if u in work.gone else body(u, v)) for u, v in written.items() if u in work.known]
        work.created = [Put(u, v, body(u, v)) for u, v in written.items() if u not in work.known]
        for order_uid, version in written.items():
            self.store(order_uid, None if order_uid in work.gone else version)

    @precondition(lambda self: any(self.committed()))
    @rule(which=either)
    def settle(self, which: int) -> None:
        work = self.ingests[which]
        if work is None or work.changes is None:
            return
        self.memory.put(work.created, work.as_of)
        self.memory.settle(work.changes, work.writer, work.as_of)
        self.ingests[which] = None

    @precondition(lambda self: any(self.open()))
    @rule(which=either)
    def roll_back(self, which: int) -> None:
        work = self.ingests[which]
        if work is None or work.changes is not None:
            return
        self.memory.unmark(sorted(work.known), work.writer)
        self.ingests[which] = None

    @precondition(lambda self: any(self.ingests))
    @rule(which=either)
    def crash(self, which: int) -> None:
        """kill -9 before COMMIT (PostgreSQL rolls back) or after it, and the reply to a COMMIT that is lost."""
        self.ingests[which] = None

    def open(self) -> Iterator[bool]:
        return (work is not None and work.changes is None for work in self.ingests)

    def committed(self) -> Iterator[bool]:
        return (work is not None and work.changes is not None for work in self.ingests)

    def store(self, order_uid: str, version: int | None) -> None:
        if version is None:
            self.postgres.pop(order_uid, None)
        else:
            self.postgres[order_uid] = version

    # -- read-throughs --

    @precondition(lambda self: self.postgres)
    @rule(order_uid=st.sampled_from(UIDS))
    def read(self, order_uid: str) -> None:
        """A GET that missed is answered from PostgreSQL now; its put may come much later."""
        version = self.postgres.get(order_uid)
        if version is not None:
            self.reads.append(Read(Put(order_uid, version, body(order_uid, version)), self.now))

    @precondition(lambda self: self.reads)
    @rule(which=any_of_them)
    def put(self, which: int) -> None:
        read = self.reads.pop(which % len(self.reads))
        self.memory.put([read.put], read.as_of)

    # -- keepers --

    @precondition(lambda self: self.postgres)
    @rule()
    def begin_restore(self) -> None:
        """A keeper begins, also where another one was stopped: that one goes on with its old snapshot."""
        self.restores.append(Restore(self.memory.begin_restore(), dict(self.postgres)))

    @precondition(lambda self: self.restores)
    @rule(which=any_of_them)
    def restore(self, which: int) -> None:
        keeper = self.restores[which % len(self.restores)]
        if not keeper.snapshot:
            self.memory.end_restore(keeper.token)
            self.restores.remove(keeper)
            return
        order_uid = next(iter(keeper.snapshot))
        version = keeper.snapshot.pop(order_uid)
        if not self.memory.restore([Put(order_uid, version, body(order_uid, version))], keeper.token):
            self.restores.remove(keeper)

    @precondition(lambda self: self.restores)
    @rule(which=any_of_them)
    def crash_keeper(self, which: int) -> None:
        self.restores.pop(which % len(self.restores))

    @rule()
    def empty(self) -> None:
        self.memory.empty()

    @rule()
    def sweep(self) -> None:
        self.memory.sweep()

    # -- another machine --

    @rule(order_uid=st.sampled_from(UIDS), delete=st.booleans())
    def change_elsewhere(self, order_uid: str, delete: bool) -> None:
        """Another machine commits: until its notice is heard, this one may serve what it had."""
        if order_uid in self.postgres:
            version = next(self.versions)
            self.store(order_uid, None if delete else version)
            self.unheard[order_uid] = version

    @precondition(lambda self: self.unheard)
    @rule()
    def hear(self) -> None:
        self.memory.raise_floors(list(self.unheard.items()))
        self.unheard.clear()

    @precondition(lambda self: self.unheard)
    @rule()
    def reconnect(self) -> None:
        """The keeper's connection was lost, and notices with it."""
        self.memory.empty()
        self.unheard.clear()

    # -- time --

    @rule(seconds=st.sampled_from((0.001, 10.0, 29.9, 31.0, 61.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # -- what must hold --

    @invariant()
    def serves_what_postgres_holds(self) -> None:
        """Every GET is a miss or the truth; of an order changed elsewhere and not heard of, never an older version."""
        served = {uid: document for uid in UIDS if (document := self.memory.get(uid.encode())) is not None}
        versions = {order_uid: version_of(document) for order_uid, document in served.items()}
        for order_uid, document in served.items():
            if order_uid in self.unheard:
                assert versions[order_uid] >= self.seen.get(order_uid, 0), "an older version replaced a newer one"
            else:
                assert order_uid in self.postgres, "a deleted order is served"
                assert document == body(order_uid, self.postgres[order_uid]), "a stale order is served"
        self.seen = versions

    @invariant()
    def keeps_its_budget(self) -> None:
        assert self.memory.stats().used <= BUDGET


def run_model(examples: int, steps: int, phases: Iterable[Phase]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        MemoryModel,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            phases=tuple(phases),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


def test_memory_serves_what_postgres_holds() -> None:
    """In all schedules tried, with crashes, delays and evictions, memory never serves anything stale."""
    run_model(examples=150, steps=60, phases=(Phase.generate, Phase.shrink))


def one_mark_for_all(patch: pytest.MonkeyPatch) -> None:
    mark, unmark = marks.marked, marks.unmarked
    patch.setattr(marks, "marked", lambda floor, _writer, at: mark(floor, 0, at))
    patch.setattr(marks, "unmarked", lambda floor, _writer: unmark(floor, 0))


def no_floor_of_a_delete(patch: pytest.MonkeyPatch) -> None:
    settle = Work.settle

    def without_deletes(work: Work, changes: Iterable[Change], writer: int) -> None:
        changes = list(changes)
        work.unmark([change.order_uid for change in changes], writer)
        settle(work, [change for change in changes if change.document is not None], writer)

    patch.setattr(Work, "settle", without_deletes)


def expiry_during_restore(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(marks, "holds", lambda time, at: at.now - time <= marks.LIFE)


def entry_stays_when_marked(patch: pytest.MonkeyPatch) -> None:
    def mark(work: Work, uids: Iterable[str], writer: int) -> None:
        for key in map(str.encode, uids):
            work._keep(key, marks.marked(work._floor(key), writer, work._at))

    patch.setattr(Work, "mark", mark)


def marks_do_not_outlive_emptying(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(marks, "outlives_emptying", lambda _floor, _at: False)


def marks_hold_no_longer_than_reads(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(marks, "LIFE", marks.FRESH)


def always(name: str, answer: object) -> Callable[[pytest.MonkeyPatch], None]:
    def take_out(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(marks, name, lambda *_: answer)

    return take_out


CLAUSES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a marked order is not put": always("is_marked", False),
    "each writer has its own mark": one_mark_for_all,
    "a mark drops the entry": entry_stays_when_marked,
    "marks hold twice as long as a read may take": marks_hold_no_longer_than_reads,
    "nothing is put below the floor": always("lowest", 0),
    "a delete has a floor": no_floor_of_a_delete,
    "only newer versions replace": always("is_newer", True),
    "what was read 30 s ago is not put": always("is_fresh", True),
    "what was read before an emptying is not put": always("is_since_emptying", True),
    "marks outlive an emptying": marks_do_not_outlive_emptying,
    "nothing expires while a restore goes on": expiry_during_restore,
    "an emptying ends a restore": always("is_same_restore", True),
}
