"""What `orders status` asks of a real PostgreSQL."""

import psycopg
import pytest

from orders.commands import status
from orders.commands.status import Where
from orders.postgres.connection import connect, queries
from orders.postgres.migrations import migrate
from orders.settings import Settings
from orders.system.state import SystemState
from support.roles import execute

TOPIC = "orders"


def asked(dsn: str) -> status.StoredFigures:
    return status._stored(Where(Settings(postgres_dsn=dsn), "http://127.0.0.1:9", SystemState(), []))


def test_of_an_empty_database_nothing_is_stored_open_or_stopped(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    assert asked(postgres_dsn) == status.StoredFigures((0, True), 0, [], [])


def test_an_index_that_is_not_there_is_named_with_the_filters_that_wait_for_it(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    execute(postgres_dsn, "drop index orders_by_record_time")
    assert asked(postgres_dsn).indexes == [
        status.IndexStatus("orders_by_record_time", "received_from, received_to", "missing")
    ]


def test_a_database_without_the_schema_is_said_for_each_figure(postgres_dsn: str) -> None:
    assert all(isinstance(figure, str) and "does not exist" in figure for figure in asked(postgres_dsn))


def test_open_dead_letters_are_those_that_nobody_dealt_with_and_positions_are_of_the_newest_topic(
    postgres_dsn: str,
) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            'insert into dead_letters (topic, topic_id, partition, "offset", header_names, header_values, reason, path)'
            " select 'orders', 'new', 0, n, '{}', '{}', '', '' from generate_series(1, 4) n"
        )
        connection.execute(
            "insert into dead_letter_actions (dead_letter, action, state) values "
            "(1, 'discard', 'discarded'), (2, 'outcome', 'replayed'), (3, 'edit', null), (3, 'replay', null)"
        )
        connection.execute(
            "insert into positions (topic, topic_id, partition, next_offset, stop, stop_reason, at) values "
            "('orders', 'old', 0, 1, 'retention', 'old', now() - interval '1 day'),"
            "('orders', 'new', 0, 2, null, null, now()), ('orders', 'new', 1, 3, 'dead_letters', 'why', now()),"
            "('others', 'third', 0, 4, 'retention', 'of another topic', now())"
        )
    found = asked(postgres_dsn)
    assert found.open_dead_letters == 2
    assert found.standing == [(0, 2, None, None), (1, 3, "dead_letters", "why")]


@pytest.mark.parametrize("analyzed", [False, True])
def test_few_orders_are_counted_and_many_estimated(postgres_dsn: str, analyzed: bool) -> None:
    """Beyond the bound PostgreSQL's density is taken for all pages: rows since the last analysis count too."""
    migrate(postgres_dsn)
    fill = (
        "insert into orders select 'u' || n, '', '', '', '', '', '', '', '', '', '', '', '', '', 0, 0, '', 0, 0, 0, "
        "'[]', '', '', '', '', '', 0, now(), '', null, n, n, 't', 0, n, now() from generate_series({}, {}) n"
    )
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(fill.format(1, 1000).encode())
        if analyzed:
            connection.execute("analyze orders")
        connection.execute(fill.format(1001, 2000).encode())
    assert asked(postgres_dsn).orders == (2000, True)
    with connect(postgres_dsn, "test") as few:
        ((count, exact),) = few.execute(queries["count_orders"], {"most": 100})
    assert not exact
    assert 1800 <= count <= 2200 if analyzed else count == 100
