"""What follows a resume: told by the positions in PostgreSQL, and when it is given up."""

from collections.abc import Mapping
from typing import Any

import pytest

from orders.commands.positions import INTERRUPTED, PartitionProgress
from orders.commands.resuming import Resumed
from orders.commands.watching import IDLE_SECONDS, NOBODY, NOBODY_SECONDS, SLOW, Watch, text
from orders.errors import OrdersError, Unavailable

Look = Mapping[int, PartitionProgress] | OrdersError
WINDOW = 10


def resumed(partition: int = 0, at: int = 5, end: int = 9, counted_from: int = 0) -> Resumed:
    return Resumed(partition, "dead_letters", at, at, counted_from or at, end, position=at)


class Script:
    """Looks at positions, the last one for ever; each pause takes a second."""

    def __init__(self, *looks: Look, members: int | None = 1) -> None:
        self._looks = list(looks)
        self._members = members
        self.now = 0.0
        self.read: list[int] = []

    def _clock(self) -> float:
        """No two looks at a clock are the same."""
        self.now += 0.001
        return self.now

    def _look(self) -> Mapping[int, PartitionProgress]:
        look: Any = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(look, BaseException):
            raise look
        found: Mapping[int, PartitionProgress] = look
        return found

    def _sleep(self, _seconds: float) -> None:
        self.now += 1

    def watch(self, *partitions: Resumed) -> list[Resumed]:
        looking = Watch(self._look, lambda: self._members, WINDOW, clock=self._clock, sleep=self._sleep)
        return looking.until_known(partitions, self.read.append)


def at(*offsets: int) -> Mapping[int, PartitionProgress]:
    return {partition: PartitionProgress(offset, None) for partition, offset in enumerate(offsets)}


def test_a_partition_is_read_once_its_end_is_reached() -> None:
    script = Script(at(5), at(7), at(9))
    (known,) = script.watch(resumed())
    assert (known.state, known.position, sum(script.read)) == ("reading", 9, 4)
    assert text([known], "orders") == "orders/0 was read to its end, 9"


@pytest.mark.parametrize(("counted_from", "goal"), [(0, 15), (40, 50)])
def test_of_many_records_as_many_are_watched_as_the_limit_looks_at(counted_from: int, goal: int) -> None:
    """Those that --records lets pass are not among them."""
    script = Script(*(at(offset) for offset in range(5, 100)))
    (known,) = script.watch(resumed(end=1000, counted_from=counted_from))
    assert (known.state, known.position) == ("reading", goal)
    assert text([known], "orders") == f"orders/0 is being read: at {goal} of 1000"


def test_one_that_stops_again_is_reported_with_why_and_the_other_is_watched_on() -> None:
    again = PartitionProgress(6, "too many")
    script = Script(at(5, 5), {0: again, 1: PartitionProgress(5, None)}, {0: again, 1: PartitionProgress(9, None)})
    first, second = script.watch(resumed(0), resumed(1))
    assert (first.state, first.position, first.reason) == ("stopped", 6, "too many")
    assert second.state == "reading"
    assert text([first], "orders") == "orders/0 stopped again at 6: too many"


def test_one_that_stops_without_a_record_more_is_reported_too() -> None:
    (known,) = Script(at(5), {0: PartitionProgress(5, "retention")}).watch(resumed())
    assert (known.state, known.position) == ("stopped", 5)


def test_where_there_is_nothing_to_read_nothing_is_waited_for() -> None:
    script = Script(at(9))
    (known,) = script.watch(resumed(at=9))
    assert known.state == "idle"
    assert script.now < 1


def test_that_no_ingest_runs_is_said_soon() -> None:
    script = Script(at(5), members=0)
    (known,) = script.watch(resumed())
    assert (known.state, known.reason) == ("waiting", NOBODY)
    assert script.now <= NOBODY_SECONDS + 1


@pytest.mark.parametrize("members", [1, None])
def test_one_that_nobody_reads_is_given_up(members: int | None) -> None:
    script = Script(at(5), members=members)
    (known,) = script.watch(resumed())
    assert (known.state, known.reason) == ("waiting", SLOW)
    assert script.now <= IDLE_SECONDS + 2


def test_an_outage_is_waited_out_and_named_where_it_lasts() -> None:
    away = Unavailable("PostgreSQL cannot be reached")
    assert Script(away, away, at(9)).watch(resumed())[0].state == "reading"
    assert Script(away).watch(resumed())[0].reason == "PostgreSQL cannot be reached"


def test_what_is_read_slowly_is_waited_for() -> None:
    slow = [at(5 + n // 10) for n in range(50)]
    script = Script(*slow)
    assert script.watch(resumed())[0].state == "reading"
    assert script.now > IDLE_SECONDS


def test_ctrl_c_ends_it_with_what_is_known() -> None:
    interrupted: Any = KeyboardInterrupt()
    first, second = Script(at(9, 6), interrupted).watch(resumed(0), resumed(1))
    assert (first.state, first.reason) == ("reading", "")
    assert (second.state, second.position, second.reason) == ("waiting", 6, INTERRUPTED)
