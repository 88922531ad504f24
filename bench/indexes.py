"""What the indexes of the table `orders` cost a write: binary COPY with all of them, with the key alone, with none."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain

import psycopg
from psycopg import sql

from bench.contest import Comparison, Contest, Contestant, Field, Values
from bench.ingest import CLIENT, POSTGRES, RATE, measured_copy
from bench.services import Ground, database
from bench.sizes import Sizes

SHIPPED = "the shipped indexes"
KEY = "the primary key alone"
NONE = "no index"

SECONDARY = """
select indexrelid::regclass::text from pg_index where indrelid = 'orders'::regclass and not indisprimary
"""


def run(ground: Ground, count: int, *, secondary: bool, key: bool) -> Values:
    """COPY as in the contest of ingest, into a table that has lost some of its indexes."""
    with database(ground.postgres) as dsn:
        with psycopg.connect(dsn) as connection:
            if not secondary:
                for name in chain.from_iterable(connection.execute(SECONDARY).fetchall()):
                    connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
            if not key:
                connection.execute("alter table orders drop constraint orders_pkey")
        return measured_copy(ground, dsn, count)


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """The rows are those of the contest of ingest."""
    count = sizes.restored
    ground.stock.rows(count)
    yield Field(
        [
            Contestant(SHIPPED, partial(run, ground, count, secondary=True, key=True)),
            Contestant(KEY, partial(run, ground, count, secondary=False, key=True)),
            Contestant(NONE, partial(run, ground, count, secondary=False, key=False)),
        ]
    )


CONTEST = Contest(
    name="indexes",
    title="What the indexes cost a binary COPY",
    figures=(POSTGRES, CLIENT, RATE),
    open=enter,
    seconds=15,
    comparisons=(Comparison("postgres", SHIPPED, KEY), Comparison("postgres", KEY, NONE)),
)
