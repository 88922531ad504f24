"""Whatever the decoder takes, PostgreSQL keeps: what comes back of it is served byte for byte as before."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orders.decoder import decode
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.memory.keeper import rows_from
from orders.memory.shared import Memory
from orders.order import Content
from orders.postgres.connection import connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Entry, Record, Span
from support.entries import TOPIC_ID
from support.hostile import TAKEN, Strange
from support.strategies import instant, meaning, messages, parse


class Bench:
    """Writes messages one batch after the other."""

    def __init__(self, dsn: str, memory: Memory) -> None:
        self._dsn, self.memory = dsn, memory
        self._store = Store(lambda: connect(dsn, "test"), "orders")
        self._store.begin(TOPIC_ID, {0: 0})
        self._writer = Writer(self._store, memory)
        self._offset = 0

    def write(self, values: Sequence[bytes]) -> list[Content]:
        contents = [c for value in values if isinstance(c := decode(value), Content)]
        assert len(contents) == len(values)
        first = self._offset
        self._offset += len(contents)
        entries = tuple(Entry(Record(0, first + i, None, None, None), c) for i, c in enumerate(contents))
        self._writer.write(Batch(entries, {0: Span(first, self._offset)}), TOPIC_ID)
        return contents

    def restored(self) -> dict[str, bytes]:
        with connect(self._dsn, "test") as connection:
            assert connection.execute("select count(*) from dead_letters").fetchone() == (0,)
            return {put.order_uid: put.document for put in rows_from(connection, 0)}

    def close(self) -> None:
        self._store.close()
        self.memory.close()


@pytest.fixture
def bench(postgres_dsn: str, tmp_path: Path) -> Iterator[Bench]:
    migrate(postgres_dsn)
    made = Bench(postgres_dsn, Memory.create(tmp_path / "memory", 64 * 2**20))
    yield made
    made.close()


def served(bench: Bench, content: Content) -> bytes:
    """What memory serves, after a look that it is what a restore would give."""
    order_uid = content.row.order_uid
    document = bench.memory.get(order_uid.encode())
    assert document == bench.restored()[order_uid]
    return document or b""


@pytest.mark.parametrize("strange", TAKEN, ids=lambda s: s.name)
def test_every_strange_but_valid_message_comes_back_as_it_was(bench: Bench, strange: Strange) -> None:
    (content,) = bench.write([strange.value])
    assert without_id(served(bench, content)) == meaning(strange.value)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batch=st.lists(messages(), min_size=1, max_size=20))
def test_any_valid_messages_come_back_as_they_were(bench: Bench, batch: list[bytes]) -> None:
    last = {c.row.order_uid: value for c, value in zip(bench.write(batch), batch, strict=True)}
    restored = bench.restored()
    for order_uid, value in last.items():
        assert without_id(restored[order_uid]) == meaning(value)
        assert bench.memory.get(order_uid.encode()) == restored[order_uid]


def without_id(document: bytes) -> object:
    order = parse(document)["order"]
    del order["id"]
    return order | {"date_created": instant(order["date_created"])}
