"""A backlog in the topic, until its last order is readable: ours, and what one would compare it with."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import psycopg

from bench.children import Child, Events, awaited, is_action, module, service, until
from bench.contest import Comparison, Contest, Contestant, Field, Figure, Values
from bench.measure import Meter
from bench.rows import check_rows, copy_in
from bench.services import Ground, database, memory
from bench.sizes import Sizes
from bench.stock import Backlog, DbRow
from orders.errors import StartError
from orders.memory.shared import Memory
from orders.settings import Settings

PROCESSES = 2
OURS = f"orders, {PROCESSES} ingest processes"
COPY = "binary COPY of the same rows, one session"
INSERTS = "an INSERT transaction per order"
COUNTING = f"only counting, {PROCESSES} consumers"

RATE = Figure("rate", "orders/s", 0, more_is_better=True)
CLIENT = Figure("client", "µs CPU/order, processes", 1)
POSTGRES = Figure("postgres", "µs CPU/order, PostgreSQL", 1)


def per_order(orders: int, seconds: float, spent: dict[str, float]) -> Values:
    """Orders a second, and CPU microseconds an order."""
    return {"rate": orders / seconds, **{name: cpu / orders * 1e6 for name, cpu in spent.items()}}


def is_assigned(said: dict[str, Any]) -> bool:
    """A consumer was given partitions, and polls from now on."""
    return said.get("action") == "partitions_assigned" and bool(said["partitions"])


def run_ours(ground: Ground, backlog: Backlog) -> Values:
    """From the first assignment of partitions until the last order of each partition is in memory."""
    with (
        database(ground.postgres) as dsn,
        memory(ground.folder, [], backlog.orders) as (path, shared),
        ExitStack() as up,
    ):
        events = Events()
        children = ingests(up, ground.settings(dsn, backlog.topic, path), PROCESSES, events)
        began = awaited(events, is_assigned).at
        meter = Meter(client=[child.pid for child in children], postgres=[ground.postgres_pid()])
        ended = until(lambda: all(map(shared.get, backlog.last)), events)
        spent = meter.spent()
        check_positions(dsn, backlog)
        check_all_there(dsn, shared, backlog.orders)
    return per_order(backlog.orders, ended - began, spent)


def ingests(up: ExitStack, settings: Settings, count: int, events: Events) -> list[Child]:
    """So many ingest processes, as `orders run` starts them; they end with `up`."""
    return [up.enter_context(service("ingest", settings, events, "--number", str(n))) for n in range(count)]


def positions(dsn: str) -> dict[int, int]:
    """The next offset of each partition, as PostgreSQL has it."""
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute("select partition, next_offset from positions").fetchall())


def check_positions(dsn: str, backlog: Backlog) -> None:
    """All that the topic holds is committed."""
    stored = positions(dsn)
    if stored != backlog.ends:
        raise StartError(f"ingest is not at the end of the topic: {stored}, not {dict(backlog.ends)}")


def check_all_there(dsn: str, shared: Memory, count: int) -> None:
    """Each order is a row, and in memory; no message was refused."""
    check_rows(dsn, count)
    if shared.stats().documents != count:
        raise StartError(f"memory holds {shared.stats().documents} orders, not {count}")


def run_copy(ground: Ground, count: int) -> Values:
    """The rows by COPY, 2,000 a transaction; they were prepared before."""
    with database(ground.postgres) as dsn:
        values = measured_copy(ground, dsn, ground.stock.rows(count))
        check_rows(dsn, count)
    return values


def measured_copy(ground: Ground, dsn: str, rows: Sequence[DbRow]) -> Values:
    """From the first row to the last COMMIT, in one session and in this process."""
    with psycopg.connect(dsn) as connection:
        meter = Meter(postgres=[ground.postgres_pid()])
        cpu, began = time.process_time(), time.perf_counter()
        taken = copy_in(connection, rows)
        ended, client = time.perf_counter(), time.process_time() - cpu
        spent = meter.spent()
    if taken != len(rows):
        raise StartError(f"COPY took {taken} rows, not {len(rows)}")
    return per_order(taken, ended - began, {"client": client, **spent})


def run_inserts(ground: Ground, backlog: Backlog, count: int) -> Values:
    """A consumer that writes each order in a transaction of its own."""
    with database(ground.postgres) as dsn:
        events = Events()
        given = {"kafka": ground.kafka.bootstrap, "topic": backlog.topic, "dsn": dsn, "count": count}
        with module("inserting", ground.folder, events, given) as child:
            began = awaited(events, is_assigned).at
            meter = Meter(client=[child.pid], postgres=[ground.postgres_pid()])
            ended = awaited(events, is_action("written")).at
            spent = meter.spent()
        check_rows(dsn, count)
    return per_order(count, ended - began, spent)


def run_counting(ground: Ground, backlog: Backlog) -> Values:
    """Consumers that share the partitions and do nothing with what they get."""
    events = Events()
    shares = [sorted(backlog.ends)[n::PROCESSES] for n in range(PROCESSES)]
    with ExitStack() as up:
        children = [
            up.enter_context(module("counting", ground.folder, events, counted(ground, backlog, share)))
            for share in shares
        ]
        began = awaited(events, is_assigned).at
        meter = Meter(client=[child.pid for child in children])
        done = [awaited(events, is_action("counted")) for _ in children]
        spent = meter.spent()
    count = sum(event.said["count"] for event in done)
    if count != backlog.orders:
        raise StartError(f"the consumers counted {count} orders, not {backlog.orders}")
    return per_order(count, done[-1].at - began, spent)


def counted(ground: Ground, backlog: Backlog, partitions: list[int]) -> dict[str, object]:
    """What a counting consumer is told: where its partitions end."""
    ends = {str(partition): backlog.ends[partition] for partition in partitions}
    return {"kafka": ground.kafka.bootstrap, "topic": backlog.topic, "ends": ends}


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Makes the backlog and the rows, the same orders, and reads the topic once: Kafka's compiler is slow at first."""
    backlog = ground.stock.backlog(sizes.backlog)
    ground.stock.rows(sizes.backlog)
    run_counting(ground, backlog)
    yield Field(
        [
            Contestant(OURS, partial(run_ours, ground, backlog)),
            Contestant(COPY, partial(run_copy, ground, sizes.backlog)),
            Contestant(INSERTS, partial(run_inserts, ground, backlog, sizes.inserted)),
            Contestant(COUNTING, partial(run_counting, ground, backlog)),
        ]
    )


CONTEST = Contest(
    name="ingest",
    title="A backlog in the topic, from the first poll until its last order is readable",
    figures=(RATE, CLIENT, POSTGRES),
    open=enter,
    seconds=40,
    comparisons=(
        Comparison("rate", OURS, COPY, at_least=0.30),
        Comparison("rate", OURS, INSERTS, at_least=20.0),
        Comparison("rate", OURS, COUNTING),
    ),
)
