"""A model of PostgreSQL drives the real memory through races; what memory serves is always what PostgreSQL holds.

The same model run finds a counterexample as soon as any clause of the rule in `orders.memory.coherence` is taken out.
"""

import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orders import deadlines
from orders.memory import coherence
from orders.memory.layout import Work
from orders.memory.shared import Change, Memory, Put

DOCUMENT_BYTES = int(2.2 * mmap.PAGESIZE)
BUDGET = 9 * mmap.PAGESIZE
"""Room for two documents of three pages each and a page of either tree: a third one drives out the first."""

WAITS = (10.0, 10.0, 25.0, 25.0, 40.0, 61.0)
Twist = Literal["none", "delete", "kill", "roll back"]
TWISTS: list[Twist] = ["none", "none", "none", "none", "kill", "roll back"]


def body(order_uid: str, version: int) -> bytes:
    return f"{order_uid}@{version}".encode().ljust(DOCUMENT_BYTES, b".")


def version_of(document: bytes) -> int:
    return int(document.rstrip(b".").split(b"@")[1])


T = TypeVar("T")


def pick(some: Sequence[T], which: int) -> T:
    return some[which % len(some)]


class Transaction:
    """An ingest's transaction on one order: before COMMIT while `version` is None, then between COMMIT and settle."""

    def __init__(self, order_uid: str, writer: int, fenced_at: float, *, known: bool, deletes: bool) -> None:
        self.order_uid = order_uid
        self.writer = writer
        self.fenced_at = fenced_at
        self.known = known
        self.deletes = deletes
        self.version: int | None = None
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

    What is slow, stopped or stopped for good is a step that comes late or never. A read's clock is looked at as late
    as can be, just before its snapshot.
    """

    uids: ClassVar[Sequence[str]] = "a"
    steps: ClassVar[Sequence[str]] = [*["ingest"] * 4, "read", "put", "put", "keep", "wait", "empty"]
    """By weight."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="memory-model-"))
        self.now = 1000.0
        self.memory = Memory.create(self.folder / "memory", BUDGET, lambda: self.now)
        self.versions = count(1)
        self.writers = count(1)
        self.postgres = {order_uid: next(self.versions) for order_uid in self.uids}
        self.ingests: list[Transaction | None] = [None, None]
        self.reads: list[Read] = []
        self.keepers: list[Restore | None] = [None, None]
        self.unheard: dict[str, int] = {}
        self.deaf = False
        self.seen: dict[str, int] = {}

    def teardown(self) -> None:
        self.memory.close()
        shutil.rmtree(self.folder)

    @rule(
        step=st.runner().flatmap(lambda self: st.sampled_from(self.steps)),
        which=st.integers(0, 5),
        twist=st.sampled_from(TWISTS),
    )
    def step(self, step: str, which: int, twist: Twist) -> None:
        """One rule with weights, not one rule each: Hypothesis would switch most of them off in most runs."""
        self.now += 1.0
        getattr(self, step)(which, twist)

    # -- ingests --

    def ingest(self, which: int, twist: Twist) -> None:
        """One of two ingests takes its next step: fence, COMMIT, settle; or rolls back; or is killed where it stands.

        A reply to COMMIT that is lost looks like a kill between COMMIT and settle.
        """
        number = which % 2
        work = self.ingests[number]
        if work is None:
            self.ingests[number] = self.fence(pick(self.uids, which), deletes=which > 2)
        elif work.version is not None:
            self.ingests[number] = None
            if twist != "kill":
                self.settle(work)
        elif twist in ("kill", "roll back") or not self.may_commit(work):
            self.ingests[number] = None
            if twist != "kill":
                self.memory.unfence([work.order_uid], work.writer)
        else:
            work.as_of = self.now
            work.version = self.change(work.order_uid, deletes=work.deletes)

    def fence(self, order_uid: str, *, deletes: bool) -> Transaction:
        """An order that is not known needs no fence, and cannot be deleted."""
        known = order_uid in self.postgres
        work = Transaction(order_uid, next(self.writers), self.now, known=known, deletes=known and deletes)
        if known:
            self.memory.fence([order_uid], work.writer)
        return work

    def may_commit(self, work: Transaction) -> bool:
        """No fence is too old, and nobody else inserted the same order."""
        is_fenced = self.now - work.fenced_at <= deadlines.LIFE - deadlines.FRESH
        return is_fenced and (work.known or work.order_uid not in self.postgres)

    def settle(self, work: Transaction) -> None:
        assert work.version is not None
        document = None if work.deletes else body(work.order_uid, work.version)
        if work.known:
            self.memory.settle([Change(work.order_uid, work.version, document)], work.writer, work.as_of)
        elif document is not None:
            self.memory.put([Put(work.order_uid, work.version, document)], work.as_of)

    def change(self, order_uid: str, *, deletes: bool) -> int:
        version = next(self.versions)
        if deletes:
            self.postgres.pop(order_uid, None)
        else:
            self.postgres[order_uid] = version
        return version

    # -- read-throughs --

    def read(self, which: int, _twist: Twist) -> None:
        """A GET is answered from PostgreSQL; its put may come much later."""
        if self.postgres:
            order_uid, version = pick(sorted(self.postgres.items()), which)
            self.reads.append(Read(Put(order_uid, version, body(order_uid, version)), self.now))

    def put(self, which: int, twist: Twist) -> None:
        if not self.reads:
            self.read(which, twist)
        else:
            read = self.reads.pop(which % len(self.reads))
            self.memory.put([read.put], read.as_of)

    # -- keepers --

    def keep(self, which: int, twist: Twist) -> None:
        """A keeper takes its next step: snapshot, put a part, end; or is killed. Two: an old one was only stopped."""
        number = which % 2
        keeper = self.keepers[number]
        if keeper is None:
            self.deaf = False
            self.keepers[number] = Restore(self.memory.begin_restore(), dict(self.postgres))
        elif not keeper.snapshot or twist == "kill":
            self.keepers[number] = None
            if twist != "kill":
                self.memory.end_restore(keeper.token)
        else:
            order_uid, version = keeper.snapshot.popitem()
            if not self.memory.restore([Put(order_uid, version, body(order_uid, version))], keeper.token):
                self.keepers[number] = None

    def lose(self, _which: int, _twist: Twist) -> None:
        """The keeper ends or is stopped, and `run` sees it: nobody hears of what other machines change."""
        self.memory.seal(self.now)
        self.unheard.clear()
        self.deaf = True

    def empty(self, _which: int, _twist: Twist) -> None:
        """Also what a keeper does when its connection was lost, and notices with it."""
        self.memory.empty()
        self.unheard.clear()

    # -- another machine --

    def elsewhere(self, which: int, twist: Twist) -> None:
        """Another machine commits, and later is heard of: in between this one may serve what it had."""
        if self.unheard:
            self.memory.raise_minimum_versions(list(self.unheard.items()))
            self.unheard.clear()
        elif self.postgres:
            order_uid = pick(sorted(self.postgres), which)
            version = self.change(order_uid, deletes=twist == "delete")
            if not self.deaf:
                self.unheard[order_uid] = version

    # -- time --

    def wait(self, which: int, _twist: Twist) -> None:
        self.now += pick(WAITS, which)
        if which % 2:
            self.memory.sweep()

    # -- what must hold --

    @invariant()
    def serves_what_postgres_holds(self) -> None:
        """Every GET is a miss or the truth; of an order changed elsewhere and not heard of, never an older version."""
        served = {uid: document for uid in self.uids if (document := self.memory.get(uid.encode())) is not None}
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


class CrowdedModel(MemoryModel):
    """The same with more orders than memory has room for, and with another machine."""

    uids = "abc"
    steps = (*MemoryModel.steps, "ingest", "ingest", "elsewhere", "lose")


def run_model(model: type[MemoryModel], examples: int, phases: Iterable[Phase]) -> None:
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            derandomize=True,
            database=None,
            deadline=None,
            phases=tuple(phases),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.parametrize("model", [MemoryModel, CrowdedModel])
def test_memory_serves_what_postgres_holds(model: type[MemoryModel]) -> None:
    """In all schedules tried, with crashes, delays and evictions, memory never serves anything stale."""
    run_model(model, examples=150, phases=(Phase.generate, Phase.shrink))


def one_fence_for_all(patch: pytest.MonkeyPatch) -> None:
    fence, unfence = coherence.fenced, coherence.unfenced
    patch.setattr(coherence, "fenced", lambda restriction, _writer, at: fence(restriction, 0, at))
    patch.setattr(coherence, "unfenced", lambda restriction, _writer: unfence(restriction, 0))


def no_minimum_version_of_a_delete(patch: pytest.MonkeyPatch) -> None:
    settle = Work.settle

    def without_deletes(work: Work, changes: Iterable[Change], writer: int) -> None:
        changes = list(changes)
        work.unfence([change.order_uid for change in changes], writer)
        settle(work, [change for change in changes if change.document is not None], writer)

    patch.setattr(Work, "settle", without_deletes)


def expiry_during_restore(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(coherence, "holds", lambda time, at: at.now - time <= deadlines.LIFE)


def entry_stays_when_fenced(patch: pytest.MonkeyPatch) -> None:
    def fence(work: Work, uids: Iterable[str], writer: int) -> None:
        for key in map(str.encode, uids):
            work._keep(key, coherence.fenced(work._restriction(key), writer, work._at))

    patch.setattr(Work, "fence", fence)


def fences_do_not_outlive_emptying(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(coherence, "outlives_emptying", lambda _restriction, _at: False)


def fences_hold_too_shortly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(coherence, "LIFE", deadlines.FRESH)


def always(name: str, answer: object) -> Callable[[pytest.MonkeyPatch], None]:
    def take_out(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(coherence, name, lambda *_: answer)

    return take_out


class Clause(NamedTuple):
    """A clause of the rule: how to take it out, and the steps among which the search looks for what then goes wrong."""

    take_out: Callable[[pytest.MonkeyPatch], None]
    steps: str


CLAUSES = {
    "a fenced order is not put": Clause(always("is_fenced", False), "ingest ingest read put"),
    "each writer has its own fence": Clause(one_fence_for_all, "ingest"),
    "a fence drops the entry": Clause(entry_stays_when_fenced, "ingest ingest read put"),
    "fences hold until reads are too old": Clause(fences_hold_too_shortly, "ingest ingest read put wait"),
    "nothing is put below the minimum version": Clause(always("minimum_version", 0), "ingest ingest ingest read put"),
    "a delete has a minimum version": Clause(no_minimum_version_of_a_delete, "ingest ingest ingest read put"),
    "only newer versions replace": Clause(always("is_newer", True), "elsewhere read read put put put"),
    "what was read long ago is not put": Clause(always("is_fresh", True), "ingest ingest ingest ingest read put wait"),
    "what was read before an emptying is not put": Clause(
        always("is_since_emptying", True), "ingest ingest ingest read put empty"
    ),
    "fences outlive an emptying": Clause(fences_do_not_outlive_emptying, "ingest ingest read put empty"),
    "nothing expires while a restore continues": Clause(expiry_during_restore, "ingest ingest keep wait"),
    "nothing is put while nobody listens": Clause(always("is_open", True), "lose elsewhere read read put put"),
    "an emptying ends a restore": Clause(always("is_same_restore", True), "ingest ingest keep empty"),
}


@pytest.mark.parametrize("name", CLAUSES)
def test_no_clause_of_the_rule_can_be_left_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the same search ends with something stale."""
    clause = CLAUSES[name]
    focused = type("FocusedModel", (MemoryModel,), {"steps": clause.steps.split()})
    clause.take_out(monkeypatch)
    with pytest.raises(AssertionError, match=r"is served|replaced a newer one"):
        run_model(focused, examples=1000, phases=(Phase.generate,))
