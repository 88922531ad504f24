"""What a scrape asks for, and what it says while something is unavailable."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from orders.api.health import HealthSnapshot
from orders.api.request_metrics import SERVE_LAYOUT
from orders.api.scrape import Scrape
from orders.errors import Unavailable
from orders.kafka.topic import TopicSnapshot
from orders.memory.notices import IngestNotice
from orders.memory.shared import Stats
from orders.metrics.exposition import Page, page
from orders.metrics.table import IngestState
from orders.postgres.indexes import IndexState
from orders.readiness import Lag, ReadinessPart, ReadinessParts, RestorePart
from support.metrics import series_of

WELL, NOT_WELL = ReadinessPart(ok=True), ReadinessPart(ok=False, reason="away")
VIEW = TopicSnapshot("t", {0: 10, 2: 5, 10: 7})
POSITIONS = {("t", 0): 4, ("t", 2): 5, ("older", 2): 1}
NOW = 1000.0
STATS = Stats(3, 1, 4096, 8192)


def look(
    view: TopicSnapshot | None = VIEW,
    positions: Mapping[tuple[str, int], int] | None = POSITIONS,
    states: Sequence[IngestState] = (),
) -> HealthSnapshot:
    kafka = WELL if view else NOT_WELL
    postgres, restore = WELL if positions else NOT_WELL, RestorePart(ok=False, done=3, total=9)
    parts = ReadinessParts(postgres, kafka, WELL, Lag(ok=True), NOT_WELL, restore)
    ingests = [IngestNotice((), state, NOW) for state in states]
    return HealthSnapshot(parts, positions, view, ingests)


INDEXES = [IndexState("a", "valid"), IndexState("b", "building", "scanning", 1, 4), IndexState("c", "missing")]


class Rig:
    """A scrape of given things, and what it asked Kafka for."""

    def __init__(
        self, found: HealthSnapshot, stats: Stats | None = STATS, indexes: Sequence[IndexState] | None = INDEXES
    ) -> None:
        self.wall = NOW
        self.index_looks = 0
        self._indexes = indexes
        self.asked: list[Mapping[int, int]] = []
        self.looks = 0
        self._found = found
        self._stats = stats

    async def look(self) -> HealthSnapshot:
        self.looks += 1
        await asyncio.sleep(0)
        return self._found

    def stats(self) -> Stats:
        if self._stats is None:
            raise Unavailable("the shared memory fails")
        return self._stats

    def totals(self) -> list[float]:
        return [0.0] * SERVE_LAYOUT.size

    def times(self, places: Mapping[int, int], _seconds: float) -> dict[int, float]:
        self.asked.append(places)
        return {0: NOW - 2.5}

    async def indexes(self) -> Sequence[IndexState]:
        self.index_looks += 1
        if self._indexes is None:
            raise Unavailable("PostgreSQL does not answer in time")
        return self._indexes

    @property
    def scrape(self) -> Scrape:
        return Scrape(self.totals, self.look, self.stats, self.times, self.indexes, wall=lambda: self.wall)

    def gauges(self) -> dict[str, float]:
        series = series_of(asyncio.run(self.scrape.page("")).body.decode())
        return {name: value for name, value in series.items() if name.startswith("orders_")}


def test_all_that_is_asked_for() -> None:
    """Partitions in the order of their numbers; positions of the topic that is there now, 0 where there is none yet."""
    rig = Rig(look())
    gauges = rig.gauges()
    assert {name: gauges[name] for name in gauges if "{partition=" in name} == {
        'orders_log_end{partition="0"}': 10,
        'orders_log_end{partition="2"}': 5,
        'orders_log_end{partition="10"}': 7,
        'orders_position{partition="0"}': 4,
        'orders_position{partition="2"}': 5,
        'orders_position{partition="10"}': 0,
        'orders_lag_messages{partition="0"}': 6,
        'orders_lag_messages{partition="2"}': 0,
        'orders_lag_messages{partition="10"}': 7,
        'orders_lag_seconds{partition="0"}': 2.5,
        'orders_lag_seconds{partition="2"}': 0,
    }
    assert rig.asked == [{0: 4, 10: 0}], "Kafka is asked for records of partitions that lag, and of no others"


def test_indexes_are_valid_or_built_so_far() -> None:
    gauges = Rig(look()).gauges()
    assert {name: gauges[name] for name in gauges if "{index=" in name} == {
        'orders_index_valid{index="a"}': 1,
        'orders_index_valid{index="b"}': 0,
        'orders_index_valid{index="c"}': 0,
        'orders_index_build_ratio{index="b"}': 0.25,
    }


@pytest.mark.parametrize(("positions", "indexes", "looks"), [(None, INDEXES, 0), (POSITIONS, None, 1)])
def test_in_an_outage_indexes_are_left_out_and_not_waited_for(
    positions: Mapping[tuple[str, int], int] | None, indexes: Sequence[IndexState] | None, looks: int
) -> None:
    rig = Rig(look(positions=positions), indexes=indexes)
    assert not [name for name in rig.gauges() if "{index=" in name]
    assert rig.index_looks == looks


def test_indexes_are_asked_for_every_five_seconds_however_often_is_scraped() -> None:
    rig = Rig(look())

    async def scrapes() -> None:
        scrape = rig.scrape
        for rig.wall in (NOW, NOW + 1, NOW + 4.9, NOW + 5, NOW + 9):
            await scrape.page("")

    asyncio.run(scrapes())
    assert rig.index_looks == 2


def test_memory_restore_and_readiness() -> None:
    gauges = Rig(look()).gauges()
    assert {
        name: value for name, value in gauges.items() if name.startswith(("orders_memory_", "orders_restore_"))
    } == {
        'orders_memory_lookups_total{result="hit"}': 0,
        'orders_memory_lookups_total{result="miss"}': 0,
        "orders_memory_orders": 3,
        "orders_memory_restrictions": 1,
        "orders_memory_used_bytes": 4096,
        "orders_memory_limit_bytes": 8192,
        "orders_restore_done_orders": 3,
        "orders_restore_expected_orders": 9,
    }
    parts = {"postgres": 1, "kafka": 1, "assignment": 1, "lag": 1, "memory": 0, "restore": 0, "process": 1}
    assert {part: gauges[f'orders_ready{{part="{part}"}}'] for part in parts} == parts
    assert [gauges[f'orders_ready_for{{purpose="{purpose}"}}'] for purpose in ("reading", "writing")] == [1, 0]
    (build,) = [value for name, value in gauges.items() if name.startswith("orders_build_info")]
    assert build == 1


def test_ingests_are_reported_by_their_states() -> None:
    """States that none is in as 0, so that an alert sees the first one."""
    gauges = Rig(look(states=["stopped", "running", "stopped"])).gauges()
    assert {name: value for name, value in gauges.items() if name.startswith("orders_ingests")} == {
        'orders_ingests{state="running"}': 1,
        'orders_ingests{state="paused"}': 0,
        'orders_ingests{state="stopped"}': 2,
    }


def test_partitions_that_are_stopped_are_reported_by_why() -> None:
    two = [
        IngestNotice((2,), "stopped", NOW, stopped={2: "dead_letters"}),
        IngestNotice((), "stopped", NOW, stopped={0: "anew"}),
    ]
    gauges = Rig(look()._replace(ingests=two)).gauges()
    assert {name: value for name, value in gauges.items() if name.startswith("orders_partition_stopped")} == {
        'orders_partition_stopped{partition="0",reason="anew"}': 1,
        'orders_partition_stopped{partition="2",reason="dead_letters"}': 1,
    }


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (look(view=None), set()),
        (look(positions=None), {"orders_log_end"}),
        (look(view=None, positions=None), set()),
    ],
)
def test_what_is_away_is_left_out(found: HealthSnapshot, told: set[str]) -> None:
    """No figure of it is shown, not even 0; that it is unavailable is."""
    rig = Rig(found)
    gauges = rig.gauges()
    assert {name.partition("{")[0] for name in gauges if "{partition=" in name} == told
    assert rig.asked == []
    ready = {
        'orders_ready{part="kafka"}': found.view is not None,
        'orders_ready{part="postgres"}': bool(found.positions),
        'orders_ready_for{purpose="reading"}': bool(found.positions),
    }
    assert ready.items() <= gauges.items()


def test_a_memory_that_fails_is_left_out() -> None:
    assert not [name for name in Rig(look(), stats=None).gauges() if name.startswith("orders_memory_used")]


def test_a_position_beyond_the_end_is_no_lag() -> None:
    """Kafka lost what PostgreSQL has."""
    gauges = Rig(look(positions={("t", 0): 11, ("t", 2): 5, ("t", 10): 7})).gauges()
    assert {value for name, value in gauges.items() if name.startswith("orders_lag_")} == {0.0}


def test_a_record_from_the_future_has_waited_for_nothing() -> None:
    """Its producer's clock is ahead."""
    rig = Rig(look())
    rig.times = lambda *_: {0: NOW + 60}  # type: ignore[method-assign] # another Kafka
    assert rig.gauges()['orders_lag_seconds{partition="0"}'] == 0


def test_records_that_do_not_come_in_time_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orders.api.scrape.RECORD_SECONDS", 0.01)
    rig, come = Rig(look()), threading.Event()

    def times(_places: Mapping[int, int], _seconds: float) -> dict[int, float]:
        come.wait(30)
        return {}

    async def scenario() -> bytes:
        body = (await rig.scrape.page("")).body
        come.set()
        return body

    rig.times = times  # type: ignore[assignment] # a Kafka that is slow
    assert 'orders_lag_seconds{partition="0"}' not in series_of(asyncio.run(scenario()).decode())


def test_scrapes_at_the_same_time_share_one_look_and_later_ones_look_again() -> None:
    rig = Rig(look())
    scrape = rig.scrape

    async def scenario() -> None:
        await asyncio.gather(*(scrape.page(accept) for accept in ("", "application/openmetrics-text", "")))
        assert rig.looks == 1
        await scrape.page("")
        assert rig.looks == 2

    asyncio.run(scenario())


def test_the_loop_continues_while_a_scrape_is_added_up_and_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have something done by the loop before they end."""
    rig, loop = Rig(look()), asyncio.new_event_loop()

    def with_the_loop() -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(30)

    def totals() -> list[float]:
        with_the_loop()
        return [0.0] * SERVE_LAYOUT.size

    def encode(*given: Any) -> Page:
        with_the_loop()
        return page(*given)

    rig.totals = totals  # type: ignore[method-assign] # other processes
    monkeypatch.setattr("orders.api.scrape.page", encode)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert "orders_ready" in runner.run(rig.scrape.page("")).body.decode()


def test_files_that_cannot_be_read_are_unavailable() -> None:
    """What goes wrong in the thread comes to whoever asked."""

    def totals() -> list[float]:
        raise Unavailable("the metrics beside the shared memory cannot be read")

    rig = Rig(look())
    rig.totals = totals  # type: ignore[method-assign] # files that are gone
    with pytest.raises(Unavailable, match="cannot be read"):
        asyncio.run(rig.scrape.page(""))
