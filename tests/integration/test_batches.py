"""However good and bad records of few orders are mixed and cut into batches: what is stored is what a plain fold gives.

Read a second time, under other cuts, they change nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.memory.keeper import rows_from
from orders.memory.shared import Memory
from orders.order import document
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Entry, Span
from support.entries import TOPIC_ID, content, delete, invalid, upsert

UIDS = {"a": 0, "b": 0, "c": 1, "d": 1}
"""Few orders, each with a partition of its own: records of two partitions have no order."""
NOT_TAKEN = 666
"""An amount that the decoder takes and PostgreSQL does not."""
INVALID, DELETED = "no order", "deletion"

Cuts = list[int]
Place = tuple[int, int]
"""Partition and offset."""


class Sent(NamedTuple):
    """A record of an order, by its amount; or one that deletes it; or a message that is not an order."""

    partition: int
    offset: int
    order_uid: str
    what: int | str

    @property
    def place(self) -> Place:
        return self.partition, self.offset

    @property
    def entry(self) -> Entry:
        if isinstance(self.what, int):
            return upsert(self.order_uid, self.what, partition=self.partition, offset=self.offset, reply=True)
        if self.what == INVALID:
            return invalid(partition=self.partition, offset=self.offset)
        return delete(self.order_uid, partition=self.partition, offset=self.offset)


class Model:
    """The same records one by one, as plainly as can be; `dead_letters` are those that were refused."""

    def __init__(self, sent: Iterable[Sent], dead_letters: Iterable[Place]) -> None:
        self.orders: dict[str, int | str] = {}
        self.outcomes: dict[Place, str] = {}
        refused = set(dead_letters)
        for record in sent:
            self.outcomes[record.place] = "refused" if record.place in refused else self._take(record)

    def _take(self, record: Sent) -> str:
        before = self.orders.pop(record.order_uid, DELETED)
        if record.what != DELETED:
            self.orders[record.order_uid] = record.what
        if record.what == before:
            return "unchanged"
        return "deleted" if record.what == DELETED else "created" if before == DELETED else "replaced"


class Bench:
    """One writer with its database and its memory."""

    def __init__(self, dsn: str, memory: Memory) -> None:
        self._dsn, self._memory = dsn, memory
        self._store = Store(lambda: connect(dsn, "test"), "orders")
        self._writer = Writer(self._store, memory)
        self._store.begin(TOPIC_ID, dict.fromkeys(UIDS.values(), 0))
        self._run(f"alter table orders add check (payment_amount <> {NOT_TAKEN})")

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._dsn) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def forget(self) -> None:
        self._run("truncate orders, dead_letters, outcomes")
        self._memory.empty()

    def write(self, sent: Sequence[Sent], cuts: Cuts) -> None:
        """All records from the start, in batches that end where `cuts` say."""
        self._run("update positions set next_offset = 0")
        for batch in batches(sent, cuts):
            self._writer.write(batch, TOPIC_ID)

    @property
    def orders(self) -> dict[str, int]:
        return dict(self._run("select order_uid, payment_amount from orders"))

    @property
    def numbers(self) -> dict[str, tuple[int, int]]:
        """What a row gets again whenever it is written, by uid."""
        rows = self._run("select order_uid, id, version from orders")
        return {order_uid: (number, version) for order_uid, number, version in rows}

    @property
    def outcomes(self) -> dict[Place, str]:
        rows = self._run('select partition, "offset", outcome from outcomes')
        return {(partition, offset): outcome for partition, offset, outcome in rows}

    @property
    def dead_letters(self) -> set[Place]:
        return set(self._run('select partition, "offset" from dead_letters'))

    @property
    def documents(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """As PostgreSQL serves them, and as memory does."""
        held = {order_uid: served for order_uid in UIDS if (served := self._memory.get(order_uid.encode()))}
        with connect(self._dsn, "test") as connection:
            return {put.order_uid: put.document for put in rows_from(connection, 0)}, held

    def close(self) -> None:
        self._store.close()
        self._memory.close()


def parts(sent: Sequence[Sent], cuts: Cuts) -> list[Sequence[Sent]]:
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(sent)}), len(sent)]
    return [sent[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def batches(sent: Sequence[Sent], cuts: Cuts) -> Iterator[Batch]:
    for part in parts(sent, cuts):
        offsets = {partition: [r.offset for r in part if r.partition == partition] for partition, *_ in part}
        spans = {partition: Span(each[0], each[-1] + 1) for partition, each in offsets.items()}
        yield Batch(tuple(record.entry for record in part), spans)


def unmet(sent: Sequence[Sent], cuts: Cuts) -> set[Place]:
    """Records that PostgreSQL may never meet, since another one of their order follows in their batch."""
    found = set()
    for part in parts(sent, cuts):
        for number, record in enumerate(part):
            later = [each.order_uid for each in part[number + 1 :] if each.what != INVALID]
            if record.what == NOT_TAKEN and record.order_uid in later:
                found.add(record.place)
    return found


@st.composite
def records(draw: st.DrawFn) -> list[Sent]:
    kinds: SearchStrategy[int | str] = st.sampled_from([1, 1, 2, 3, NOT_TAKEN, NOT_TAKEN, INVALID, DELETED])
    drawn = draw(st.lists(st.tuples(st.sampled_from(sorted(UIDS)), kinds), min_size=1, max_size=25))
    ends = dict.fromkeys(UIDS.values(), 0)
    made = []
    for order_uid, what in drawn:
        partition = UIDS[order_uid]
        made.append(Sent(partition, ends[partition], order_uid, what))
        ends[partition] += 1
    return made


any_cuts: SearchStrategy[Cuts] = st.lists(st.integers(1, 25), max_size=6)


@pytest.fixture
def bench(postgres_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    migrate(postgres_dsn)
    made = Bench(postgres_dsn, Memory.create(tmp_path / "memory", 8 * 2**20))
    yield made
    made.close()


@pytest.mark.parametrize("examples", [25, pytest.param(2_000, marks=[pytest.mark.faults, pytest.mark.timeout(1200)])])
def test_however_records_are_cut_into_batches_what_is_stored_is_their_fold(bench: Bench, examples: int) -> None:
    @settings(max_examples=examples)
    @given(sent=records(), cuts=any_cuts, others=any_cuts)
    def check(sent: list[Sent], cuts: Cuts, others: Cuts) -> None:
        bench.forget()
        bench.write(sent, cuts)
        first = bench.dead_letters
        model = Model(sent, first)
        check_dead_letters(sent, first, unmet(sent, cuts))
        check_stored(bench, model.orders)
        assert bench.outcomes == model.outcomes
        numbers = bench.numbers
        bench.write(sent, others)
        touched = {record.order_uid for record in sent if record.place in unmet(sent, others)}
        assert bench.numbers.items() >= {each: numbers[each] for each in numbers.keys() - touched}.items()
        assert first <= bench.dead_letters
        check_dead_letters(sent, bench.dead_letters, unmet(sent, cuts))
        check_stored(bench, model.orders)
        assert bench.outcomes == model.outcomes

    check()


def check_dead_letters(sent: Sequence[Sent], dead_letters: set[Place], may_lack: set[Place]) -> None:
    """Each bad record is there, but for those that were replaced before PostgreSQL met them."""
    bad = {record.place for record in sent if record.what in {INVALID, NOT_TAKEN}}
    assert dead_letters <= bad
    assert bad - dead_letters <= may_lack


def check_stored(bench: Bench, orders: Mapping[str, int | str]) -> None:
    assert bench.orders == orders
    assert NOT_TAKEN not in orders.values()
    stored, held = bench.documents
    assert stored.keys() == orders.keys()
    assert held.items() <= stored.items()
    for order_uid, served in stored.items():
        number = int(served.partition(b'"id":')[2].partition(b",")[0])
        assert served == document(number, content(order_uid, int(orders[order_uid])).text)
