"""Readiness from what the parts say, without services."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from orders.api.health import Health, Purpose, assignment, lag, never
from orders.errors import Misconfigured, OrdersError, Unavailable
from orders.kafka.topic import TopicSnapshot, TopicWatch
from orders.memory.notices import GONE_SECONDS, IngestNotice, KeeperNotice, KeeperState, encode
from orders.metrics.table import IngestState
from orders.readiness import ReadinessPart, ReadinessReport

NOW = 100.0
VIEW = TopicSnapshot("t", {0: 10, 1: 20})
POSITIONS = {("t", 0): 10, ("t", 1): 15}


def ingest(*partitions: int, state: IngestState = "running", reason: str = "", at: float = NOW) -> bytes:
    return encode(IngestNotice(partitions, state, at, reason))


def keeper(state: KeeperState = "ready") -> bytes:
    return encode(KeeperNotice(state, NOW, 3, 9, "r"))


BOARD = {"ingest:0": ingest(0), "ingest:1": ingest(1), "keeper": keeper()}


def health(
    positions: Mapping[tuple[str, int], int] | OrdersError = POSITIONS,
    view: TopicSnapshot | OrdersError = VIEW,
    board: Mapping[str, bytes] | OrdersError = BOARD,
    wanted: bool | OrdersError = False,
) -> Health:
    async def read_positions() -> Mapping[tuple[str, int], int]:
        if isinstance(positions, OrdersError):
            raise positions
        return positions

    async def look(_: float) -> TopicSnapshot:
        if isinstance(view, OrdersError):
            raise view
        return view

    def read_board() -> Mapping[str, bytes]:
        if isinstance(board, OrdersError):
            raise board
        return board

    def restore_wanted() -> bool:
        if isinstance(wanted, OrdersError):
            raise wanted
        return wanted

    return Health(read_positions, look, read_board, restore_wanted, ready_lag=100, clock=lambda: NOW)


def test_a_process_that_is_to_stop_is_not_ready() -> None:
    """Whatever else is well; also where a check was under way when the signal came."""
    stopping = False

    async def read_positions() -> Mapping[tuple[str, int], int]:
        nonlocal stopping
        stopping = True
        return POSITIONS

    async def look(_: float) -> TopicSnapshot:
        return VIEW

    asked = Health(
        read_positions, look, lambda: BOARD, lambda: False, ready_lag=100, clock=lambda: NOW, stopping=lambda: stopping
    )
    report = asyncio.run(asked.report("reading"))
    assert (report.ready, report.reading, report.writing) == (False, False, False)
    assert report.parts.process == ReadinessPart(ok=False, reason="this process is stopping")
    assert report.parts == replace(check().parts, process=report.parts.process)


def check(purpose: Purpose = "writing", **given: Any) -> ReadinessReport:
    return asyncio.run(health(**given).report(purpose))


def test_a_look_has_the_ingests_that_posted_lately() -> None:
    board = BOARD | {"ingest:1": ingest(1, state="stopped"), "ingest:2": ingest(at=NOW - GONE_SECONDS - 1)}
    found = asyncio.run(health(board=board).look())
    assert [each.state for each in found.ingests] == ["running", "stopped"]
    assert not asyncio.run(health(board=Unavailable("memory fails")).look()).ingests


def test_ready() -> None:
    """All parts are well: ready, with the figures."""
    report = check()
    assert report.ready
    assert (report.parts.lag.messages, report.parts.restore.done, report.parts.restore.total) == (5, 3, 9)


@pytest.mark.parametrize(
    ("given", "part", "reason"),
    [
        ({"positions": Unavailable("PostgreSQL cannot be reached")}, "postgres", "PostgreSQL cannot be reached"),
        ({"view": Misconfigured("topic 'orders' does not exist")}, "kafka", "topic 'orders' does not exist"),
        ({"view": TopicSnapshot("t", {0: 500, 1: 500})}, "lag", "more than 100 messages behind"),
        ({"board": {"keeper": keeper()}}, "assignment", "no ingest has reported for 10 s"),
        (
            {"board": BOARD | {"ingest:1": ingest(1, state="paused", reason="x")}},
            "assignment",
            "an ingest is paused: x",
        ),
        ({"board": BOARD | {"keeper": keeper("restoring")}}, "restore", "memory is being restored"),
        ({"board": BOARD | {"keeper": keeper("waiting")}}, "restore", "the keeper waits: r"),
        ({"board": Unavailable("memory")}, "restore", "no keeper has reported for 10 s"),
        ({"wanted": True}, "memory", "memory was emptied and is not restored yet"),
        ({"wanted": Unavailable("the shared memory fails")}, "memory", "the shared memory fails"),
    ],
)
def test_one_part_is_not_well(given: dict[str, Any], part: str, reason: str) -> None:
    """Not ready for writing, and the part says why; reading is not asked for it."""
    report = check(**given)
    assert (report.ready, report.reading, report.writing) == (False, True, False)
    assert check("reading", **given).ready
    found = getattr(report.parts, part)
    assert (found.ok, found.reason) == (False, reason)


@pytest.mark.parametrize(
    ("given", "reading"),
    [
        ({}, True),
        ({"wanted": True}, False),
        ({"wanted": Unavailable("the shared memory fails")}, False),
        ({"board": {}}, True),
        ({"view": Unavailable("Kafka")}, True),
        ({"view": Unavailable("Kafka"), "board": BOARD | {"keeper": keeper("waiting")}}, True),
    ],
)
def test_reading_without_postgresql_is_ready_as_long_as_memory_has_its_orders(
    given: dict[str, Any], reading: bool
) -> None:
    """Whatever else is unavailable, and whether or not a keeper runs."""
    given = {"positions": Unavailable("PostgreSQL cannot be reached"), **given}
    report = check("reading", **given)
    assert (report.ready, report.reading, report.writing) == (reading, reading, False)


def test_an_ingest_that_runs_without_a_partition_is_not_enough() -> None:
    """Nothing was assigned yet, or other machines have all partitions; one that has some is enough."""
    idle = IngestNotice((), "running", NOW)
    assert assignment([idle, idle]).reason == "no partition is assigned to an ingest of this machine"
    assert assignment([idle, IngestNotice((3,), "running", NOW)]) == ReadinessPart(ok=True)


def test_a_keeper_that_is_gone_is_no_keeper() -> None:
    board = BOARD | {"keeper": encode(KeeperNotice("ready", NOW - GONE_SECONDS - 0.1))}
    assert check(board=board).parts.restore.reason == "no keeper has reported for 10 s"


def test_lag_counts_what_is_not_in_postgresql() -> None:
    """A partition without a position is wholly behind; a position beyond the end is not a negative lag."""
    assert lag(VIEW, {("t", 0): 11}, 100).messages == 20
    assert lag(VIEW, {("other", 0): 5}, 100).messages == 30
    assert lag(None, {}, 100).messages is None


def test_a_kafka_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as unavailable; /readyz and /metrics answer in time."""
    monkeypatch.setattr("orders.api.health.KAFKA_ANSWER_SECONDS", 0.01)

    async def scenario() -> ReadinessReport:
        silent = asyncio.Event()

        async def look(_: float) -> TopicSnapshot:
            await silent.wait()
            return VIEW

        stuck = health()
        stuck._topic = look
        report = await stuck.report("writing")
        silent.set()
        return report

    report = asyncio.run(scenario())
    assert report.parts.kafka == ReadinessPart(ok=False, reason="Kafka does not answer in time")


def test_checks_are_shared() -> None:
    """Calls at the same time share one check."""
    looks = 0

    async def scenario() -> None:
        nonlocal looks

        async def positions() -> Mapping[tuple[str, int], int]:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0)
            return POSITIONS

        shared = health()
        shared._positions = positions
        reports = await asyncio.gather(*(shared.look() for _ in range(5)))
        assert len({id(look.parts) for look in reports}) == 1
        await shared.look()

    asyncio.run(scenario())
    assert looks == 2


class Outages:
    """PostgreSQL and Kafka, each unavailable for so many looks."""

    def __init__(self, postgres: int, kafka: int) -> None:
        self.left = {"PostgreSQL": postgres, "Kafka": kafka}
        self.looks = 0

    def _ask(self, name: str) -> None:
        self.left[name] -= 1
        if self.left[name] >= 0:
            raise Unavailable(name)

    async def positions(self) -> Mapping[tuple[str, int], int]:
        self.looks += 1
        self._ask("PostgreSQL")
        return POSITIONS

    async def topic(self, _: float) -> TopicSnapshot:
        self._ask("Kafka")
        return VIEW

    def health(self, stopping: Callable[[], bool] = never) -> Health:
        def clock() -> float:
            return 2.0 * self.looks

        read = (self.positions, self.topic, lambda: BOARD, lambda: False)
        return Health(*read, ready_lag=100, clock=clock, stopping=stopping)


@pytest.mark.parametrize("first", ["suspect", "report"])
def test_an_outage_is_logged_to_its_end_though_nobody_asks_any_more(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Once a request met it, or a look found it: each dependency once, with how long it lasted."""
    monkeypatch.setattr("orders.api.health.FOLLOW_SECONDS", 0.0)
    outages = Outages(3, 2)

    async def scenario() -> None:
        looking = outages.health()
        if first == "suspect":
            looking.suspect()
        else:
            assert not (await looking.report("writing")).ready
        assert looking._following is not None
        await looking._following

    with capture_logs() as logs:
        asyncio.run(scenario())
    told = [(each["event"], each["dependency"], each.get("reason", each.get("seconds"))) for each in logs]
    assert told == [
        ("dependency_unavailable", "PostgreSQL", "PostgreSQL"),
        ("dependency_unavailable", "Kafka", "Kafka"),
        ("dependency_available", "Kafka", 4.0),
        ("dependency_available", "PostgreSQL", 6.0),
    ]
    assert outages.looks == 4, "and no more once all is available"


def test_a_process_that_is_to_stop_follows_no_outage() -> None:
    async def scenario() -> None:
        looking = Outages(9, 9).health(lambda: True)
        looking.suspect()
        await looking.report("writing")
        assert looking._following is None

    asyncio.run(scenario())


class Brokers:
    """Looks at a topic, counted."""

    def __init__(self) -> None:
        self.looks = 0
        self.answer: TopicSnapshot | OrdersError = VIEW

    def look(self) -> TopicSnapshot:
        self.looks += 1
        if isinstance(self.answer, OrdersError):
            raise self.answer
        return self.answer


def test_topic_is_looked_at_once_for_all() -> None:
    """A look is shared, and good for as long as asked."""
    now, brokers = 0.0, Brokers()

    async def scenario() -> None:
        nonlocal now
        watch = TopicWatch(brokers.look, lambda: now)
        views = await asyncio.gather(watch.view(1), watch.view(1))
        assert (*views, await watch.identity()) == (VIEW, VIEW, "t")
        assert brokers.looks == 1
        now = 2.0
        brokers.answer = Unavailable("Kafka")
        with pytest.raises(Unavailable):
            await watch.view(1)
        with pytest.raises(Unavailable):
            await watch.view(1)
        assert brokers.looks == 2

    asyncio.run(scenario())


def test_identity_outlives_an_outage() -> None:
    """Brokers that are unavailable do not take back what they said of the topic; a new identity is seen in time."""
    now, brokers = 0.0, Brokers()

    async def scenario() -> None:
        nonlocal now
        watch = TopicWatch(brokers.look, lambda: now)
        brokers.answer = Unavailable("Kafka")
        with pytest.raises(Unavailable):
            await watch.identity()
        brokers.answer = VIEW
        assert await watch.identity() == "t"
        brokers.answer = Unavailable("Kafka")
        for _ in range(3):
            now += 10
            assert await watch.identity() == "t"
            with pytest.raises(Unavailable):
                await watch.view(0)
        brokers.answer = VIEW._replace(topic_id="u")
        now += 10
        await watch.view(1)
        assert await watch.identity() == "u"

    asyncio.run(scenario())
