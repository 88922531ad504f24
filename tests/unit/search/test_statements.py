"""Statements are put together of constants; what a caller gave is bound, and never stands in them."""

import re
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from orders.search.criteria import END, FIRST, Criteria, Exact, Field, Range, Time
from orders.search.cursor import Direction, Position
from orders.search.paging import Walk
from orders.search.statements import DOCUMENT, NOTHING, SUMMARY, Question, anywhere, bodies, estimated, page

MARK = "qx7'); drop table orders; --%(value)s {payload}"
FIELDS = [field for field in get_args(Field) if field != "q"]
EXACT: tuple[Exact, ...] = get_args(Exact)
payloads = st.sampled_from([DOCUMENT, SUMMARY, NOTHING])
directions: st.SearchStrategy[Direction] = st.sampled_from(["next", "prev"])


def is_bound(asked: Question) -> bool:
    """Whether each value has its placeholder, and nothing else of it is there."""
    used = set(re.findall(r"%\((\w+)\)s", asked.sql))
    assert used <= set(asked.values), "each placeholder has a value"
    assert "{" not in asked.sql
    assert asked.sql.count("%") == len(re.findall(r"%\(\w+\)s", asked.sql))
    return "qx7" not in asked.sql and not re.search("98765", asked.sql)


@st.composite
def criteria(draw: st.DrawFn) -> Criteria:
    by: Time = draw(st.sampled_from(["created", "received"]))
    until = draw(st.sampled_from([END, 98765]))
    return Criteria(draw(st.none() | st.sampled_from(FIELDS)), MARK, draw(st.none() | st.just(Range(by, FIRST, until))))


@given(criteria(), payloads, directions, st.booleans(), st.integers(1, 200))
def test_a_page_binds_what_was_given(
    wanted: Criteria, payload: str, direction: Direction, continued: bool, limit: int
) -> None:
    key = "qx7" if wanted.field == "name_prefix" else 98765 if wanted.range else None
    walk = Walk(direction, Position(98765, MARK, key) if continued else None, limit)
    asked = page(wanted, payload, walk)
    assert is_bound(asked)
    assert limit < asked.values["candidates"] <= 201
    assert is_bound(estimated(wanted))


@given(st.sets(st.sampled_from(EXACT), min_size=1), payloads, directions, st.booleans())
def test_a_search_of_anything_binds_what_was_given(
    fields: set[Exact], payload: str, direction: Direction, continued: bool
) -> None:
    walk = Walk(direction, Position(98765, MARK) if continued else None, 50)
    asked = anywhere(MARK, sorted(fields), payload, walk)
    assert is_bound(asked)
    terms = fields - {"order_uid"}
    own = len(terms & {"transaction"})
    assert asked.sql.count("limit %(candidates)s") == 2 * len(terms) + own + 1, "each part is bounded, and all of them"


def test_a_lookup_binds_what_was_given() -> None:
    asked = bodies([MARK], DOCUMENT, 98765)
    assert is_bound(asked)
    assert asked.values == {"uids": [MARK], "bytes": 98765}


def test_more_rows_are_looked_at_where_some_may_not_fit() -> None:
    """Beside an equality, a range; of a value as long as the keys of the index, those that begin like it."""
    within = Range("created", FIRST, END)
    most = {
        name: page(wanted, DOCUMENT, Walk("next", None, 5)).values["candidates"]
        for name, wanted in {
            "all": Criteria(),
            "range": Criteria(range=within),
            "equality": Criteria("email", "a"),
            "both": Criteria("email", "a", within),
            "long": Criteria("email", "a" * 64),
            "long prefix": Criteria("name_prefix", "a" * 64),
        }.items()
    }
    assert most == {"all": 6, "range": 6, "equality": 6, "both": 100, "long": 100, "long prefix": 100}
