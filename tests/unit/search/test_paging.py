"""A page is cut from what was read, and says where the list continues: against a list in plain Python."""

from hypothesis import given
from hypothesis import strategies as st

from orders.search.cursor import Direction, Position
from orders.search.paging import Candidate, Part, Walk, cut, ends

fitting = st.lists(st.booleans(), max_size=12)


def rows(fits: list[bool], *, large: frozenset[int] = frozenset()) -> list[Candidate]:
    """The list, newest first: each with the number of its place from 0; a page ends before one that is `large`."""
    total = len(fits)
    return [
        Candidate(Position(total - n, f"u{n}"), each, None if n in large else str(n)) for n, each in enumerate(fits)
    ]


@given(fitting, st.integers(1, 4), st.integers(0, 4))
def test_the_pages_of_a_walk_have_each_row_that_fits_once(fits: list[bool], limit: int, more: int) -> None:
    """However few rows are looked at for a page, and the walk ends."""
    table, most = rows(fits), limit + 1 + more
    seen: list[str | None] = []
    begin, turns = 0, 0
    while True:
        part = cut(table[begin : begin + most], limit, most)
        assert len(part.rows) <= limit
        seen += [each.payload for each in part.rows]
        if not part.continues:
            break
        assert part.last
        begin = 1 + [each.position for each in table].index(part.last)
        turns += 1
        assert turns <= len(table)
    assert seen == [each.payload for each in table if each.fits]


@given(fitting, st.integers(1, 4), st.sets(st.integers(1, 11)))
def test_a_page_ends_before_a_row_that_is_too_large_for_it(fits: list[bool], limit: int, large: set[int]) -> None:
    part = cut(rows(fits, large=frozenset(large)), limit, 100)
    expected: list[int] = []
    for number, fit in enumerate(fits):
        if fit and (number in large or len(expected) == limit):
            assert part.continues
            break
        expected += [number] * fit
    else:
        assert not part.continues
    assert [each.payload for each in part.rows] == [str(number) for number in expected]


def test_nothing_was_read() -> None:
    assert cut([], 3, 4) == Part([], None, None, continues=False)


A, B, C = Position(3, "a"), Position(2, "b"), Position(1, "c")


def part(first: Position | None, last: Position | None, *, continues: bool) -> Part:
    return Part([], first, last, continues)


def test_a_first_page_continues_to_the_end_alone() -> None:
    assert ends(Walk("next", None, 1), part(A, B, continues=True), ascending=False) == (None, B)
    assert ends(Walk("next", None, 1), part(A, B, continues=False), ascending=False) == (None, None)


def test_a_page_behind_another_continues_to_both_sides() -> None:
    assert ends(Walk("next", A, 1), part(B, C, continues=True), ascending=False) == (B, C)
    assert ends(Walk("next", A, 1), part(B, C, continues=False), ascending=False) == (B, None)


def test_a_page_before_another_was_read_from_its_end() -> None:
    assert ends(Walk("prev", C, 1), part(B, A, continues=True), ascending=True) == (A, B)
    assert ends(Walk("prev", C, 1), part(B, A, continues=False), ascending=True) == (None, B)


@given(st.sampled_from(["next", "prev"]), st.booleans(), st.sampled_from(["a", "a~", "b"]), st.booleans())
def test_from_a_page_without_rows_the_way_back_has_the_row_that_led_to_it(
    direction: Direction, ascending: bool, uid: str, continues: bool
) -> None:
    """And all behind it in that direction, of which there were none."""
    after = Position(1, uid)
    before, behind = ends(Walk(direction, after, 1), part(None, None, continues=continues), ascending=ascending)
    back = before if direction == "next" else behind
    assert back
    here, there = (after.id, after.order_uid), (back.id, back.order_uid)
    assert here < there if ascending else here > there
