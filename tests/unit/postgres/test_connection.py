"""Whose fault an error of PostgreSQL is, and that its text quotes nothing."""

from types import SimpleNamespace
from typing import cast

import pytest
from psycopg import Error, errors

from orders.errors import Forbidden, Misconfigured, OrdersError, Rejected, Unavailable
from orders.postgres.connection import OLDEST, Connection, conninfo, refuse_old, verdict


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (errors.AdminShutdown, Unavailable),
        (errors.DeadlockDetected, Unavailable),
        (errors.DiskFull, Unavailable),
        (errors.IdleInTransactionSessionTimeout, Unavailable),
        (errors.LockNotAvailable, Unavailable),
        (errors.ReadOnlySqlTransaction, Unavailable),
        (errors.UndefinedTable, Misconfigured),
        (errors.InsufficientPrivilege, Forbidden),
        (errors.DataCorrupted, Misconfigured),
        (errors.InternalError_, Misconfigured),
        (errors.CheckViolation, Rejected),
        (errors.UniqueViolation, Rejected),
        (errors.ProgramLimitExceeded, Rejected),
        (errors.OperationalError, Unavailable),
    ],
)
def test_who_is_to_blame(error: type[Error], ours: type[OrdersError]) -> None:
    """A record only where nothing else can be; the text holds nothing of PostgreSQL's."""
    got = verdict(error("Key (delivery_phone)=(+972000)"))
    assert type(got) is ours
    assert "972" not in str(got)


def test_text_travels_as_utf_8_and_what_the_string_says_goes_before_our_time_outs() -> None:
    made = conninfo("host=h connect_timeout=1 client_encoding=latin1", "test")
    assert "connect_timeout=1" in made
    assert "client_encoding=UTF8" in made
    assert "latin1" not in made


def test_a_string_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(Misconfigured) as caught:
        conninfo("postgresql://u:se%cret@h/x", "test")
    assert "cret" not in str(caught.value)


def server(number: int, version: str) -> Connection:
    """What a server of another release answers."""
    return cast("Connection", SimpleNamespace(execute=lambda _: [(number, version)]))


def test_a_server_that_is_too_old_is_one_sentence_and_the_oldest_is_taken() -> None:
    refuse_old(server(OLDEST * 10_000, "15.0"))
    with pytest.raises(Misconfigured) as caught:
        refuse_old(server(OLDEST * 10_000 - 1, "14.22 (Debian)"))
    assert str(caught.value) == "PostgreSQL 14.22 (Debian) is too old: orders needs 15 or later"


@pytest.mark.parametrize(
    "told",
    [
        'FATAL:  password authentication failed for user "orders"',
        "fe_sendauth: no password supplied",
        "server does not support SSL, but SSL was required",
        'FATAL:  database "nowhere" does not exist',
    ],
)
def test_a_connection_that_is_refused_for_its_settings_is_no_outage(told: str) -> None:
    assert isinstance(verdict(errors.OperationalError(told)), Misconfigured)
