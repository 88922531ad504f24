"""Whose fault an error of PostgreSQL is, and that its text quotes nothing."""

import pytest
from psycopg import Error, errors

from orders.errors import Away, OrdersError, Rejected, SetupWrong
from orders.postgres import conninfo, verdict


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (errors.AdminShutdown, Away),
        (errors.DeadlockDetected, Away),
        (errors.DiskFull, Away),
        (errors.IdleInTransactionSessionTimeout, Away),
        (errors.LockNotAvailable, Away),
        (errors.ReadOnlySqlTransaction, Away),
        (errors.UndefinedTable, SetupWrong),
        (errors.InsufficientPrivilege, SetupWrong),
        (errors.DataCorrupted, SetupWrong),
        (errors.InternalError_, SetupWrong),
        (errors.CheckViolation, Rejected),
        (errors.UniqueViolation, Rejected),
        (errors.ProgramLimitExceeded, Rejected),
        (errors.OperationalError, Away),
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
    with pytest.raises(SetupWrong) as caught:
        conninfo("postgresql://u:se%cret@h/x", "test")
    assert "cret" not in str(caught.value)


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
    assert isinstance(verdict(errors.OperationalError(told)), SetupWrong)
