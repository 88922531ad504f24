"""Rows of the table `orders`: written by COPY, read by COPY, and looked over."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from bench.stock import DbRow
from orders.errors import StartError
from orders.ingest.store import COPY_TYPES
from orders.order import Row
from orders.postgres.connection import queries

ROWS_A_TRANSACTION = 2000

READ = sql.SQL("copy (select {}, id, version from orders order by id) to stdout (format binary)").format(
    sql.SQL(", ").join(map(sql.Identifier, Row._fields))
)

COUNT = """
select (select count(*) from orders where json_array_length(items) > 0 and payment_amount > 0 and id > 0),
       (select count(*) from dead_letters)
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def copy_in(connection: Connection, rows: Sequence[DbRow]) -> int:
    """Writes rows as fast as psycopg can: binary, typed, 2,000 a transaction; how many PostgreSQL says it took."""
    taken = 0
    for start in range(0, len(rows), ROWS_A_TRANSACTION):
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(queries["copy_orders"]) as copy:
                copy.set_types(COPY_TYPES)
                for row in rows[start : start + ROWS_A_TRANSACTION]:
                    copy.write_row(row)
            taken += cursor.rowcount
    return taken


def copy_out(connection: Connection) -> int:
    """Reads of all rows what an order's document needs, in the order of a restore, and decodes nothing; how many."""
    with connection.cursor() as cursor:
        with cursor.copy(READ) as copy:
            for _ in copy:
                pass
        return cursor.rowcount


def check_rows(dsn: str, count: int) -> None:
    """Raises `StartError` unless there are so many orders, each a whole one, and no dead letters."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(COUNT).fetchone()
    if found != (count, 0):
        raise StartError(f"PostgreSQL holds (orders, dead letters) {found}, not {(count, 0)}")
