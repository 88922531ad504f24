"""One behaviour suite on the real PostgreSQL and on the simulated one: the simulation rests on what holds of both."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

import psycopg
import pytest
from psycopg import IsolationLevel, sql

from orders.errors import Collided, OrdersError, PositionsMoved, Rejected, Unavailable
from orders.ingest.fold import fold, uids_of
from orders.ingest.store import Plan, Store, Transaction, undone
from orders.memory.keeper import CHANNEL, rows_from
from orders.order import Content, document
from orders.postgres.connection import Connection, connect, queries
from orders.postgres.migrations import migrate
from orders.record import Entry, Moved, Position, RefusalWindow, Round, Span, Stop
from support.entries import TOPIC_ID, delete, invalid, upsert
from support.simulation.postgres import IDLE_SECONDS, REFUSED_AMOUNT, Server
from support.waiting import wait_for

Act = Callable[[Transaction], object]


class Bench(Protocol):
    """A PostgreSQL with the schema, one position, and what may befall it."""

    def connect(self) -> Connection: ...
    def end_sessions(self) -> None: ...
    def read_only(self, *, on: bool) -> None: ...
    def outlast_idlers(self) -> None: ...


class Real:
    """The real one; its time-outs are cut so that nobody waits for them."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        migrate(dsn)
        self._run(f"alter table orders add check (payment_amount <> {REFUSED_AMOUNT})")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    def connect(self) -> Connection:
        connection = connect(self._dsn, "test")
        connection.execute("set lock_timeout = '20ms'")
        connection.execute("set idle_in_transaction_session_timeout = '300ms'")
        return connection

    def end_sessions(self) -> None:
        self._run(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and "
            "pid <> pg_backend_pid()"
        )

    def read_only(self, *, on: bool) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute("set default_transaction_read_only = off")
            change = "set default_transaction_read_only = on" if on else "reset default_transaction_read_only"
            connection.execute(sql.SQL("alter database {} {}").format(name, sql.SQL(change)))

    def outlast_idlers(self) -> None:
        idlers = "select * from pg_stat_activity where datname = current_database() and state like 'idle in%'"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            wait_for(lambda: not connection.execute(idlers).fetchall())


class Simulated:
    """The simulated one."""

    def __init__(self) -> None:
        self.now = 0.0
        self._server = Server(lambda: self.now)

    def connect(self) -> Connection:
        return self._server.connect("test")

    def end_sessions(self) -> None:
        self._server.end_sessions()

    def read_only(self, *, on: bool) -> None:
        self._server.is_read_only = on

    def outlast_idlers(self) -> None:
        self.now += IDLE_SECONDS + 1


class Stores:
    """Stores of one topic, each with a connection of its own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._open: list[Store] = []

    def open(self) -> Store:
        store = Store(self.bench.connect, "orders")
        self._open.append(store)
        return store

    def close(self) -> None:
        for store in self._open:
            store.close()

    def write(self, *entries: Entry) -> None:
        """A batch in a transaction, as the pipeline writes it."""
        with self.open().transaction(TOPIC_ID) as transaction:
            write(transaction, *entries)

    @property
    def position(self) -> int | None:
        position = self.open().positions().get((TOPIC_ID, 0))
        return position and position.offset

    @property
    def stored(self) -> dict[str, bytes]:
        """What everybody sees."""
        with self.bench.connect() as connection:
            return {put.order_uid: put.document for put in rows_from(connection, 0)}


def write(transaction: Transaction, *entries: Entry) -> Plan:
    """All steps of a batch but the lock."""
    plan = transaction.number(fold(entries, transaction.known(uids_of(entries)), TOPIC_ID))
    transaction.write(plan)
    transaction.advance({0: Moved(entries[-1].record.offset + 1)})
    return plan


@pytest.fixture(params=["real", "simulated"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    bench: Bench = Simulated() if request.param == "simulated" else Real(request.getfixturevalue("postgres_dsn"))
    made = Stores(bench)
    made.open().begin(TOPIC_ID, {0: 0})
    yield made
    made.close()


def test_a_transaction_is_seen_whole_once_it_is_committed_and_by_nobody_before(stores: Stores) -> None:
    with stores.open().transaction(TOPIC_ID) as transaction:
        write(transaction, upsert("a"), upsert("b", offset=1))
        assert (stores.stored, stores.position) == ({}, 0)
    assert (sorted(stores.stored), stores.position) == (["a", "b"], 2)


def test_an_error_takes_all_of_a_transaction_back(stores: Stores) -> None:
    def fail() -> None:
        with stores.open().transaction(TOPIC_ID) as transaction:
            write(transaction, upsert("a"), invalid(offset=1))
            raise KeyError

    with suppress(KeyError):
        fail()
    assert (stores.stored, stores.position) == ({}, 0)


def test_a_transaction_sees_what_it_did(stores: Stores) -> None:
    with stores.open().transaction(TOPIC_ID) as transaction:
        write(transaction, upsert("a"))
        assert transaction.known(["a", "b"]).keys() == {"a"}
        transaction.lock({0: Span(1, 2)})


@pytest.mark.parametrize("spans", [{0: Span(1, 2)}, {0: Span(0, 1), 1: Span(0, 1)}])
def test_a_position_elsewhere_or_none_at_all_has_moved(stores: Stores, spans: dict[int, Span]) -> None:
    with pytest.raises(PositionsMoved), stores.open().transaction(TOPIC_ID) as transaction:
        transaction.lock(spans)


def test_a_position_is_held_until_the_end_of_the_transaction(stores: Stores) -> None:
    with stores.open().transaction(TOPIC_ID) as transaction:
        transaction.lock({0: Span(0, 1)})
        assert failed(lambda other: other.lock({0: Span(0, 1)}), stores) is Unavailable
    assert failed(lambda other: other.lock({0: Span(0, 1)}), stores) is None


def test_a_known_order_is_held_until_the_end_of_the_transaction(stores: Stores) -> None:
    stores.write(upsert("a"))
    with stores.open().transaction(TOPIC_ID) as transaction:
        transaction.known(["a"])
        assert failed(lambda other: other.known(["a"]), stores) is Unavailable
    assert failed(lambda other: other.known(["a"]), stores) is None


def test_two_who_make_the_same_order_do_not_both(stores: Stores) -> None:
    """While the first one is at it the second waits without success; afterwards it has collided."""
    entry = upsert("a")

    def make_unseen(other: Transaction) -> None:
        other.write(other.number(fold([entry], {}, TOPIC_ID)))

    with stores.open().transaction(TOPIC_ID) as transaction:
        write(transaction, entry)
        assert failed(make_unseen, stores) is Unavailable
    assert failed(make_unseen, stores) is Collided


def test_a_value_that_a_check_refuses_is_rejected(stores: Stores) -> None:
    assert failed(lambda other: write(other, upsert("a", REFUSED_AMOUNT)), stores) is Rejected
    assert stores.stored == {}


def test_a_probe_is_undone_without_an_error(stores: Stores) -> None:
    with stores.open().transaction(TOPIC_ID) as transaction, undone():
        write(transaction, upsert("a"))
    assert (stores.stored, stores.position) == ({}, 0)


def test_numbers_that_were_drawn_are_never_drawn_again(stores: Stores) -> None:
    with stores.open().transaction(TOPIC_ID) as transaction, undone():
        first = write(transaction, upsert("a")).writes[0]
    with stores.open().transaction(TOPIC_ID) as transaction:
        second = write(transaction, upsert("a")).writes[0]
    assert second.id > first.id
    assert second.version > first.version


def test_a_known_row_is_what_was_written(stores: Stores) -> None:
    entry = upsert("a", 5, offset=3)
    assert isinstance(entry.content, Content)
    with stores.open().transaction(TOPIC_ID) as transaction:
        written = write(transaction, entry).writes[0]
    with stores.open().transaction(TOPIC_ID) as transaction:
        found = transaction.known(["a"])["a"]
    assert (found.row, found.id, found.version) == (entry.content.row, written.id, written.version)
    assert found.origin[:3] == (TOPIC_ID, 0, 3)
    assert stores.stored == {"a": document(written.id, entry.content.text)}


def test_an_order_is_replaced_and_deleted(stores: Stores) -> None:
    stores.write(upsert("a", 1), upsert("b", 1, offset=1))
    stores.write(upsert("a", 2, offset=2), delete("b", offset=3))
    assert stores.stored.keys() == {"a"}
    assert b'"amount":2,' in stores.stored["a"]


def test_a_record_that_is_read_again_adds_no_dead_letter_and_no_outcome(stores: Stores) -> None:
    """It writes them again, which is no error."""
    stores.write(invalid(), upsert("a", offset=1, reply=True))
    stores.write(invalid(), upsert("a", offset=1, reply=True))
    assert stores.position == 2


def test_a_first_position_is_given_once_and_what_comes_later_is_not_read_yet(stores: Stores) -> None:
    stores.open().begin(TOPIC_ID, {0: 9})
    stores.open().begin(TOPIC_ID, {1: 7, 2: 8})
    stores.open().begin("another", {0: 1, 1: 2})
    found = stores.open().positions()
    assert {place: position._replace(new_for=None) for place, position in found.items()} == {
        (TOPIC_ID, 0): Position(0),
        (TOPIC_ID, 1): Position(7, below=7),
        (TOPIC_ID, 2): Position(8, below=8),
        ("another", 0): Position(1),
        ("another", 1): Position(2),
    }
    ages = [found[TOPIC_ID, partition].new_for for partition in range(3)]
    assert ages[0] is None
    assert ages[1] == ages[2], "those that came together are equally new"


def test_a_new_partition_opens_once_the_older_ones_are_stored_up_to_what_is_awaited(stores: Stores) -> None:
    """What is opened is not closed by one who planned earlier, and not at all once it was opened wholly."""
    store = stores.open()
    store.begin(TOPIC_ID, {1: 7})
    assert not store.open(TOPIC_ID, 1, Round(9, {0: 1}, is_last=False))
    assert not store.open(TOPIC_ID, 1, Round(9, {0: 0, 5: 0}, is_last=False)), "an older one without a position"
    stores.write(upsert("a"))
    assert store.open(TOPIC_ID, 1, Round(9, {0: 1}, is_last=False))
    assert not store.open(TOPIC_ID, 1, Round(8, {0: 1}, is_last=False))
    assert store.positions()[TOPIC_ID, 1].below == 9
    assert failed(lambda other: other.lock({1: Span(7, 10)}), stores) is PositionsMoved
    assert failed(lambda other: other.lock({1: Span(7, 9)}), stores) is None
    assert store.open(TOPIC_ID, 1, Round(8, {0: 1}, is_last=True))
    assert store.positions()[TOPIC_ID, 1] == Position(7)
    assert not store.open(TOPIC_ID, 1, Round(20, {0: 1}, is_last=False))


def test_a_stop_stands_beside_its_position_and_the_first_one_stays(stores: Stores) -> None:
    first, second = Stop("went_back", "one"), Stop("unreadable", "two")
    stores.write(upsert("a"))
    stores.open().stop(TOPIC_ID, 0, 5, first)
    assert stores.open().positions() == {(TOPIC_ID, 0): Position(1)}
    stores.open().stop(TOPIC_ID, 0, 1, first)
    stores.open().stop(TOPIC_ID, 0, 1, second)
    assert stores.open().positions() == {(TOPIC_ID, 0): Position(1, None, first)}
    assert failed(lambda other: other.lock({0: Span(1, 2)}), stores) is PositionsMoved


def test_what_stands_beside_a_position_moves_with_it(stores: Stores) -> None:
    with stores.open().transaction(TOPIC_ID) as transaction:
        transaction.advance({0: Moved(3, 7, b"\5")})
    assert stores.open().positions() == {(TOPIC_ID, 0): Position(3, 7)}
    with stores.open().transaction(TOPIC_ID) as transaction:
        assert transaction.lock({0: Span(3, 4)}) == {0: RefusalWindow(b"\5", 0)}


def test_a_session_that_ends_takes_its_transaction_with_it(stores: Stores) -> None:
    store = stores.open()

    def end_and_go_on(transaction: Transaction) -> None:
        write(transaction, upsert("a"))
        stores.bench.end_sessions()
        transaction.known(["b"])

    assert failed(end_and_go_on, stores, store) is Unavailable
    assert (stores.stored, stores.position) == ({}, 0)
    assert failed(lambda transaction: write(transaction, upsert("a")), stores, store) is None


def test_a_session_that_idles_in_a_transaction_is_ended(stores: Stores) -> None:
    def idle(transaction: Transaction) -> None:
        transaction.lock({0: Span(0, 1)})
        stores.bench.outlast_idlers()
        transaction.advance({0: Moved(1)})

    assert failed(idle, stores) is Unavailable
    assert failed(lambda other: other.lock({0: Span(0, 1)}), stores) is None


def test_a_server_that_only_reads_writes_nothing_and_is_away(stores: Stores) -> None:
    stores.bench.read_only(on=True)
    assert failed(lambda transaction: write(transaction, upsert("a")), stores) is Unavailable
    assert failed(lambda transaction: transaction.lock({0: Span(0, 1)}), stores) is Unavailable
    stores.bench.read_only(on=False)
    assert failed(lambda transaction: write(transaction, upsert("a")), stores) is None


def test_notices_leave_with_the_commit(stores: Stores) -> None:
    with stores.bench.connect() as listening:
        listening.execute(f"listen {CHANNEL}")
        with stores.open().transaction(TOPIC_ID) as transaction, undone():
            transaction.notify("other", [("a", 1)])
        with stores.open().transaction(TOPIC_ID) as transaction:
            transaction.notify("memory", [("b", 2)])
            assert list(listening.notifies(timeout=0)) == []
        assert [json.loads(notice.payload) for notice in heard(listening)] == [
            {"memory": "memory", "changes": [["b", 2]]}
        ]


def heard(listening: Connection) -> list[psycopg.Notify]:
    """What comes; a moment may pass."""
    return wait_for(lambda: list(listening.notifies(timeout=0.1)))


def test_a_restore_reads_one_snapshot(stores: Stores) -> None:
    stores.write(upsert("a"))
    with stores.bench.connect() as reading:
        reading.isolation_level = IsolationLevel.REPEATABLE_READ
        with reading.transaction():
            before = list(rows_from(reading, 0))
            stores.write(upsert("b", offset=1))
            assert list(rows_from(reading, 0)) == before
    assert stores.stored.keys() == {"a", "b"}


def test_the_identity_is_another_once_a_position_has_moved(stores: Stores) -> None:
    with stores.bench.connect() as connection:
        first = connection.execute(queries["identity"]).fetchone()
        assert connection.execute(queries["identity"]).fetchone() == first
        stores.write(upsert("a"))
        assert connection.execute(queries["identity"]).fetchone() != first


def failed(act: Act, stores: Stores, store: Store | None = None) -> type[OrdersError] | None:
    """What a transaction that does this ends with; None: it is committed."""
    try:
        with (store or stores.open()).transaction(TOPIC_ID) as transaction:
            act(transaction)
    except OrdersError as error:
        return type(error)
    return None
