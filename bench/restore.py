"""The keeper's restore of memory from PostgreSQL, beside a COPY of the same rows that nobody decodes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg

from bench.children import Events, awaited, is_action, service
from bench.contest import Comparison, Contest, Contestant, Field, Values
from bench.ingest import CLIENT, POSTGRES, RATE, per_order
from bench.measure import Meter
from bench.rows import copy_in, copy_out
from bench.services import MEMORY_PER_DOCUMENT, Ground, database, memory_path
from bench.sizes import Sizes
from orders.errors import StartError
from orders.memory.shared import Memory

OURS = "orders, the keeper's restore"
COPY = "COPY (SELECT …) TO STDOUT, drained"


def run_ours(ground: Ground, dsn: str, count: int) -> Values:
    """From the log's `restore_begins` to its `restore_done`, into a memory that is new and large enough."""
    budget = count * MEMORY_PER_DOCUMENT
    with memory_path(ground.folder, budget) as path:
        Memory.create(path, budget).close()
        events = Events()
        with service("keep", ground.settings(dsn, "none", path), events) as child:
            began = awaited(events, is_action("restore_begins")).at
            meter = Meter(client=[child.pid], postgres=[ground.postgres_pid()])
            done = awaited(events, is_action("restore_done"))
            spent = meter.spent()
        if done.said["orders"] != count:
            raise StartError(f"the keeper restored {done.said['orders']} orders, not {count}")
    return per_order(count, done.at - began, spent)


def run_copy(ground: Ground, dsn: str, count: int) -> Values:
    """The statement of the restore, its bytes thrown away as they come."""
    with psycopg.connect(dsn) as connection:
        meter = Meter(postgres=[ground.postgres_pid()])
        cpu, began = time.process_time(), time.perf_counter()
        found = copy_out(connection)
        ended, client = time.perf_counter(), time.process_time() - cpu
        spent = meter.spent()
    if found != count:
        raise StartError(f"COPY gave {found} rows, not {count}")
    return per_order(count, ended - began, {"client": client, **spent})


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Fills a table and lets PostgreSQL come to rest, so that the first to read pays for nobody else."""
    count = sizes.restored
    with database(ground.postgres) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            copy_in(connection, ground.stock.rows(count))
            connection.execute("vacuum (analyze) orders")
            connection.execute("checkpoint")
        ours, copy = partial(run_ours, ground, dsn, count), partial(run_copy, ground, dsn, count)
        yield Field([Contestant(OURS, ours), Contestant(COPY, copy)])


CONTEST = Contest(
    name="restore",
    title="Memory restored from PostgreSQL, from its begin until it is ready",
    figures=(RATE, CLIENT, POSTGRES),
    open=enter,
    seconds=9,
    comparisons=(Comparison("rate", OURS, COPY, at_least=0.40),),
)
