"""A batch on a real PostgreSQL and a real memory: whole or absent, and the record to blame found by trial."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from msgspec import structs
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders import deadlines
from orders.errors import Misconfigured, PositionsMoved, Unavailable
from orders.ingest.store import Store, Transaction, connect_writer
from orders.ingest.writer import Writer
from orders.memory.shared import Memory, Put
from orders.order import Content, document, text
from orders.postgres.connection import WITH_TRANSACTION_TIMEOUT, Connection, connect
from orders.postgres.migrations import migrate
from orders.record import Batch, Condition, Entry, Moved, Record, Span
from support.entries import TOPIC_ID, delete, invalid, upsert
from support.proxy import LosingProxy
from support.waiting import wait_for

ABSENT = Condition(None)
WAITING = "select * from pg_stat_activity where state = 'idle in transaction' and datname = current_database()"


class Bench(NamedTuple):
    """One writer with its database and memory."""

    writer: Writer
    memory: Memory
    dsn: str

    def write(self, *entries: Entry, begin: int | None = None) -> None:
        first, last = entries[0].record.offset, entries[-1].record.offset
        self.writer.write(Batch(entries, {0: Span(first if begin is None else begin, last + 1)}), TOPIC_ID)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(sql.encode()).fetchall()

    def run(self, sql: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(sql.encode())

    @property
    def position(self) -> int:
        return int(self.rows("select next_offset from positions where partition = 0")[0][0])


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    store = Store(lambda: connect(postgres_dsn, "test"), "orders")
    store.begin(TOPIC_ID, {0: 0})
    store.close()
    return postgres_dsn


def bench_on(dsn: str, memory: Memory, address: str | None = None) -> tuple[Bench, Store]:
    store = Store(lambda: connect(address or dsn, "test"), "orders")
    return Bench(Writer(store, memory), memory, dsn), store


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory.create(tmp_path / "memory" / "file", 8 * 2**20)
    yield made
    made.close()


@pytest.fixture
def bench(dsn: str, memory: Memory) -> Iterator[Bench]:
    made, store = bench_on(dsn, memory)
    yield made
    store.close()


def test_orders_are_stored_and_served_with_ids_in_order_of_arrival(bench: Bench) -> None:
    entries = [upsert(uid, offset=i) for i, uid in enumerate(["z", "a", "y"])]
    bench.write(*entries)
    assert bench.rows("select order_uid, id from orders order by id") == [("z", 1), ("a", 2), ("y", 3)]
    assert bench.position == 3
    assert bench.memory.get(b"a") == document(2, text(entries[1].content.row))  # type: ignore[union-attr]


def test_a_replaced_order_keeps_its_id_gets_a_higher_version_and_is_served_again(bench: Bench) -> None:
    bench.write(upsert("a", 1, offset=0))
    (before,) = bench.rows("select id, version from orders")
    bench.write(upsert("a", 2, offset=1))
    ((order_id, version, amount),) = bench.rows("select id, version, payment_amount from orders")
    assert (order_id, amount) == (before[0], 2)
    assert version > before[1]
    assert b'"amount":2' in (bench.memory.get(b"a") or b"")


def test_a_deleted_order_is_gone_from_the_table_and_from_memory(bench: Bench) -> None:
    bench.write(upsert("a", offset=0), upsert("b", offset=1))
    bench.write(delete("a", offset=2))
    assert bench.rows("select order_uid from orders") == [("b",)]
    assert bench.memory.get(b"a") is None


def test_outcomes_of_records_that_asked_are_kept_with_their_versions(bench: Bench) -> None:
    bench.write(
        upsert("a", 1, offset=0, condition=ABSENT, reply=True),
        upsert("a", 2, offset=1, condition=ABSENT, reply=True),
        upsert("b", offset=2),
        invalid(offset=3),
    )
    rows = bench.rows('select "offset", outcome, order_uid, version is not null from outcomes order by "offset"')
    assert rows == [(0, "created", "a", True), (1, "conflict", "a", True), (3, "refused", None, False)]


def test_an_invalid_message_is_a_dead_letter_with_its_bytes_key_and_headers(bench: Bench) -> None:
    bad = invalid(offset=0, reason="bad\0 \ud800 reason")
    record = Record(0, 0, 1_000, b"\xff", b"{", (("h", b"\x00\xff"), ("n", None)), headers_lost=True)
    bench.write(Entry(record, bad.content))
    (row,) = bench.rows("select key, value, header_names, header_values, reason, note is null from dead_letters")
    assert row == (b"\xff", b"{", ["h", "n"], [b"\x00\xff", None], "bad\\u0000 \\ud800 reason", False)


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_what_postgresql_refuses_is_one_dead_letter_and_its_neighbours_are_stored(bench: Bench, bad: int) -> None:
    bench.run("alter table orders add check (payment_amount <> 666)")
    entries = [upsert(f"u{i}", 666 if i == bad else 1, offset=i, reply=True) for i in range(8)]
    bench.write(*entries)
    assert bench.rows("select count(*) from orders") == [(7,)]
    ((offset, reason),) = bench.rows('select "offset", reason from dead_letters')
    assert offset == bad
    assert "23514" in reason
    assert bench.rows("select outcome from outcomes where outcome <> 'created'") == [("refused",)]
    assert bench.memory.get(f"u{bad}".encode()) is None
    assert bench.position == 8


def test_a_good_record_stays_when_a_later_one_of_its_uid_is_refused(bench: Bench) -> None:
    bench.run("alter table orders add check (payment_amount <> 666)")
    bench.write(upsert("a", 1, offset=0), upsert("a", 666, offset=1), upsert("b", offset=2))
    assert bench.rows("select order_uid, payment_amount from orders order by 1") == [("a", 1), ("b", 1)]
    assert bench.rows('select "offset" from dead_letters') == [(1,)]


def test_if_no_order_at_all_is_taken_the_set_up_is_wrong_and_nothing_becomes_a_dead_letter(bench: Bench) -> None:
    bench.run("alter table orders add check (entry = 'never')")
    with pytest.raises(Misconfigured, match="takes no order at all"):
        bench.write(upsert("a", offset=0), upsert("b", offset=1))
    assert bench.rows("select * from dead_letters") == []
    assert bench.position == 0


def test_a_dead_letter_that_cannot_be_written_stops_consumption(bench: Bench) -> None:
    bench.run("alter table dead_letters add check (partition < 0)")
    with pytest.raises(Misconfigured, match="dead letter"):
        bench.write(invalid(offset=0))
    assert bench.position == 0


@pytest.mark.parametrize("begin", [5, 0])
def test_a_batch_that_does_not_begin_at_the_stored_position_writes_nothing(bench: Bench, begin: int) -> None:
    bench.write(upsert("a", offset=0), upsert("b", offset=1))
    with pytest.raises(PositionsMoved):
        bench.write(upsert("c", offset=6), begin=begin)
    assert bench.rows("select order_uid from orders order by 1") == [("a",), ("b",)]


def test_a_missing_right_is_the_set_ups_fault(bench: Bench) -> None:
    bench.run("alter table orders rename to elsewhere")
    with pytest.raises(Misconfigured, match="42P01"):
        bench.write(upsert("a", offset=0))


def test_if_a_check_at_the_commit_takes_no_order_the_set_up_is_wrong(bench: Bench) -> None:
    bench.run("create function no() returns trigger language plpgsql as 'begin raise check_violation; end'")
    bench.run(
        "create constraint trigger no after insert on orders deferrable initially deferred "
        "for each row execute function no()"
    )
    with pytest.raises(Misconfigured, match="takes no order at all"):
        bench.write(upsert("a", offset=0))
    assert bench.rows("select * from dead_letters") == []


def test_text_travels_as_utf_8_whatever_the_environment_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    good = upsert("a").content
    assert isinstance(good, Content)
    bench.write(Entry(Record(0, 0, 1, None, b"{}"), structs.replace(good, row=good.row._replace(entry="Иван"))))
    monkeypatch.delenv("PGCLIENTENCODING")
    assert bench.rows("select entry from orders") == [("Иван",)]


def test_a_writer_that_was_stopped_in_its_transaction_blames_nobody(dsn: str, memory: Memory) -> None:
    """PostgreSQL ends the transaction meanwhile, each time."""

    def impatient() -> Connection:
        connection = connect(dsn, "test")
        connection.execute("set idle_in_transaction_session_timeout = '20ms'")
        return connection

    def at(point: str) -> None:
        if point == "before copy":
            wait_for(lambda: made.rows(WAITING) == [])

    store = Store(impatient, "orders")
    made = Bench(Writer(store, memory, at=at), memory, dsn)
    with pytest.raises(Unavailable):
        made.write(upsert("a", offset=0))
    store.close()
    assert made.rows("select * from dead_letters") == []


def test_a_writer_that_was_stopped_after_its_dead_letters_holds_its_partition_for_a_bounded_time(
    dsn: str, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What psycopg sends last of them has PostgreSQL look for no idle transaction; the whole transaction times out."""
    store = Store(lambda: connect(dsn, "test", transaction_seconds=0.3), "orders")
    bench = Bench(Writer(store, memory), memory, dsn)
    if int(bench.rows("show server_version_num")[0][0]) < WITH_TRANSACTION_TIMEOUT:
        pytest.skip("transaction_timeout came with PostgreSQL 17")
    advance = Transaction.advance

    def after_a_stop(transaction: Transaction, moved: Mapping[int, Moved]) -> None:
        wait_for(lambda: bench.rows(WAITING) == [])
        advance(transaction, moved)

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "advance", after_a_stop)
        with pytest.raises(Unavailable):
            bench.write(upsert("a", offset=0), invalid(offset=1))
    bench.write(upsert("a", offset=0), invalid(offset=1))
    store.close()
    assert bench.rows('select "offset" from dead_letters') == [(1,)]


WRITERS = "select from pg_stat_activity where datname = current_database() and application_name = 'orders ingest'"
COPYING = """
select from pg_stat_activity
where datname = current_database() and wait_event = 'ClientRead' and query ~ '^copy' and now() - xact_start > '0.3 s'
"""


def test_a_writer_that_went_silent_in_a_copy_is_ended_by_the_next_one(dsn: str, memory: Memory) -> None:
    """While PostgreSQL awaits the rest of a COPY it heeds no time-out; another process or machine cannot wait for ever.

    One that only waits, or copies elsewhere, is left alone.
    """
    limits = {"statement_seconds": 0.1, "transaction_seconds": 0.1}
    lock, copy = "select from positions for update", "copy orders from stdin"
    with (
        closing(connect_writer(dsn, **limits)) as silent,
        closing(connect_writer(dsn, **limits)) as elsewhere,
        closing(connect(dsn, "other")) as other,
        psycopg.connect(dsn, autocommit=True) as looking,
    ):
        for writer, statement in ((silent, lock), (elsewhere, "select 1"), (other, "select 1")):
            writer.execute("begin")
            writer.execute(statement)
            writer.pgconn.send_query(copy.encode())
        wait_for(lambda: len(looking.execute(COPYING).fetchall()) == 3, "three wait for their client")
        store = Store(lambda: connect_writer(dsn, statement_seconds=5, transaction_seconds=0.3), "orders")
        Bench(Writer(store, memory), memory, dsn).write(upsert("a", offset=0))
        store.close()
        assert len(looking.execute(COPYING).fetchall()) == 2
        for writer in (silent, elsewhere, other):
            writer.pgconn.finish()


def test_a_writer_that_cannot_look_for_others_leaves_no_connection(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as looking:
        looking.execute("alter table positions rename to away")
        with pytest.raises(Misconfigured, match="42P01") as error:
            connect_writer(dsn, statement_seconds=5, transaction_seconds=5)
        assert error.traceback  # its frames keep what was made in them
        wait_for(lambda: not looking.execute(WRITERS).fetchall(), "its connection is closed")


def test_a_server_that_only_reads_is_left_for_the_one_that_took_over(bench: Bench) -> None:
    name = sql.Identifier(str(bench.rows("select current_database()")[0][0]))
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
        with pytest.raises(Unavailable, match="25006"):
            bench.write(upsert("a", offset=0))
        connection.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))
    bench.write(upsert("a", offset=0))


def test_a_commit_whose_reply_is_lost_is_seen_in_the_positions(dsn: str, memory: Memory) -> None:
    """The batch is stored, the writer learns nothing, and a second try finds that the positions moved."""
    place = conninfo_to_dict(dsn)
    with LosingProxy(str(place["host"]), int(str(place["port"]))) as proxy:
        bench, store = bench_on(dsn, memory, make_conninfo(dsn, port=proxy.port, sslmode="disable"))
        bench.write(upsert("a", 1, offset=0))
        proxy.lose_reply_to(b"COMMIT\0")
        with pytest.raises(Unavailable):
            bench.write(upsert("a", 2, offset=1))
        assert proxy.lost.wait(5)
        assert memory.get(b"a") is None, "nobody may serve the old bytes while the commit's outcome is unknown"
        with pytest.raises(PositionsMoved):
            bench.write(upsert("a", 2, offset=1))
        store.close()
    assert bench.rows("select payment_amount from orders") == [(2,)]
    assert bench.position == 2


ENFORCED = """
select name, setting::int / 1000.0 from pg_settings
where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""


def test_postgresql_enforces_the_times_that_the_rule_of_memory_rests_on(dsn: str) -> None:
    """As ingest connects; `transaction_timeout` came with PostgreSQL 17."""
    limits = {"statement_seconds": deadlines.STATEMENT, "transaction_seconds": deadlines.TRANSACTION}
    with closing(connect_writer(dsn, **limits)) as writer:
        enforced = {name: float(seconds) for name, seconds in writer.execute(ENFORCED)}
        assert writer.answer_seconds == deadlines.STATEMENT + deadlines.SILENT
        is_new = writer.info.server_version >= WITH_TRANSACTION_TIMEOUT
    whole = {"transaction_timeout": deadlines.TRANSACTION} if is_new else {}
    assert enforced == whole | {
        "statement_timeout": deadlines.STATEMENT,
        "lock_timeout": deadlines.LOCK,
        "idle_in_transaction_session_timeout": deadlines.IDLE,
    }


SLOW_COMMIT = """
create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return null; end $$;
create constraint trigger slow after insert on orders deferrable initially deferred
for each row execute function slowly()
"""


def test_a_commit_that_takes_longer_than_a_transaction_may_is_undone_by_postgresql(dsn: str, memory: Memory) -> None:
    """`statement_timeout` does not hold for COMMIT. The fences stay, as after an answer that was lost."""
    store = Store(lambda: connect(dsn, "test", transaction_seconds=0.5), "orders")
    bench = Bench(Writer(store, memory), memory, dsn)
    if int(bench.rows("show server_version_num")[0][0]) < WITH_TRANSACTION_TIMEOUT:
        pytest.skip("transaction_timeout came with PostgreSQL 17")
    bench.write(upsert("a", 1, offset=0))
    bench.run(SLOW_COMMIT)
    with pytest.raises(Unavailable, match="25P04"):
        bench.write(upsert("a", 2, offset=1))
    assert memory.stats().restrictions == 1
    bench.run("drop trigger slow on orders")
    assert bench.rows("select payment_amount from orders") == [(1,)]
    bench.write(upsert("a", 2, offset=1))
    store.close()


def test_a_commit_that_is_sent_late_is_refused_by_postgresql(
    dsn: str, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process that a signal stopped between its last look at the clock and COMMIT."""
    monkeypatch.setattr(deadlines, "IDLE", 0.05)
    store = Store(lambda: connect(dsn, "test"), "orders")

    def late() -> float:
        if made.rows(WAITING):
            wait_for(lambda: not made.rows(WAITING), "PostgreSQL ends the session")
        return time.monotonic()

    made = Bench(Writer(store, memory, late), memory, dsn)
    with pytest.raises(Unavailable):
        made.write(upsert("a", offset=0))
    store.close()
    assert made.rows("select from orders") == []


def test_fences_of_a_commit_in_doubt_hold_until_its_outcome_is_known(dsn: str, tmp_path: Path) -> None:
    """PostgreSQL may be executing it for longer than fences hold, as where a disk hangs: it takes no time-out then."""
    now = 1000.0
    memory = Memory.create(tmp_path / "clocked" / "file", 8 * 2**20, lambda: now)
    place = conninfo_to_dict(dsn)
    with LosingProxy(str(place["host"]), int(str(place["port"]))) as proxy, closing(memory):
        lossy = make_conninfo(dsn, port=proxy.port, sslmode="disable")
        store = Store(lambda: connect(lossy, "test", statement_seconds=0.3), "orders")
        bench = Bench(Writer(store, memory, lambda: now), memory, dsn)
        bench.write(upsert("a", 1, offset=0))
        proxy.lose_reply_to(b"COMMIT\0")
        with pytest.raises(Unavailable):
            bench.write(upsert("a", 2, offset=1))
        with psycopg.connect(dsn) as hung:  # holds the partition as the COMMIT that hangs
            hung.execute("select from positions for update")
            for _ in range(4):
                now += deadlines.RETRIED
                with pytest.raises(Unavailable):
                    bench.write(upsert("a", 2, offset=1))
            read_at = now
        now += deadlines.FRESH - 1
        assert memory.put([Put("a", 1, b"{}")], read_at) == 0, "what was read before the commit is not put"
        with pytest.raises(PositionsMoved):
            bench.write(upsert("a", 2, offset=1))
        now += deadlines.LIFE + 1
        with pytest.raises(PositionsMoved):
            bench.write(upsert("a", 2, offset=1))
        assert memory.put([Put("a", 2, b"{}")], now) == 1, "once it is known the fences expire"
        store.close()


def test_the_views_give_the_four_relations_of_the_domain(bench: Bench) -> None:
    bench.write(upsert("a", 5, offset=0))
    assert bench.rows("select name, city from deliveries") == [("Test", "Kiryat")]
    assert bench.rows("select transaction, amount from payments") == [("tx", 5)]
    assert bench.rows("select order_uid, line, price from items") == [("a", 1, 453)]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "10000-01-01 00:00+00", "0044-03-15 00:00+00 BC"])
def test_a_moment_written_by_hand_does_not_make_the_replacing_record_a_dead_letter(bench: Bench, moment: str) -> None:
    bench.write(upsert("a", 1, offset=0), upsert("b", 1, offset=1), upsert("c", 1, offset=2))
    with psycopg.connect(bench.dsn) as connection:
        connection.execute("update orders set date_created = %s where order_uid in ('a', 'c')", (moment,))
    bench.write(upsert("a", 2, offset=3), upsert("b", 2, offset=4), delete("c", offset=5))
    assert bench.rows("select order_uid, id, payment_amount from orders order by 1") == [("a", 1, 2), ("b", 2, 2)]
    assert bench.rows("select isfinite(date_created) from orders where order_uid = 'a'") == [(True,)]
    assert bench.rows("select * from dead_letters") == []
