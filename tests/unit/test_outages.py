"""Outages: each reason is news once in an outage, and each outage ends once."""

from hypothesis import given
from hypothesis import strategies as st

from orders.outages import MOST_REASONS, Outage

SEEN = st.lists(st.sampled_from(["", "PostgreSQL", "Kafka"]), max_size=20)
"""What was seen second by second: the reason of an outage, or none."""


@given(SEEN)
def test_each_reason_of_an_outage_is_news_once_and_its_end_has_its_length(seen: list[str]) -> None:
    """That from its beginning to its end, whatever its reasons were meanwhile."""
    now = 0.0
    outage = Outage(lambda: now)
    reasons, began = set[str](), 0.0
    for now, reason in enumerate(seen):
        if reason:
            began = began if reasons else now
            assert outage.is_news(reason) == (reason not in reasons)
            reasons.add(reason)
        else:
            assert outage.end() == (now - began if reasons else None)
            reasons.clear()


def test_ever_new_reasons_take_no_memory() -> None:
    outage = Outage()
    assert [outage.is_news(str(number)) for number in range(2 * MOST_REASONS)].count(True) == MOST_REASONS
    outage.end()
    assert outage.is_news("0")
