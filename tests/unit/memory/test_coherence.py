"""The rule of fences and minimum versions, clause by clause, at its edges."""

from hypothesis import given
from hypothesis import strategies as st

from orders.deadlines import FRESH, LIFE
from orders.memory.coherence import (
    UNRESTRICTED,
    MemoryView,
    Restriction,
    fenced,
    has_fences,
    is_spent,
    may_put,
    may_restore,
    pack,
    raised,
    time_of,
    unfenced,
    unpack,
)

times = st.floats(0, 1e9)
numbers = st.integers(0, 2**64 - 1)
restrictions = st.builds(Restriction, numbers, times, st.dictionaries(numbers, times, max_size=3))
NOW = MemoryView(1000.0, emptied_at=900.0, restoring=False)


@given(restriction=restrictions)
def test_a_restriction_comes_back_from_its_bytes(restriction: Restriction) -> None:
    assert unpack(pack(restriction)) == restriction


@given(restriction=restrictions)
def test_what_a_sweep_reads_of_the_bytes_is_what_they_say(restriction: Restriction) -> None:
    assert (time_of(pack(restriction)), has_fences(pack(restriction))) == (restriction.time, bool(restriction.fences))


def test_each_clause_alone_refuses_a_put() -> None:
    """One put that is allowed, and others that differ from it in one thing."""
    as_of, there = 990.0, 4
    assert may_put(5, as_of, there, UNRESTRICTED, NOW)
    assert not may_put(5, NOW.now - FRESH, there, UNRESTRICTED, NOW)
    assert not may_put(5, 900.0, there, UNRESTRICTED, NOW._replace(now=901.0))
    assert not may_put(5, as_of, there, fenced(UNRESTRICTED, 7, NOW), NOW)
    assert not may_put(5, as_of, there, raised(UNRESTRICTED, 6, NOW), NOW)
    assert not may_put(5, as_of, 5, UNRESTRICTED, NOW)
    assert not may_put(5, as_of, there, UNRESTRICTED, NOW._replace(sealed=True))


def test_a_restore_is_bound_to_its_emptying_instead_of_the_clock() -> None:
    late = NOW._replace(now=9999.0, restoring=True)
    assert may_restore(5, 900.0, 0, UNRESTRICTED, late)
    assert not may_restore(5, 899.0, 0, UNRESTRICTED, late)
    assert not may_restore(5, 900.0, 0, fenced(UNRESTRICTED, 7, NOW), late)
    assert not may_restore(5, 900.0, 0, raised(UNRESTRICTED, 6, NOW), late)


def test_a_fence_outlasts_every_read_that_began_before_its_commit() -> None:
    """Fenced, committed at the last moment, and then the ingest died: the latest put of an old read comes in time."""
    restriction = fenced(UNRESTRICTED, 7, NOW)
    last_read = NOW.now + FRESH
    latest = NOW._replace(now=last_read + FRESH)
    assert latest.now <= NOW.now + LIFE
    assert not may_put(5, last_read + 0.001, 0, restriction, latest)


@given(restriction=restrictions, writer=numbers, other=numbers)
def test_a_writer_takes_away_its_own_fence_only(restriction: Restriction, writer: int, other: int) -> None:
    both = fenced(fenced(restriction, other, NOW), writer, NOW)
    assert (other in unfenced(both, writer).fences) == (other != writer)


@given(version=st.integers(1, 100), then=st.integers(1, 100), passed=st.floats(0, 2 * LIFE))
def test_a_minimum_version_never_falls_before_it_expires(version: int, then: int, passed: float) -> None:
    later = NOW._replace(now=NOW.now + passed)
    expected = then if passed > LIFE else max(version, then)
    assert raised(raised(UNRESTRICTED, version, NOW), then, later).version == expected


def test_a_restriction_is_spent_when_neither_it_nor_a_fence_holds() -> None:
    restriction = fenced(raised(UNRESTRICTED, 5, NOW), 7, NOW._replace(now=1010.0))
    ages = [is_spent(restriction, NOW._replace(now=now)) for now in (1060.0, 1061.0, 1070.0, 1071.0)]
    assert ages == [False, False, False, True]
    assert not is_spent(restriction, NOW._replace(now=5000.0, restoring=True))
