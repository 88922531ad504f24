"""Waiting until PostgreSQL's positions have passed what was sent: when it ends, and what it says."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.commands.storing import SKIPS_UNKNOWN, Offsets, StoringResult, Waiting
from orders.errors import Forbidden, OrdersError, Unavailable
from orders.postgres.connection import Connection, queries

TOPIC, TOPIC_ID = "orders", "id"


@given(st.sets(st.integers(0, 60)), st.integers(0, 70))
def test_how_many_offsets_are_below_a_position(offsets: set[int], position: int) -> None:
    """Whatever gaps there are between them."""
    kept = offsets_of(*sorted(offsets))
    assert kept.count == len(offsets)
    assert kept.below(position) == sum(offset < position for offset in offsets)


def offsets_of(*offsets: int) -> Offsets:
    kept = Offsets()
    for offset in offsets:
        kept.add(offset)
    return kept


Row = tuple[int, int, str | None]
"""Partition, offset, reason of its stop."""


class Postgres:
    """Answers from a script: the rows of each look at the positions, the last one for ever; an error is raised."""

    def __init__(self, *looks: list[Row] | OrdersError, topic_id: str = TOPIC_ID) -> None:
        self._looks = list(looks)
        self._topic_id = topic_id
        self.dead: list[int] = []
        self.skips: list[tuple[int, int, int]] | OrdersError = []
        self.now = 0.0

    def execute(self, query: str, values: dict[str, Any]) -> "Postgres":
        self._rows: list[tuple[Any, ...]]
        if query == queries["dead_letter_offsets"]:
            self._rows = [(each,) for each in self.dead if values["begin"] <= each < values["end"]]
        elif query == queries["skips_to_verify"]:
            self._rows = [*self._or_raised(self.skips)]
        else:
            look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
            found = self._or_raised(look)
            self._rows = [(self._topic_id, p, offset, None, stop and "kind", stop) for p, offset, stop in found]
        return self

    @staticmethod
    def _or_raised(answer: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def close(self) -> None:
        """Nothing is left."""

    def begun(self) -> Waiting:
        """Each pause takes a second."""

        def sleep(_: float) -> None:
            self.now += 1

        waiting = Waiting(lambda: cast("Connection", self), TOPIC, TOPIC_ID, 5, clock=lambda: self.now, sleep=sleep)
        waiting.begin()
        return waiting

    def wait(self, sent: dict[int, Offsets]) -> StoringResult:
        """What is said of what was sent."""
        passed: list[int] = []
        stored = self.begun().wait(sent, passed.append)
        assert sum(passed) <= sum(each.count for each in sent.values())
        return stored


def test_all_is_stored_once_the_positions_have_passed_it_but_for_what_became_dead_letters() -> None:
    postgres = Postgres([(0, 3, None)], [(0, 5, None)], [(0, 9, None)])
    postgres.dead = [4, 5, 7]
    assert postgres.wait({0: offsets_of(3, 4, 6, 7, 8)}) == StoringResult(stored=3, dead_letters=2)


def test_a_stopped_partition_is_not_waited_for_and_others_are() -> None:
    postgres = Postgres(
        [(0, 0, None), (1, 0, None)], [(0, 1, "too many"), (1, 0, None)], [(0, 1, "too many"), (1, 2, None)]
    )
    stored = postgres.wait({0: offsets_of(0, 1, 2), 1: offsets_of(0, 1)})
    assert stored == StoringResult(stored=3, pending=2, reasons=["orders/0 is stopped at offset 1: too many"])
    assert postgres.now < 5


def test_what_somebody_skips_meanwhile_is_not_stored() -> None:
    postgres = Postgres([(0, 0, "too many")], [(0, 4, None)])
    postgres.skips = [(0, 0, 3)]
    assert postgres.wait({0: offsets_of(0, 1, 2, 3)}) == StoringResult(stored=1, skipped=3)


def test_a_role_that_cannot_read_resumes_says_so_where_it_matters() -> None:
    for stop, reasons in ((None, []), ("too many", [SKIPS_UNKNOWN])):
        postgres = Postgres([(0, 0, stop)], [(0, 4, None)])
        postgres.skips = Forbidden("SELECT")
        assert postgres.wait({0: offsets_of(0, 1)}) == StoringResult(stored=2, reasons=reasons)


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([[(0, 0, None)]], "nothing was stored for 5 s: is an ingest running? See `orders status`"),
        ([[], []], "nothing was stored for 5 s: is an ingest running? See `orders status`"),
    ],
)
def test_it_gives_up_where_nothing_moves(looks: list[list[Row]], reason: str) -> None:
    assert Postgres(*looks).wait({0: offsets_of(0, 1)}) == StoringResult(pending=2, reasons=[reason])


def test_what_moves_is_waited_for_longer() -> None:
    looks: list[list[Row]] = [[(0, offset, None)] for offset in range(11)]
    postgres = Postgres(*looks)
    assert postgres.wait({0: offsets_of(9)}) == StoringResult(stored=1)
    assert postgres.now > 5


def test_an_outage_is_waited_out_and_named_where_it_lasts() -> None:
    away = Unavailable("PostgreSQL cannot be reached")
    assert Postgres([(0, 0, None)], away, away, [(0, 2, None)]).wait({0: offsets_of(0, 1)}) == StoringResult(stored=2)
    lasting = Postgres([(0, 0, None)], away)
    assert lasting.wait({0: offsets_of(0, 1)}).reasons[0] == "PostgreSQL cannot be reached"


def test_offsets_that_were_read_before_are_never_taken_for_stored() -> None:
    """Kafka's log was truncated: the position passed those offsets when other records had them."""
    for offsets in (offsets_of(3, 4), offsets_of(90, 3)):
        stored = Postgres([(0, 50, None)]).wait({0: offsets})
        assert (stored.stored, stored.pending) == (0, 2)
        assert stored.reasons[0].startswith("orders/0 was truncated")


def test_a_topic_that_was_recreated_is_named() -> None:
    stored = Postgres([(0, 50, None)], topic_id="another").wait({0: offsets_of(0)})
    assert stored.pending == 1
    assert "PostgreSQL holds positions of an older topic of that name" in stored.reasons[0]


def test_ctrl_c_ends_it_with_what_is_stored_by_then() -> None:
    """Positions are read once more."""
    pressed = cast("OrdersError", KeyboardInterrupt())
    postgres = Postgres([(0, 0, None)], [(0, 1, None)], pressed, [(0, 2, None)])
    stored = postgres.wait({0: offsets_of(0, 1, 2)})
    assert stored == StoringResult(stored=2, pending=1, reasons=["interrupted"])


def test_ctrl_c_while_orders_are_still_sent_tells_what_is_stored_by_then() -> None:
    """As where a pipe stays open: the position is read, though nothing was waited for."""
    postgres = Postgres([(0, 0, None)], [(0, 2, None)])
    stored = postgres.begun().interrupted({0: offsets_of(0, 1, 2)})
    assert stored == StoringResult(stored=2, pending=1, reasons=["interrupted"])
