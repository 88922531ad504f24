"""How long requests took: each answer counts once, in its own row or, where it is not declared, in a catch-all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.http.durations import Durations, unread
from orders.metrics.kinds import Layout, Values
from orders.metrics.table import LAYOUT, Request, http_seconds
from support.metrics import counted

SECONDS = http_seconds(
    [
        ("GET", "/a", "200"),
        ("HEAD", "/a", "200"),
        ("POST", "/b", "201"),
        ("_OTHER", "/a", "204"),
        ("_OTHER", "/a", "_OTHER"),
        ("_OTHER", "/b", "_OTHER"),
        ("GET", "unmatched", "404"),
        ("_OTHER", "unmatched", "404"),
        ("_OTHER", "unmatched", "_OTHER"),
    ]
)


def made() -> Durations:
    return Durations(SECONDS, Values(Layout([SECONDS], LAYOUT)))


def rows(durations: Durations) -> list[Request]:
    """Method, route and status of what was counted."""
    cells, begin = durations.values.cells, durations.values.layout.begins[SECONDS.name]
    counts = [
        sum(cells[begin + n * SECONDS.width : begin + (n + 1) * SECONDS.width - 1]) for n in SECONDS.rows.values()
    ]
    return [row for row, count in zip(SECONDS.rows, counts, strict=True) for _ in range(int(count))]


@pytest.mark.parametrize(
    ("method", "route", "status", "row"),
    [
        ("GET", "/a", 200, ("GET", "/a", "200")),
        ("HEAD", "/a", 200, ("HEAD", "/a", "200")),
        ("POST", "/b", 201, ("POST", "/b", "201")),
        ("GET", "/nowhere", 404, ("GET", "unmatched", "404")),
        ("OPTIONS", "/a", 204, ("_OTHER", "/a", "204")),
        ("BREW", "unmatched", 404, ("_OTHER", "unmatched", "404")),
        ("GET", "/a", 418, ("_OTHER", "/a", "_OTHER")),
        ("POST", "/b", 200, ("_OTHER", "/b", "_OTHER")),
        ("BREW", "/nowhere", 418, ("_OTHER", "unmatched", "_OTHER")),
    ],
)
def test_an_answer_counts_in_its_row_or_in_that_of_other_methods_or_in_the_catch_all(
    method: str, route: str, status: int, row: Request
) -> None:
    """Of its route, if that is known."""
    durations = made()
    durations.observe(method, route, status, 0.003)
    assert rows(durations) == [row]
    assert durations.place(method, route, status) == durations.values.layout.place(SECONDS, row)


METHODS = st.sampled_from(["GET", "HEAD", "POST", "_OTHER"]) | st.text()
ROUTES = st.sampled_from(["/a", "/b", "unmatched"]) | st.text()


@given(st.lists(st.tuples(METHODS, ROUTES, st.integers(100, 999), st.floats(0, 100))))
def test_whatever_is_answered_is_counted_once(answers: list[tuple[str, str, int, float]]) -> None:
    """Nothing raises, and nothing is lost."""
    durations = made()
    for answer in answers:
        durations.observe(*answer)
    assert len(rows(durations)) == len(answers)


def test_where_nobody_reads_anything_may_be_counted() -> None:
    durations = unread()
    durations.observe("GET", "/a", 200, 0.1)
    assert counted(durations.values)
