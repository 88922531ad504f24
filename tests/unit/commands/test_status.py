"""What `orders status` asks, and what it tells where something cannot be asked."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from orders.commands import status
from orders.commands.figures import figures_of
from orders.commands.status import (
    PartitionStatus,
    StoredFigures,
    StoredPartition,
    Where,
    partitions_of,
    remaining,
    where,
)
from orders.errors import Misconfigured, OrdersError, StartError, Unavailable
from orders.metrics.table import BUILD, LAG_MESSAGES, LAG_SECONDS, LOG_END, PARTITION_STOPPED, POSITION
from orders.readiness import Lag, ReadinessPart, Ready, RestorePart
from orders.settings import Settings
from orders.system import state

STOPPED = "an ingest is stopped: topic orders was recreated"
READY = Ready(
    ready=False,
    parts={
        "postgres": ReadinessPart(ok=True),
        "assignment": ReadinessPart(ok=False, reason=STOPPED),
        "lag": Lag(ok=True, messages=7),
        "restore": RestorePart(ok=True, done=9, total=9),
    },
)
PAGE = f"""
# HELP {BUILD.name} a release
{BUILD.name}{{version="0.1.0",python="3.13.1"}} 1.0
orders_memory_orders 3.0
orders_memory_used_bytes 4096.0
orders_memory_limit_bytes 8.388608e+06
{LOG_END.name}{{partition="0"}} 10.0
{LOG_END.name}{{partition="1"}} 5.0
{POSITION.name}{{partition="0"}} 3.0
{POSITION.name}{{partition="1"}} 5.0
{LAG_MESSAGES.name}{{partition="0"}} 7.0
{LAG_MESSAGES.name}{{partition="1"}} 0.0
{LAG_SECONDS.name}{{partition="0"}} 12.34
{PARTITION_STOPPED.name}{{partition="0",reason="dead_letters"}} 1.0
"""
AWAY = "PostgreSQL cannot be reached"
UNREAD = StoredFigures(AWAY, AWAY, AWAY, AWAY)
BUILDING = status.IndexStatus("orders_by_x", "x", "building", "scanning", 3, 9)
READ = StoredFigures(
    (31_000, True), 2, [StoredPartition(0, 3, "dead_letters", "too many"), StoredPartition(1, 5)], [BUILDING]
)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What a running system answers by path, and `stored`; a test changes what it is about."""
    found: dict[str, Any] = {"/readyz": msgspec.json.encode(READY), "/metrics": PAGE.encode(), "stored": READ}

    def fetch(_url: str, path: str, _seconds: float) -> tuple[int, bytes]:
        if isinstance(found[path], Exception):
            raise found[path]
        return 200, found[path]

    place = Where(Settings(data_dir=str(tmp_path)), "http://127.0.0.1:9", state.SystemState(), [])
    monkeypatch.setattr(status, "fetch", fetch)
    monkeypatch.setattr(status, "where", lambda *_: place)
    monkeypatch.setattr(status, "_stored", lambda _: found["stored"])
    return found


def ask() -> status.Status:
    return status.status({}, {})


@pytest.mark.usefixtures("answers")
def test_all_of_it() -> None:
    found = ask()
    assert (found.version, found.ready, found.lag) == ("0.1.0", False, 7)
    assert found.orders == status.Orders(31_000, estimated=False, in_memory=3)
    assert found.memory == status.MemoryUse(4096, 8 * 2**20)
    assert found.partitions == [
        PartitionStatus(0, 3, 10, 7, 12.3, "dead_letters", "too many"),
        PartitionStatus(1, 5, 5, 0),
    ]
    assert found.dead_letters.open == 2
    assert found.restore == status.RestoreStatus(ok=True, done=9, total=9)
    assert found.indexes == [BUILDING]
    assert set(found.unknown) == {"uptime_seconds"}, "no process of this machine is known"
    assert found.runs


def test_without_postgresql_the_rest_is_reported_and_why(answers: dict[str, Any]) -> None:
    answers["stored"] = UNREAD
    found = ask()
    assert (found.orders.stored, found.orders.in_memory, found.dead_letters.open) == (None, 3, None)
    assert found.partitions[0].stop == "dead_letters", "the metrics say so too"
    assert found.partitions[0].reason == STOPPED
    names = {"orders.stored", "dead_letters.open", "partitions.reason", "indexes"}
    assert {name: found.unknown[name] for name in names} == dict.fromkeys(names, UNREAD.standing)


def test_without_http_postgresql_is_reported_and_why(answers: dict[str, Any]) -> None:
    answers["/readyz"] = answers["/metrics"] = StartError("nobody")
    found = ask()
    assert (found.orders.stored, found.dead_letters.open, found.lag) == (31_000, 2, None)
    assert found.partitions == [PartitionStatus(0, 3, stop="dead_letters", reason="too many"), PartitionStatus(1, 5)]
    assert found.reason == found.unknown["lag"] == "nothing answers at http://127.0.0.1:9"
    assert "memory" in found.unknown
    assert not found.runs


def test_without_kafka_partitions_are_reported_as_postgresql_has_them_and_why(answers: dict[str, Any]) -> None:
    """Ends and lag are Kafka's."""
    answers["/metrics"] = "\n".join(line for line in PAGE.splitlines() if "partition=" not in line).encode()
    away = dict(READY.parts, kafka=ReadinessPart(ok=False, reason="Kafka is unavailable (Connection refused)"))
    answers["/readyz"] = msgspec.json.encode(Ready(parts=away))
    found = ask()
    assert found.partitions == [PartitionStatus(0, 3, stop="dead_letters", reason="too many"), PartitionStatus(1, 5)]
    assert found.unknown["partitions"] == "Kafka is unavailable (Connection refused)"
    assert (found.orders.stored, found.orders.in_memory) == (31_000, 3)


def test_figures_that_the_service_leaves_out_are_unknown_for_the_reason_that_it_gives(answers: dict[str, Any]) -> None:
    left_out = ("orders_position", "orders_lag_", "orders_memory")
    answers["/metrics"] = "\n".join(line for line in PAGE.splitlines() if not line.startswith(left_out)).encode()
    away = dict(READY.parts, postgres=ReadinessPart(ok=False, reason="PostgreSQL cannot be reached"))
    answers["/readyz"] = msgspec.json.encode(Ready(parts=away))
    answers["stored"] = UNREAD
    found = ask()
    assert [(each.position, each.end) for each in found.partitions] == [(None, 10), (None, 5)]
    assert found.unknown["partitions"] == "PostgreSQL cannot be reached"
    assert found.unknown["memory"] == found.unknown["orders.in_memory"] == "the shared memory cannot be read"


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
@pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe", b"a 1\nb nonsense\n", b""])
def test_what_answers_and_is_another_service_is_named(answers: dict[str, Any], path: str, body: bytes) -> None:
    answers[path] = body
    found = ask()
    told = found.reason if path == "/readyz" else found.unknown["memory"]
    assert "this service" in told


def test_lag_is_unknown_for_the_reason_that_the_service_gives(answers: dict[str, Any]) -> None:
    parts = dict(READY.parts, lag=Lag(ok=False, reason="unknown while PostgreSQL or Kafka is unavailable"))
    answers["/readyz"] = msgspec.json.encode(Ready(parts=parts))
    assert ask().unknown["lag"] == "unknown while PostgreSQL or Kafka is unavailable"


def test_a_stop_that_postgresql_does_not_know_has_the_reason_of_readiness() -> None:
    """As where the topic was recreated: its new positions are not stored, and older stops are of the old topic."""
    figures = figures_of(PAGE.replace('reason="dead_letters"', 'reason="anew"'))
    first, _ = partitions_of(
        figures, [StoredPartition(0, 3, "dead_letters", "too many"), StoredPartition(1, 5)], STOPPED
    )
    assert (first.stop, first.reason) == ("anew", STOPPED)


@pytest.mark.parametrize(
    ("first", "later", "seconds"),
    [
        (RestorePart(ok=False, done=100, total=1000), RestorePart(ok=False, done=200, total=1000), 4.0),
        (RestorePart(ok=False, done=100, total=1000), RestorePart(ok=False, done=100, total=1000), None),
        (RestorePart(ok=False, done=100, total=1000), RestorePart(ok=True, done=1000, total=1000), None),
        (RestorePart(ok=False, done=900, total=1000), RestorePart(ok=False, done=1100, total=1000), 0.0),
    ],
)
def test_what_a_restore_still_takes_is_reckoned_from_two_looks(
    first: RestorePart, later: RestorePart, seconds: float | None
) -> None:
    assert remaining(first, later, 0.5) == seconds


def test_a_restore_that_is_under_way_is_looked_at_twice(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(done: int) -> bytes:
        return msgspec.json.encode(Ready(parts={"restore": RestorePart(ok=False, done=done, total=1000)}))

    answers["/readyz"] = at(100)
    monkeypatch.setattr("orders.commands.status.time.sleep", lambda _: answers.update({"/readyz": at(300)}))
    found = ask().restore
    assert (found.done, found.total, found.ok) == (300, 1000, False)
    assert found.remaining_seconds is not None


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, ""),
        ({"ORDERS_HTTP_PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"ORDERS_HTTP_HOST": "db.example.org", "ORDERS_HTTP_PORT": "8080"}, "http://db.example.org:8080"),
        ({"ORDERS_HTTP_HOST": "0.0.0.0"}, "http://127.0.0.1:8080"),  # noqa: S104 - a name, nothing is bound
        ({"ORDERS_HTTP_PORT": "0"}, ""),
    ],
)
def test_an_address_that_is_given_is_asked_where_nothing_runs(
    environment: dict[str, str], url: str, tmp_path: Path
) -> None:
    """No other is: what happens to answer at the default one may be of another directory."""
    found = where({"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_SETTINGS_FILE": "/dev/null", **environment}, {})
    assert (found.url, found.running) == (url, [])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            Misconfigured("no connection to PostgreSQL: fe_sendauth: no password supplied: …"),
            "give ORDERS_POSTGRES_DSN",
        ),
        (Unavailable("PostgreSQL cannot be reached"), "PostgreSQL cannot be reached"),
    ],
)
def test_why_postgresql_cannot_be_asked(error: OrdersError, said: str) -> None:
    place = Where(Settings(), "http://127.0.0.1:9", state.SystemState(), [state.StartedProcess("run", 1)])
    assert said in status.refused(error, place)
    assert status.refused(error, place._replace(running=[])) == str(error)
