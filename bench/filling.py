"""Orders that PostgreSQL makes itself, by the million, where making them here would take too long."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg import sql

from bench.services import Ground, database
from orders.postgres.indexes import build_all, names

AT_ONCE = 1_000_000
"""Rows of one statement."""
MANY = 20_000
"""About so many orders have the customer and the phone number that many share."""
CUSTOMER_OF_MANY, PHONE_OF_MANY = "c-of-many", "+79990001122"
ORDERS_A_PERSON = 3
FIRST_RECEIVED = datetime(2025, 1, 1, tzinfo=UTC)
ORDER_EVERY = timedelta(seconds=2)
CREATED_BEFORE_SECONDS = 900
"""Before its record comes an order was created, at most: the order of both times differs."""

MAKE = """
insert into orders
select uid, 'WBILM' || lpad((hashint8extended(n, 1) & 536870911)::text, 9, '0'), 'WBIL',
    (array['Анна', 'Мария', 'Олег', 'Лев', 'Emma', 'David'])[1 + person %% 6] || ' Testov ' || person,
    case when is_of_many then %(phone)s else '+7' || lpad((person * 104729)::text, 10, '0') end,
    '2639809', 'Kiryat Mozkin', 'Ploshad Mira ' || person %% 150, 'Kraiot', 'user' || person || '@example.com',
    case when hashint8extended(n, 2) %% 2 = 0 then uid else md5('payment' || n) end,
    '', 'USD', 'wbpay', 1817, 1637907727, 'alpha', 1500, 317, 0,
    json_build_array(item, item), 'en', '', case when is_of_many then %(customer)s else 'c' || person end,
    'meest', '9', 99, received - make_interval(secs => abs(hashint8extended(n, 3) %% %(before)s)), '1', null,
    n, n, 'made', (n %% 4)::int, n / 4, received
from (
    select n, md5('order' || n) as uid, n * 2654435761 %% %(people)s as person, n %% %(share)s = 0 as is_of_many,
        %(first)s::timestamptz + n * %(every)s::interval as received,
        json_build_object('chrt_id', n, 'track_number', 'WBILMTESTTRACK', 'price', 453, 'rid', md5('item' || n),
            'name', 'Mascaras', 'sale', 30, 'size', '0', 'total_price', 317, 'nm_id', 2389212,
            'brand', 'Vivienne Sample', 'status', 202) as item
    from generate_series(%(begin)s::bigint, %(end)s::bigint) as n
) as made
"""
NUMBERS = "select setval('order_ids', %(count)s), setval('order_versions', %(count)s)"
SOME = """
select order_uid, track_number, customer_id, payment_transaction, delivery_phone from orders
where customer_id <> %(customer)s
order by hashint8extended(id, 4) limit %(count)s
"""


class Person(NamedTuple):
    """What somebody has in hand who looks for an order."""

    order_uid: str
    track_number: str
    customer_id: str
    transaction: str
    phone: str


@contextmanager
def filled(ground: Ground, count: int) -> Iterator[str]:
    """The URL of a database with so many orders, its indexes valid, after VACUUM, ANALYZE and a checkpoint."""
    with database(ground.postgres) as dsn:
        fill(dsn, count)
        yield dsn


def fill(dsn: str, count: int) -> None:
    """Makes the orders 1 to `count`, then the key and the indexes of the search, which take longer row by row.

    A VACUUM by itself would come while something is measured.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("alter table orders set (autovacuum_enabled = false)")
        for name in names():
            connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
        connection.execute("alter table orders drop constraint orders_pkey")
        for begin in range(1, count + 1, AT_ONCE):
            connection.execute(MAKE, values(count, begin, min(begin + AT_ONCE - 1, count)))
        connection.execute("alter table orders add primary key (order_uid)")
        connection.execute(NUMBERS, {"count": count})
        build_all(dsn, lambda _: None)
        connection.execute("vacuum (analyze) orders")
        connection.execute("checkpoint")


def values(count: int, begin: int, end: int) -> dict[str, object]:
    """What `MAKE` is given for a part of the orders."""
    return {
        "begin": begin,
        "end": end,
        "people": people(count),
        "share": max(count // MANY, 2),
        "phone": PHONE_OF_MANY,
        "customer": CUSTOMER_OF_MANY,
        "first": FIRST_RECEIVED,
        "every": ORDER_EVERY,
        "before": CREATED_BEFORE_SECONDS,
    }


def people(orders: int) -> int:
    """How many customers so many orders have, numbered from 0."""
    return max(orders // ORDERS_A_PERSON, 1)


def phone(person: int) -> str:
    """As `MAKE` has it."""
    return f"+7{person * 104_729:010d}"[:12]


def received(number: int) -> datetime:
    """When the order with this number came."""
    return FIRST_RECEIVED + number * ORDER_EVERY


def some(dsn: str, count: int) -> list[Person]:
    """Up to `count` orders, from all of the table, none of the customer that many share."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(SOME, {"customer": CUSTOMER_OF_MANY, "count": count})
        return [Person(*row) for row in rows]
