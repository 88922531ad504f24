"""What the indexes of the table `orders` cost a write: binary COPY with all of them, and with fewer.

Into a table that is large already: where a new order meets pages of an index that are not in memory, it costs more.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

import psycopg

from bench.contest import Comparison, Contest, Contestant, Field, Figure, Values
from bench.filling import CREATED_BEFORE_SECONDS, filled, people, phone, received
from bench.ingest import CLIENT, POSTGRES, RATE, measured_copy
from bench.services import Ground
from bench.sizes import Sizes
from bench.stock import PARTITIONS, DbRow
from orders.order import Row
from orders.postgres.indexes import names

SHIPPED = "the shipped indexes"
WITHOUT_SEARCH = "without those of the search"
KEY = "the primary key alone"
NONE = "no index"

AFTER_CHECKPOINT = Figure("first", "µs CPU/order, PostgreSQL, right after a checkpoint", 1)
"""PostgreSQL writes each page into its log when it changes for the first time after a checkpoint, and compresses it."""
BUCKET = 2**20

INDEXES = "select indexrelid::regclass::text from pg_index where indrelid = 'orders'::regclass"
PRIMARY = f"{INDEXES} and indisprimary"
SWITCH = """
update pg_index set indisready = indexrelid::regclass::text = any(%s) where indrelid = 'orders'::regclass
"""
"""A write passes over an index that is not ready: the table is too large for each contestant to have its own."""


@dataclass
class Writer:
    """A contestant: some of the indexes are written when it writes the next orders.

    Each contestant counts from the same number on: an index has no gaps where the others wrote, which would keep it
    smaller than it is where all orders are in it. The number begins a bucket of the search's indexes: one that was
    built at once, and not order by order, is dense, and splits nearly all of its pages soon after.
    """

    ground: Ground
    dsn: str
    indexes: Sequence[str]
    samples: Sequence[DbRow]
    before: int
    next: int
    draw: random.Random

    def run(self) -> Values:
        """Switches indexes on and off, and writes: right after a checkpoint, and as many orders again."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(SWITCH, (list(self.indexes),))
            rows = self._rows(), self._rows()
            connection.execute("checkpoint")
        first, later = (measured_copy(self.ground, self.dsn, each) for each in rows)
        return {**later, AFTER_CHECKPOINT.name: first[POSTGRES.name]}

    def _rows(self) -> list[DbRow]:
        first, self.next = self.next, self.next + len(self.samples)
        return [renewed(row, number, self.before, self.draw) for number, row in enumerate(self.samples, first)]


def renewed(sample: DbRow, number: int, orders: int, draw: random.Random) -> DbRow:
    """A row as another order, with values spread as in a table of so many `orders`; every other has its own payment."""
    uid, own = (f"{draw.getrandbits(128):032x}" for _ in range(2))
    person, came = draw.randrange(people(orders)), received(number)
    row = Row(*sample[: len(Row._fields)])._replace(
        order_uid=uid,
        track_number=f"WBILM{draw.getrandbits(29):09d}",
        customer_id=f"c{person}",
        delivery_phone=phone(person),
        payment_transaction=own if draw.random() < 0.5 else uid,  # noqa: PLR2004 - one in two
        date_created=came - timedelta(seconds=draw.randrange(CREATED_BEFORE_SECONDS)),
    )
    return (*row, number, number, "written", number % PARTITIONS, number // PARTITIONS, came)


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """One table for all. In this order each of the first and the third writes before the other as often as after it."""
    samples, before = ground.stock.rows(sizes.added), sizes.rows_before
    with filled(ground, before) as dsn:
        with psycopg.connect(dsn) as connection:
            every, primary = (
                list(chain.from_iterable(connection.execute(asked).fetchall())) for asked in (INDEXES, PRIMARY)
            )
        written = {
            SHIPPED: every,
            KEY: primary,
            WITHOUT_SEARCH: [each for each in every if each not in names()],
            NONE: [],
        }
        begin = (before // BUCKET + 1) * BUCKET
        writers = {
            name: Writer(ground, dsn, indexes, samples, before, begin, random.Random(name))  # noqa: S311 - guards nothing
            for name, indexes in written.items()
        }
        notes = [f"{before:,} orders were in the table before; twice {len(samples):,} more come each time"]
        yield Field([Contestant(name, writer.run) for name, writer in writers.items()], notes=notes)


CONTEST = Contest(
    name="indexes",
    title="What the indexes cost a binary COPY into a large table",
    figures=(POSTGRES, AFTER_CHECKPOINT, CLIENT, RATE),
    open=enter,
    seconds=25,
    comparisons=(
        Comparison("postgres", SHIPPED, WITHOUT_SEARCH, at_most=10.0, is_difference=True),
        Comparison("first", SHIPPED, WITHOUT_SEARCH, is_difference=True),
        Comparison("postgres", WITHOUT_SEARCH, KEY, is_difference=True),
        Comparison("postgres", KEY, NONE, is_difference=True),
        Comparison("rate", SHIPPED, WITHOUT_SEARCH),
    ),
)
