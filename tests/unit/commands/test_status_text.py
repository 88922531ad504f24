"""`orders status` for a person, on narrow and wide terminals and into a pipe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orders.commands.status import (
    DeadLetters,
    Http,
    IndexStatus,
    KafkaStatus,
    MemoryUse,
    Orders,
    PartitionStatus,
    PostgresStatus,
    RestoreStatus,
    RunningProcess,
    Status,
)
from orders.commands.status_text import MOST_PARTITIONS, duration, restore, text

WHY = "250 of the last 1000 records of orders/1 became dead letters: see `orders dead-letters list`"
WHO = "`orders run` or `orders migrate` builds it, as the role that owns the tables"
FINE = Status(
    "0.1.0",
    8040.0,
    "/home/somebody/orders/.orders",
    [RunningProcess("run", 4711), RunningProcess("serve", 4712)],
    Http("http://127.0.0.1:8080", answers=True),
    KafkaStatus("127.0.0.1:9092", "orders"),
    PostgresStatus("postgresql://orders@127.0.0.1:5432/orders"),
    ready=True,
    writing=True,
    reason="",
    orders=Orders(31_000, estimated=False, in_memory=30_000),
    memory=MemoryUse(48 * 2**20, 256 * 2**20),
    lag=0,
    partitions=[PartitionStatus(0, 15_500, 15_500, 0, 0.0), PartitionStatus(1, 15_500, 15_500, 0, 0.0)],
    dead_letters=DeadLetters(0),
    restore=RestoreStatus(ok=True, done=120, total=120),
    indexes=[],
    unknown={},
)
STOPPED = replace(
    FINE,
    ready=False,
    writing=False,
    reason=f"assignment: an ingest is stopped: {WHY}",
    partitions=[FINE.partitions[0], PartitionStatus(1, 15_500, 17_500, 2000, 95.0, "dead_letters", WHY)],
    lag=2000,
    dead_letters=DeadLetters(250),
)


def test_a_system_that_is_well_is_a_line_for_each_fact_and_a_row_for_each_partition() -> None:
    assert text(FINE).splitlines() == [
        "ready         yes",
        "version       0.1.0, up 2 h 14 min",
        "data          /home/somebody/orders/.orders",
        "HTTP          http://127.0.0.1:8080",
        "Kafka         127.0.0.1:9092, topic orders",
        "PostgreSQL    postgresql://orders@127.0.0.1:5432/orders",
        "orders        31,000 stored, 30,000 in memory",
        "memory        48.0 of 256.0 MB (18 %)",
        "lag           0 messages",
        "restore       done, 120 orders",
        "dead letters  none open",
        "processes     run 4711, serve 4712",
        "",
        "partition  position     end  lag  waiting  state",
        "        0    15,500  15,500    0        -",
        "        1    15,500  15,500    0        -",
    ]


def test_a_stopped_partition_is_named_with_why_once() -> None:
    lines = text(STOPPED).splitlines()
    assert lines[0] == "ready         no (assignment: an ingest is stopped: see partition 1)"
    assert "        1    15,500  17,500  2,000  1 min 35 s  stopped: dead_letters" in lines
    assert lines[-1] == f"partition 1   {WHY}"
    assert "dead letters  250 open: see `orders dead-letters list`" in lines


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("found", [FINE, STOPPED])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(found: Status, width: int) -> None:
    shown = text(found, width)
    assert max(map(len, shown.splitlines())) <= width
    assert shown.split() == text(found).split()


@pytest.mark.parametrize(
    ("index", "line"),
    [
        (
            IndexStatus("orders_by_x", "x_from, x_to", "building", "building index: scanning table", 41, 100),
            "orders_by_x, for which x_from, x_to wait: is being built (building index: scanning table, 41 %)",
        ),
        (IndexStatus("orders_by_x", "x", "building"), "orders_by_x, for which x wait: is being built"),
        (
            IndexStatus("orders_by_x", "x", "missing"),
            f"orders_by_x, for which x wait: missing; {WHO}",
        ),
    ],
)
def test_an_index_that_is_not_valid_is_named_with_the_filters_that_wait(index: IndexStatus, line: str) -> None:
    assert f"index         {line}" in text(replace(FINE, indexes=[index])).splitlines()


def test_what_is_unknown_says_why() -> None:
    names = ("orders.stored", "orders.in_memory", "memory", "lag", "partitions", "dead_letters.open")
    nothing = replace(
        FINE,
        orders=Orders(),
        memory=MemoryUse(),
        lag=None,
        partitions=[],
        dead_letters=DeadLetters(),
        restore=RestoreStatus(),
        version=None,
        uptime_seconds=None,
        unknown={name: f"{name} hangs" for name in names},
    )
    shown = text(nothing)
    for name in names:
        if name != "orders.in_memory":
            assert f"unknown: {name} hangs" in shown
    assert "version       unknown\n" in shown
    assert "restore" not in shown


def test_a_reason_that_says_unknown_itself_is_not_said_twice() -> None:
    away = replace(FINE, lag=None, unknown={"lag": "unknown while PostgreSQL or Kafka is unavailable"})
    assert "lag           unknown while PostgreSQL or Kafka is unavailable" in text(away).splitlines()


def test_where_nothing_runs_only_what_was_looked_at_is_shown() -> None:
    nothing = replace(
        FINE,
        processes=[],
        http=Http("", answers=False),
        kafka=KafkaStatus(""),
        postgres=PostgresStatus(""),
        ready=False,
        reason="nothing runs in /data: start it with `orders run`", version=None, uptime_seconds=None,
    )  # fmt: skip
    assert text(nothing).splitlines()[:3] == [
        "ready         no (nothing runs in /data: start it with `orders run`)",
        "version       unknown",
        "data          /home/somebody/orders/.orders (nothing runs there)",
    ]
    assert "memory" not in text(nothing)


def test_of_many_partitions_those_that_lag_or_are_stopped_are_shown() -> None:
    quiet = [PartitionStatus(number, 5, 5, 0, 0.0) for number in range(100)]
    quiet[7] = PartitionStatus(7, 5, 6, 1, 3.0)
    quiet[50] = PartitionStatus(50, stop="retention", reason="why")
    lines = text(replace(FINE, partitions=quiet)).splitlines()
    assert "98 other partitions have no lag and are not stopped" in lines
    assert len([line for line in lines if line.startswith(("        7", "       50"))]) == 2
    assert len(quiet) > MOST_PARTITIONS


@pytest.mark.parametrize(
    ("restored", "shown"),
    [
        (RestoreStatus(ok=False, done=30, total=120), "30 of 120 orders (25 %)"),
        (RestoreStatus(ok=False, done=30, total=120, remaining_seconds=75), "30 of 120 orders (25 %), 1 min 15 s left"),
        (RestoreStatus(ok=True, done=120, total=120), "done, 120 orders"),
        (RestoreStatus(ok=True), "done, nothing was stored at the start"),
        (RestoreStatus(), ""),
    ],
)
def test_a_restore_is_reported_with_what_is_left_and_never_as_0_of_0(restored: RestoreStatus, shown: str) -> None:
    assert restore(restored) == shown


@given(st.floats(0, 1e9))
def test_a_duration_has_two_units_at_most(seconds: float) -> None:
    words = duration(seconds).split()
    units = [word for word in words if not word.isdigit()]
    assert units in ([["s"], ["min", "s"], ["h", "min"], ["d", "h"]])


def test_what_serves_and_cannot_store_says_so() -> None:
    found = replace(FINE, writing=False, reason="postgres: PostgreSQL cannot be reached")
    assert text(found).splitlines()[0].endswith("for reading, not for writing (postgres: PostgreSQL cannot be reached)")
