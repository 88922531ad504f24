"""The keeper restores memory from one snapshot and hears what other machines changed, on a real PostgreSQL."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ProgramLimitExceeded
from structlog.testing import capture_logs

from orders import sample
from orders.decoder import read
from orders.embedded.postgres import PostgresService
from orders.errors import Unavailable
from orders.ingest.store import Store
from orders.ingest.writer import Writer
from orders.memory.keeper import Keeper
from orders.memory.shared import Memory, Put
from orders.order import Content
from orders.postgres.connection import Connection, connect, queries, snapshot
from orders.postgres.migrations import migrate
from orders.record import Batch, Entry, Record, Span
from orders.timing import monotonic
from support.entries import TOPIC_ID, delete, upsert
from support.proxy import LosingProxy
from support.services import FAST, open_folder
from support.waiting import wait_for

BUDGET = 4 * 2**20
END_KEEPERS = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name = 'orders keep' and datname = current_database()
"""


class Machine:
    """One memory with its writer, and its keeper in a thread when asked for."""

    def __init__(self, dsn: str, path: Path, budget: int = BUDGET) -> None:
        self.memory = Memory.create(path, budget)
        self._store = Store(lambda: connect(dsn, "test"), "orders")
        self._writer = Writer(self._store, self.memory)
        self._stop = threading.Event()
        self._keeper = Keeper(lambda: connect(dsn, "keep"), self.memory, self._stop.is_set, listen_seconds=0.05)
        self._thread = threading.Thread(target=self._keeper.run)

    def write(self, *entries: Entry) -> None:
        spans = {0: Span(entries[0].record.offset, entries[-1].record.offset + 1)}
        self._writer.write(Batch(entries, spans), TOPIC_ID)

    def keep(self) -> None:
        self._thread.start()
        wait_for(lambda: not self.memory.restore_wanted(), "restored", 20)

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._store.close()
        self.memory.close()


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    begin(postgres_dsn)
    return postgres_dsn


def begin(dsn: str) -> None:
    store = Store(lambda: connect(dsn, "test"), "orders")
    store.begin(TOPIC_ID, {0: 0})
    store.close()


@pytest.fixture
def machine(dsn: str, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(address: str = dsn, budget: int = BUDGET) -> Machine:
        made.append(Machine(address, tmp_path / f"memory-{len(made)}", budget))
        return made[-1]

    yield make
    for one in made:
        one.close()


def entries(count: int, first: int = 0) -> list[Entry]:
    values = sample.samples(count, 7)
    return [read(Record(0, first + i, 1_000, None, value)) for i, value in enumerate(values)]


def uid(entry: Entry) -> bytes:
    assert isinstance(entry.content, Content)
    return entry.content.row.order_uid.encode()


def test_a_restore_gives_the_bytes_that_were_served_before(machine: Callable[..., Machine]) -> None:
    before, after = machine(), machine()
    stored = entries(700)
    before.write(*stored)
    after.keep()
    served = [before.memory.get(uid(e)) for e in stored]
    assert None not in served
    assert [after.memory.get(uid(e)) for e in stored] == served


def test_a_restore_begins_where_the_budget_does_and_keeps_the_newest(machine: Callable[..., Machine]) -> None:
    before, after = machine(), machine(budget=512 * 1024)
    stored = entries(1000)
    before.write(*stored)
    after.keep()
    kept = [after.memory.get(uid(e)) is not None for e in stored]
    assert all(kept[-200:])
    assert not any(kept[:200])
    assert after.memory.stats().used <= 512 * 1024


def test_what_another_machine_replaces_or_deletes_leaves_memory(machine: Callable[..., Machine]) -> None:
    here, there = machine(), machine()
    here.write(upsert("a", 1, offset=0), upsert("b", 1, offset=1), upsert("c", 1, offset=2))
    here.keep()
    there.write(upsert("a", 2, offset=3), delete("b", offset=4))
    wait_for(lambda: here.memory.get(b"a") is None and here.memory.get(b"b") is None, "heard", 10)
    assert here.memory.get(b"c") is not None


def test_after_a_lost_connection_memory_is_compared_and_filled_again(machine: Callable[..., Machine], dsn: str) -> None:
    """What changed while nobody listened is not served from memory afterwards."""
    place = conninfo_to_dict(dsn)
    with LosingProxy(str(place["host"]), int(str(place["port"]))) as proxy:
        here, there = machine(make_conninfo(dsn, port=proxy.port, sslmode="disable")), machine()
        there.write(upsert("a", 1, offset=0))
        here.keep()
        assert here.memory.get(b"a") is not None
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(END_KEEPERS)
            there.write(upsert("a", 2, offset=1))
        wait_for(lambda: b'"amount":2' in (here.memory.get(b"a") or b""), "restored anew", 15)


def test_an_unreachable_database_is_waited_for_and_memory_stays(machine: Callable[..., Machine], dsn: str) -> None:
    here = machine()
    here.write(upsert("a", 1, offset=0))
    here.keep()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(END_KEEPERS)
    assert here.memory.get(b"a") is not None
    wait_for(lambda: b'"ready"' in here.memory.board().get("keeper", b""), "back", 15)


@pytest.mark.parametrize(
    "payload",
    ["x", "{}", "[" * 5000, '{"memory":"m","changes":5}', '{"memory":"m","changes":[["\\ud800",1]]}']
    + [json.dumps({"memory": "m", "changes": [change]}) for change in (["u" * 600, 1], ["a", -1], ["a", 2**64])],
)
def test_a_notice_that_cannot_be_read_empties_memory_and_it_is_restored(
    machine: Callable[..., Machine], dsn: str, payload: str
) -> None:
    """What it says has changed is not known; the keeper lives."""
    here = machine()
    here.write(upsert("a", 1, offset=0))
    here.keep()
    restored = here.memory.stats().documents
    before = here.memory._state().emptied_at
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select pg_notify('orders_changed', %s)", (payload,))
    wait_for(lambda: here.memory._state().emptied_at > before and not here.memory.restore_wanted(), "restored", 10)
    assert here.memory.stats().documents == restored == 1


def test_a_change_whose_notice_was_not_heard_yet_does_not_count_as_known(
    machine: Callable[..., Machine], dsn: str
) -> None:
    """The connection is lost right after the positions were read: memory must be restored."""
    here, there = machine(), machine()
    here.write(upsert("a", 1, offset=0))
    keeper = here._keeper
    with connect(dsn, "keep") as lost:
        keeper._restore(lost)
        keeper._look_after = lambda: there.write(upsert("a", 2, offset=1))  # type: ignore[method-assign]  # in between
        keeper._follow(lost)
    with connect(dsn, "keep") as again:
        assert keeper._identity != keeper._read_identity(again)


def test_positions_that_went_back_and_came_again_do_not_count_as_known(
    machine: Callable[..., Machine], dsn: str
) -> None:
    """As where an older copy of the data directory was put back, and the topic read again while no keeper ran."""
    here, there = machine(), machine()
    here.write(upsert("a", 1, offset=0))
    with connect(dsn, "keep") as lost:
        here._keeper._restore(lost)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("delete from orders")
        connection.execute("update positions set next_offset = 0")
        connection.execute("select setval('order_versions', 1, false)")
    there.write(upsert("a", 1, offset=0))
    with connect(dsn, "keep") as again:
        assert here._keeper._identity != here._keeper._read_identity(again)


def test_notices_are_heard_while_the_restore_waits_for_its_first_row(machine: Callable[..., Machine], dsn: str) -> None:
    """A miss fills memory meanwhile; what another machine replaces then must not be served on."""
    here = machine()
    here.write(upsert("a", 1, offset=0))
    with psycopg.connect(dsn) as locking, psycopg.connect(dsn, autocommit=True) as other:
        locking.execute("lock table orders in access exclusive mode")
        emptied_at = here.memory._state().emptied_at
        here._thread.start()
        wait_for(lambda: here.memory._state().emptied_at > emptied_at, "a restore that has begun")
        here.memory.put([Put("a", 1, b"{}")], monotonic())
        assert here.memory.get(b"a") == b"{}"
        notice = json.dumps({"memory": "another", "changes": [["a", 2]]})
        other.execute("select pg_notify('orders_changed', %s)", (notice,))
        wait_for(lambda: here.memory.get(b"a") is None, "heard")
        assert here.memory.restore_wanted(), "the restore still waits"


def test_the_restore_has_its_first_row_at_once(dsn: str, machine: Callable[..., Machine]) -> None:
    """It reads by the index of ids and sorts nothing."""
    machine().write(*entries(3000))
    with connect(dsn, "test") as connection:
        connection.execute("update orders set id = id * 7919 % 100003")  # as after many changes: not in order on disk
        connection.execute("vacuum full analyze orders")

        def plan() -> str:
            query = b"explain " + queries["documents_from"].encode()
            return "\n".join(row[0] for row in connection.execute(query, {"id": 0}).fetchall())

        with snapshot(connection):
            assert "Sort" in plan()
            connection.execute(queries["rows_at_once"])
            assert "Sort" not in plan()
            assert "orders_id" in plan()


def test_what_comes_with_the_answer_of_another_query_is_heard(machine: Callable[..., Machine], dsn: str) -> None:
    here, there = machine(), machine()
    here.write(upsert("a", 1, offset=0))
    with connect(dsn, "keep") as connection:
        connection.execute("listen orders_changed")
        there.write(upsert("a", 2, offset=1))
        here._keeper._read_identity(connection)
        here._keeper._hear(connection, 0)
    assert here.memory.get(b"a") is None


def test_a_restore_is_left_half_way_when_the_keeper_is_to_stop(machine: Callable[..., Machine], dsn: str) -> None:
    here = machine()
    here.write(*entries(1500))
    restore = here.memory.restore

    def stop_and_restore(puts: Sequence[Put], token: float) -> bool:
        here._stop.set()
        return restore(puts, token)

    here.memory.restore = stop_and_restore  # type: ignore[method-assign]  # the moment of stopping
    here._thread.start()
    here._thread.join(10)
    assert not here._thread.is_alive()
    with psycopg.connect(dsn, autocommit=True) as connection:  # a transaction sees what it saw first, for ever
        query = "select count(*) from pg_stat_activity where application_name = 'orders keep' and datname = %s"
        wait_for(lambda: connection.execute(query, (connection.info.dbname,)).fetchone() == (0,), "no connection left")


def test_a_full_queue_of_notices_is_an_outage_and_ends_when_its_listener_does(tmp_path: Path) -> None:
    """PostgreSQL refuses the commit of every batch that notifies; no record is to blame."""
    with open_folder() as folder, ExitStack() as stack:
        service = PostgresService(folder / "postgres", FAST | {"max_notify_queue_pages": "64"})
        service.start()
        stack.callback(service.stop)
        migrate(service.dsn)
        here = Machine(service.dsn, tmp_path / "memory")
        stack.callback(here.close)
        begin(service.dsn)
        here.write(upsert("a", 1, offset=0))
        with psycopg.connect(service.dsn) as lazy:
            lazy.execute("listen elsewhere")
            lazy.commit()
            lazy.execute("select 1")
            fill_notices(service.dsn)
            with pytest.raises(Unavailable, match="54000"):
                here.write(upsert("a", 2, offset=1))
        here.keep()
        wait_for(lambda: is_written(here, upsert("a", 2, offset=1)), "written in the end", 20)


def fill_notices(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection, suppress(ProgramLimitExceeded):
        for number in range(1000):
            connection.execute("select pg_notify('elsewhere', %s || repeat('x', 7900))", (str(number),))


def is_written(machine: Machine, entry: Entry) -> bool:
    with suppress(Unavailable):
        machine.write(entry)
        return True
    return False


def test_outcomes_that_nobody_waits_for_are_pruned_in_parts(
    machine: Callable[..., Machine], dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.memory.keeper.PRUNED_AT_ONCE", 2)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into outcomes select 't', 0, n, 'created', 'a', 1, null, null, now() - interval '1 h' "
            "from generate_series(1, 3) n"
        )
    machine().keep()

    def pruned() -> bool:
        with psycopg.connect(dsn) as connection:
            return connection.execute("select count(*) from outcomes").fetchone() == (0,)

    wait_for(pruned, "pruned", 15)


BY_HAND = {
    "extra has U+0000": (r"""extra = '{"delivery": {"a": "\u0000"}}'""", False),
    "year 10000": ("date_created = '10000-01-01 00:00+00'", True),
    "before Christ": ("date_created = '0044-03-15 00:00+00 BC'", True),
    "infinity": ("date_created = 'infinity'", True),
    "minus infinity": ("date_created = '-infinity'", True),
    "items are null": ("items = 'null'", True),
    "an unknown part is empty": ("""extra = '{"order": {}, "delivery": { }, "payment": {\n}}'""", True),
    "an unknown part is null": ("""extra = '{"order": null, "delivery": null, "payment": null}'""", True),
    "an unknown part is no object": ("""extra = '{"order": 5, "delivery": [], "payment": "{\\""}'""", True),
    "an unknown part has spaces": ("""extra = '{"payment": {\n"a" : 1.10 }}'""", True),
    "items have U+0000": (r"""items = '["\u0000"]'""", True),
    "extra is null": ("extra = 'null'", True),
    "a long uid": ("order_uid = repeat('x', 600)", False),
    "a uid that no URL has": ("order_uid = 'a/b'", False),
    "a negative id": ("id = -5", True),
}
"""Values that only SQL by hand can write, and whether PostgreSQL and memory can hold the document."""


@pytest.mark.parametrize(("change", "is_held"), BY_HAND.values(), ids=BY_HAND.keys())
def test_a_row_changed_by_hand_does_not_keep_others_from_memory(
    dsn: str, machine: Callable[..., Machine], change: str, is_held: bool
) -> None:
    """The first, one in the middle and the last row hold it; the others are served as before."""
    before, after = machine(), machine()
    stored = entries(230)
    before.write(*stored)
    odd = [0, 100, 101, 229] if "order_uid" not in change else [100]
    with psycopg.connect(dsn) as connection, capture_logs() as logs:
        uids = [uid(stored[at]).decode() for at in odd]
        statement = b"update orders set " + change.encode() + b" where order_uid = any(%s)"
        connection.execute(statement, (uids,))
        connection.commit()
        after.keep()
        done = wait_for(lambda: [entry["skipped"] for entry in logs if entry["event"] == "restore_done"], "the line")
    others = [e for at, e in enumerate(stored) if at not in odd]
    assert [after.memory.get(uid(e)) for e in others] == [before.memory.get(uid(e)) for e in others]
    skipped = {entry["order_uid"] for entry in logs if entry["event"] == "order_skipped"}
    named = set() if is_held else {change.split("'")[1] * (128 if "repeat" in change else 1)}
    named = named if is_held or "order_uid" in change else set(uids)
    assert skipped == named
    assert done == [len(named)]
    if is_held and "id =" not in change.replace("uid =", ""):
        for at in odd:
            held = after.memory.get(uid(stored[at]))
            assert held
            order = json.loads(held)["order"]
            assert order["date_created"] is None or "date_created" not in change
            assert "1.10 }," in held.decode() or "1.10" not in change


def test_an_outage_is_logged_once_and_its_end_once_however_often_it_is_tried(
    machine: Callable[..., Machine],
) -> None:
    here = machine()
    tries = 0
    connect_ = here._keeper._connect

    def unavailable() -> Connection:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise Unavailable("PostgreSQL cannot be reached")
        return connect_()

    here._keeper._connect = unavailable
    with capture_logs() as logs:
        here.keep()
        wait_for(lambda: any(each["event"] == "keeper_continues" for each in logs), "its end", 20)
    assert tries > 3
    told = [each for each in logs if each["event"].startswith("keeper_")]
    assert [(each["event"], each.get("reason")) for each in told] == [
        ("keeper_waits", "PostgreSQL cannot be reached"),
        ("keeper_continues", None),
    ]
    assert told[1]["seconds"] > 0
