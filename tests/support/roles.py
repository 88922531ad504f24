"""Roles of a test's own on a PostgreSQL of the tests."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


def execute(dsn: str, statement: LiteralString, *names: sql.Identifier) -> None:
    """A statement in which `{}` stands for names."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*names))


@contextmanager
def role(dsn: str) -> Iterator[tuple[sql.Identifier, str]]:
    """A login that owns nothing, and how it connects."""
    name = f"role_{secrets.token_hex(4)}"
    identifier = sql.Identifier(name)
    execute(dsn, "create role {} login password 'sesame'", identifier)
    try:
        yield identifier, make_conninfo(dsn, user=name, password="sesame")
    finally:
        execute(dsn, "drop owned by {}", identifier)
        execute(dsn, "drop role {}", identifier)
