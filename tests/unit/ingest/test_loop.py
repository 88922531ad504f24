"""Ingest's loop: what it does with records, with an outage, with moved positions and at its end."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import pytest
from structlog.testing import capture_logs

from orders import sample
from orders.errors import Misconfigured, OrdersError, PositionsMoved, Unavailable
from orders.ingest.batcher import Batcher
from orders.ingest.loop import Ingest
from orders.ingest.run import member_id
from orders.ingest.writer import Writer, probe_entry
from orders.memory.notices import IngestNotice, read_board
from orders.memory.shared import Change, Put
from orders.metrics.table import BATCHES, LAYOUT, private
from orders.record import Batch, BatchCause, Reached, Record, Span, Stop, uid_of
from orders.settings import Settings
from support.metrics import counted


class FakeStream:
    """Kafka as the loop sees it: hands out what it was given, and notes what it was told."""

    def __init__(self) -> None:
        self.trouble: OrdersError | None = None
        self.topic_id = "topic-1"
        self.stops: dict[int, Stop] = {}
        self.polls: list[list[Record]] = []
        self.read: dict[int, Reached] = {}
        self.told: list[str] = []
        self.mirrored: dict[int, int] = {}

    @property
    def partitions(self) -> list[int]:
        return [0]

    @property
    def is_growing(self) -> bool:
        return False

    def poll(self, wait: float) -> list[Record]:
        assert wait >= 0
        return self.polls.pop(0) if self.polls else []

    def reached(self) -> dict[int, Reached]:
        return self.read

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self, places: Mapping[int, int]) -> None:
        self.told.append(f"continue at {dict(places)}")

    def check(self) -> None:
        self.told.append("check")

    def return_to_stored(self) -> None:
        self.told.append("replace")

    def close(self) -> None:
        self.told.append("close")

    def mirror(self, offsets: Mapping[int, int]) -> None:
        self.mirrored |= offsets


class FakeMemory:
    """Takes everything and keeps the board."""

    identity = "memory-1"

    def __init__(self) -> None:
        self.board: dict[str, bytes] = {}

    def fence(self, uids: Sequence[str], writer: int) -> None: ...
    def unfence(self, uids: Sequence[str], writer: int) -> None: ...
    def settle(self, changes: Sequence[Change], writer: int, as_of: float) -> None: ...

    def put(self, puts: Sequence[Put], as_of: float) -> int:
        assert as_of >= 0
        return len(puts)

    def post(self, name: str, state: bytes) -> None:
        self.board[name] = state


class FakeWriter(Writer):
    """Writes into a list, or fails with what it was given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.errors: list[OrdersError] = []

    def write(self, batch: Batch, topic_id: str) -> None:
        assert topic_id == "topic-1"
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(batch)


class Rig:
    """The loop with everything around it pretended, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        self.values = private()
        self.stream, self.memory, self.writer = FakeStream(), FakeMemory(), FakeWriter()
        batcher = Batcher(3, 10**6, 0.25)
        self.loop = Ingest("ingest:0", batcher, self.writer, self.memory, lambda: self.now, values=self.values)
        self.loop.stream = self.stream
        self.loop.placed(0, 0)

    def feed(self, *offsets: int) -> None:
        values = list(sample.samples(len(offsets), 1))
        self.stream.polls.append([Record(0, o, None, None, v) for o, v in zip(offsets, values, strict=True)])

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.loop.step()

    @property
    def causes(self) -> dict[str, int]:
        """How many batches went for which cause."""
        counts = {cause: int(self.values.cells[LAYOUT.place(BATCHES, cause)]) for cause in get_args(BatchCause)}
        return {cause: count for cause, count in counts.items() if count}

    @property
    def posted(self) -> IngestNotice:
        """What the board says of this ingest."""
        (notice,) = read_board(lambda: self.memory.board, lambda: self.now).ingests
        return notice


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_records_are_written_as_soon_as_the_poll_runs_dry_and_positions_are_mirrored(rig: Rig) -> None:
    rig.feed(0, 1)
    rig.steps(1)
    assert rig.writer.batches == []
    rig.steps(1)
    assert [len(b.entries) for b in rig.writer.batches] == [2]
    assert rig.stream.mirrored == {0: 2}
    assert rig.causes == {"dry": 1}


def test_a_full_batch_does_not_wait_for_the_stream(rig: Rig) -> None:
    rig.feed(0, 1, 2)
    rig.steps(1)
    assert len(rig.writer.batches) == 1
    assert rig.causes == {"records": 1}


def test_control_records_behind_the_last_record_are_skipped_with_it_and_alone(rig: Rig) -> None:
    """Once the stream runs dry: what it gave until then was added."""
    rig.feed(0, 1)
    rig.stream.read = {0: Reached(4, 7)}
    rig.steps(2)
    rig.stream.read = {0: Reached(6, 8)}
    rig.steps(2)
    assert [(len(batch.entries), batch.spans) for batch in rig.writer.batches] == [
        (2, {0: Span(0, 4, 7)}),
        (0, {0: Span(4, 6, 8)}),
    ]
    assert rig.stream.mirrored == {0: 6}


@pytest.mark.parametrize(("error", "state"), [(Unavailable("gone"), "paused"), (Misconfigured("no table"), "stopped")])
def test_an_outage_holds_the_stream_keeps_the_batch_and_continues_by_itself(
    rig: Rig, error: OrdersError, state: str
) -> None:
    rig.writer.errors = [error]
    rig.feed(0)
    rig.steps(2)
    assert rig.stream.told == ["pause"]
    rig.now = 2.0
    rig.writer.errors = [error]
    rig.steps(1)
    assert rig.posted.state == state
    rig.now = 20.0
    rig.steps(1)
    assert [len(b.entries) for b in rig.writer.batches] == [1]
    assert "continue at {0: 1}" in rig.stream.told
    assert rig.posted.state == "running"
    assert rig.causes == {"dry": 1, "retry": 2}


def test_while_held_nothing_is_tried_before_its_time(rig: Rig) -> None:
    rig.writer.errors = [Unavailable("gone")]
    rig.feed(0)
    rig.steps(5)
    assert rig.writer.batches == []


def test_moved_positions_are_read_again_and_nothing_is_mirrored(rig: Rig) -> None:
    rig.writer.errors = [PositionsMoved("other")]
    rig.feed(0)
    rig.steps(2)
    assert rig.stream.told == ["replace"]
    assert rig.stream.mirrored == {}


def test_at_its_end_what_was_collected_is_written_and_the_group_is_left(rig: Rig) -> None:
    rig.feed(0)
    rig.loop.run(after(1))
    assert [len(b.entries) for b in rig.writer.batches] == [1]
    assert rig.stream.told == ["close"]
    assert rig.causes == {"stop": 1}


def test_records_that_were_polled_and_the_sizes_of_batches_are_counted(rig: Rig) -> None:
    rig.feed(0, 1)
    rig.feed(1, 2, 3)
    rig.steps(3)
    series = counted(rig.values)
    assert [value for name, value in series.items() if "consumed" in name] == [5]
    assert (series["orders_batch_records_count"], series["orders_batch_records_sum"]) == (1, 4)


def test_trouble_of_the_stream_is_looked_after_every_second_and_told_on_the_board(rig: Rig) -> None:
    rig.stream.trouble = Misconfigured("no topic")
    for rig.now in (1.0, 2.0):
        rig.steps(1)
    assert rig.stream.told == ["check", "check"]
    assert rig.posted.state == "stopped"


def test_partitions_that_are_stopped_are_reported_on_the_board(rig: Rig) -> None:
    rig.stream.stops = {3: Stop("retention", "a sentence")}
    rig.now = 1.0
    rig.steps(1)
    assert rig.posted.stopped == {3: "retention"}


def outage_lines(logs: Sequence[Mapping[str, object]]) -> list[tuple[object, object]]:
    """What was logged, each with its reason or how long it lasted."""
    return [(each["event"], each.get("reason", each.get("seconds"))) for each in logs]


def test_an_outage_is_logged_when_it_begins_and_once_when_it_ends_with_how_long_it_lasted(rig: Rig) -> None:
    rig.writer.errors = [Unavailable("gone"), Unavailable("gone"), Unavailable("still starting")]
    rig.feed(0)
    with capture_logs() as logs:
        for rig.now in (1.0, 1.0, 10.0, 20.0, 31.5, 40.0):
            rig.steps(1)
    assert outage_lines(logs) == [
        ("consumption_paused", "gone"),
        ("consumption_paused", "still starting"),
        ("consumption_resumed", 30.5),
    ]


def test_an_outage_that_no_batch_meets_is_logged_all_the_same(rig: Rig) -> None:
    """As where Kafka is unavailable, of which nothing can come."""
    found = iter([Unavailable("Kafka"), Unavailable("Kafka"), None, None])

    def check() -> None:
        rig.stream.trouble = next(found)

    rig.stream.check = check  # type: ignore[method-assign] # what it finds, in turn
    with capture_logs() as logs:
        for rig.now in (5.0, 6.0, 8.0, 13.0):
            rig.steps(1)
    assert outage_lines(logs) == [("consumption_paused", "Kafka"), ("consumption_resumed", 3.0)]


def test_a_stop_is_no_outage_and_no_move(rig: Rig) -> None:
    """Its consumer logs it; this loop does not log it twice more."""

    def stop() -> None:
        rig.stream.stops = {0: Stop("dead_letters", "too many")}
        rig.stream.trouble = Misconfigured("too many (and 1 partitions more are stopped)")

    rig.stream.return_to_stored = stop  # type: ignore[method-assign] # finds the stop in PostgreSQL
    rig.writer.errors = [PositionsMoved("too many")]
    rig.feed(0)
    with capture_logs() as logs:
        rig.steps(2)
        for rig.now in (5.0, 6.0):
            rig.steps(1)
        assert rig.posted.state == "stopped"
        rig.stream.trouble = Unavailable("PostgreSQL")
        for rig.now in (7.0, 8.0):
            rig.steps(1)
        rig.stream.trouble = Misconfigured("too many (and 1 partitions more are stopped)")
        rig.now = 9.0
        rig.steps(1)
    assert outage_lines(logs) == [("consumption_paused", "PostgreSQL"), ("consumption_resumed", 2.0)]


def test_positions_that_somebody_else_moved_are_logged(rig: Rig) -> None:
    rig.writer.errors = [PositionsMoved("other")]
    rig.feed(0)
    with capture_logs() as logs:
        rig.steps(2)
    assert outage_lines(logs) == [("positions_moved", "other")]


def after(steps: int) -> Callable[[], bool]:
    """Stopping, once it was asked so many times."""
    left = iter([False] * steps)
    return lambda: next(left, True)


def test_each_ingest_of_a_machine_has_a_member_id_of_its_own_that_stays() -> None:
    settings = Settings()
    assert member_id(settings, 0) == member_id(settings, 0)
    assert member_id(settings, 0) != member_id(settings, 1)
    assert member_id(settings, 0) != member_id(Settings(data_dir="elsewhere"), 0)


def test_the_probe_is_an_order_that_nobody_has() -> None:
    uids = {uid_of(probe_entry()) for _ in range(2)}
    assert len(uids) == 2
