"""Which lines of a flood go through, and that none is lost: each is written or counted in a window that is told."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orders.log_sampling import Floods, Held, LineKind

A, B = ("unavailable", "PostgreSQL"), ("unavailable", "Kafka")
KINDS = st.sampled_from([A, B, ("kafka_error", ""), ("put_failed", "x"), ("put_failed", "y")])
LINES = st.lists(st.tuples(st.floats(0, 15), KINDS), max_size=200)


def test_the_first_of_a_kind_go_through_and_the_rest_are_reported_when_the_window_ends() -> None:
    floods = Floods(first=2, seconds=30)
    assert [floods.passes(A, "warning", now) for now in (0.0, 1.0, 2.0)] == [True, True, False]
    assert floods.passes(B, "error", 3.0), "another reason has a window of its own"
    assert not floods.passes(A, "error", 29.0)
    assert floods.next_end == 30
    assert floods.ended(29.9) == []
    assert floods.ended(31.0) == [Held(A, "error", 2, 31.0)]
    assert floods.passes(A, "warning", 31.0), "a new window"


def test_a_window_that_held_nothing_back_ends_without_a_word() -> None:
    floods = Floods(first=2, seconds=30)
    assert floods.passes(A, "info", 0.0)
    assert floods.next_end is None
    assert floods.ended(30.0) == []
    assert len(floods) == 0


def test_ever_new_reasons_take_no_more_than_their_bound() -> None:
    """The oldest window makes room, and what it held back is told."""
    floods, told = Floods(first=1, seconds=1e9, most=3), []
    for number in range(100):
        for _ in range(2):
            told += floods.ended(0.0)
            floods.passes(("a", str(number)), "info", 0.0)
            assert len(floods) <= 3
    assert sum(held.lines for held in told + floods.flush(0.0)) == 100


@given(LINES, st.integers(1, 4), st.integers(1, 6), st.floats(1, 60))
def test_every_line_is_written_or_told_of_once(
    lines: list[tuple[float, LineKind]], first: int, most: int, seconds: float
) -> None:
    floods, now = Floods(first, seconds, most), 0.0
    came, passed, told = Counter[LineKind](), Counter[LineKind](), Counter[LineKind]()

    def tell(held: list[Held]) -> None:
        for each in held:
            assert each.lines > 0
            told[each.kind] += each.lines

    for pause, kind in lines:
        now += pause
        tell(floods.ended(now))
        came[kind] += 1
        passed[kind] += floods.passes(kind, "info", now)
        assert len(floods) <= most
    tell(floods.flush(now))
    assert passed + told == came
    assert floods.next_end is None


@given(LINES, st.integers(1, 4))
def test_no_window_lets_more_than_its_few_through(lines: list[tuple[float, LineKind]], first: int) -> None:
    floods, now, seconds = Floods(first, 20.0, most=1000), 0.0, 20.0
    times: dict[LineKind, list[float]] = {}
    for pause, kind in lines:
        now += pause
        floods.ended(now)
        if floods.passes(kind, "info", now):
            times.setdefault(kind, []).append(now)
    for passed in times.values():
        for earlier, later in zip(passed, passed[2 * first :], strict=False):
            assert later - earlier >= seconds, "two windows' worth take longer than one"
