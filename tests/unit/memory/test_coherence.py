"""The rule of marks and floors, clause by clause, at its edges."""

from hypothesis import given
from hypothesis import strategies as st

from orders.deadlines import FRESH, LIFE
from orders.memory.coherence import (
    NO_FLOOR,
    Floor,
    View,
    has_marks,
    is_spent,
    marked,
    may_put,
    may_restore,
    pack,
    raised,
    time_of,
    unmarked,
    unpack,
)

times = st.floats(0, 1e9)
numbers = st.integers(0, 2**64 - 1)
floors = st.builds(Floor, numbers, times, st.dictionaries(numbers, times, max_size=3))
NOW = View(1000.0, emptied_at=900.0, restoring=False)


@given(floor=floors)
def test_a_floor_comes_back_from_its_bytes(floor: Floor) -> None:
    assert unpack(pack(floor)) == floor


@given(floor=floors)
def test_what_a_sweep_reads_of_the_bytes_is_what_they_say(floor: Floor) -> None:
    assert (time_of(pack(floor)), has_marks(pack(floor))) == (floor.time, bool(floor.marks))


def test_each_clause_alone_refuses_a_put() -> None:
    """One put that is allowed, and others that differ from it in one thing."""
    as_of, there = 990.0, 4
    assert may_put(5, as_of, there, NO_FLOOR, NOW)
    assert not may_put(5, NOW.now - FRESH, there, NO_FLOOR, NOW)
    assert not may_put(5, 900.0, there, NO_FLOOR, NOW._replace(now=901.0))
    assert not may_put(5, as_of, there, marked(NO_FLOOR, 7, NOW), NOW)
    assert not may_put(5, as_of, there, raised(NO_FLOOR, 6, NOW), NOW)
    assert not may_put(5, as_of, 5, NO_FLOOR, NOW)
    assert not may_put(5, as_of, there, NO_FLOOR, NOW._replace(sealed=True))


def test_a_restore_is_bound_to_its_emptying_instead_of_the_clock() -> None:
    late = NOW._replace(now=9999.0, restoring=True)
    assert may_restore(5, 900.0, 0, NO_FLOOR, late)
    assert not may_restore(5, 899.0, 0, NO_FLOOR, late)
    assert not may_restore(5, 900.0, 0, marked(NO_FLOOR, 7, NOW), late)
    assert not may_restore(5, 900.0, 0, raised(NO_FLOOR, 6, NOW), late)


def test_a_mark_outlasts_every_read_that_began_before_its_commit() -> None:
    """Marked, committed at the last moment, and then the ingest died: the latest put of an old read comes in time."""
    floor = marked(NO_FLOOR, 7, NOW)
    last_read = NOW.now + FRESH
    latest = NOW._replace(now=last_read + FRESH)
    assert latest.now <= NOW.now + LIFE
    assert not may_put(5, last_read + 0.001, 0, floor, latest)


@given(floor=floors, writer=numbers, other=numbers)
def test_a_writer_takes_away_its_own_mark_only(floor: Floor, writer: int, other: int) -> None:
    both = marked(marked(floor, other, NOW), writer, NOW)
    assert (other in unmarked(both, writer).marks) == (other != writer)


@given(version=st.integers(1, 100), then=st.integers(1, 100), passed=st.floats(0, 2 * LIFE))
def test_a_floor_never_falls_before_it_expires(version: int, then: int, passed: float) -> None:
    later = NOW._replace(now=NOW.now + passed)
    expected = then if passed > LIFE else max(version, then)
    assert raised(raised(NO_FLOOR, version, NOW), then, later).version == expected


def test_a_floor_is_spent_when_neither_it_nor_a_mark_holds() -> None:
    floor = marked(raised(NO_FLOOR, 5, NOW), 7, NOW._replace(now=1010.0))
    ages = [is_spent(floor, NOW._replace(now=now)) for now in (1060.0, 1061.0, 1070.0, 1071.0)]
    assert ages == [False, False, False, True]
    assert not is_spent(floor, NOW._replace(now=5000.0, restoring=True))
