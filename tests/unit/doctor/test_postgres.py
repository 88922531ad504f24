"""What PostgreSQL's answers mean."""

import pytest
from msgspec.structs import replace

from orders.doctor.postgres import (
    Permissions,
    ServerFacts,
    clock,
    connections,
    durability,
    encoding,
    needed,
    permissions_of,
    reachable,
    why,
)
from orders.errors import Unavailable
from orders.postgres.connection import OLDEST
from orders.settings import Settings

GOOD = ServerFacts(18, "18.6", "UTF8", read_only=False, off=[], clock=0.0, room=97, others=3)
OWNER = Permissions(create=True, positions=True, lacking=[])


def test_a_good_server_is_ok_in_every_way() -> None:
    checks = [
        reachable(GOOD, "x"),
        encoding(GOOD),
        durability(GOOD),
        connections(GOOD, 7),
        clock(0.1),
        permissions_of(OWNER),
    ]
    assert {check.state for check in checks} == {"ok"}


def test_a_server_that_takes_no_writes_fails_and_so_does_an_old_one() -> None:
    assert reachable(replace(GOOD, read_only=True), "x").state == "failed"
    old = reachable(replace(GOOD, major=OLDEST - 1, version="14.9"), "x")
    assert (old.state, old.found) == ("failed", "PostgreSQL 14.9 answers at x and is too old")
    assert reachable(replace(GOOD, major=OLDEST), "x").state == "ok"


def test_another_encoding_fails() -> None:
    assert encoding(replace(GOOD, encoding="SQL_ASCII")).state == "failed"


def test_what_a_power_loss_may_take_is_named() -> None:
    found = durability(replace(GOOD, off=["fsync", "synchronous_commit"]))
    assert found.state == "warning"
    assert found.found.startswith("fsync, synchronous_commit off: ")


def test_connections_are_counted_for_a_whole_system() -> None:
    wanted = needed(Settings(ingest_processes=2, http_workers=3, postgres_connections=4, search_connections=5))
    assert wanted == 2 + 3 * (4 + 5) + 4
    assert connections(replace(GOOD, room=36, others=3), wanted).state == "ok"
    assert connections(replace(GOOD, room=35, others=3), wanted).state == "warning"


@pytest.mark.parametrize(("ahead", "words"), [(5.0, "5 s ahead of"), (-7.0, "7 s behind")])
def test_clocks_that_differ_are_a_warning(ahead: float, words: str) -> None:
    assert clock(ahead).state == "warning"
    assert words in clock(ahead).found


def test_missing_permissions_fail() -> None:
    assert permissions_of(replace(OWNER, create=False)).state == "ok", "who only uses the tables need not make them"
    assert permissions_of(replace(OWNER, lacking=["orders: insert"])).state == "failed"
    assert "orders: insert" in permissions_of(replace(OWNER, lacking=["orders: insert"])).found


SERVER = 'connection to server at "h", port 1 failed: '
STARTING = "the database system is starting up"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"connection failed: {SERVER}Connection refused\n\tIs the server running there?", "Connection refused"),
        (f"{SERVER}FATAL:  {STARTING}", STARTING),
        ("failed to resolve host 'ret@host': [Errno -2] Name not known", "the name of its host is not known"),
        ("connection timeout expired", "no answer"),
    ],
)
def test_why_it_cannot_be_reached_is_said_without_a_part_of_the_connection_string(said: str, shown: str) -> None:
    error = Unavailable("PostgreSQL cannot be reached")
    error.__cause__ = ValueError(said)
    assert why(error) == shown
