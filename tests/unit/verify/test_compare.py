"""Replays of dead letters, as verification sees them in the topic."""

import msgspec
import pytest

from orders import sample
from orders.record import REPLAY_HEADER, Record, Replay, Span
from orders.verify.compare import Comparison
from orders.verify.dead_letters import place_key
from orders.verify.findings import Findings
from orders.verify.history import Ground, TopicExtent
from orders.verify.scratch import scratch

REPLAY = msgspec.json.encode(Replay(topic_id="topic-1", partition=0, offset=0, attempt="0" * 32))
HEADERS = ((REPLAY_HEADER, REPLAY),)
ORDER = next(iter(sample.samples(1, 0)))
TOPIC = TopicExtent({0: Ground(0, 2, 2)})


@pytest.mark.parametrize(
    ("value", "unjudged"),
    [(b"{", {"replays": 1}), (ORDER, {})],
)
def test_what_became_of_a_replay_is_not_judged_by_the_topic_alone(value: bytes, unjudged: dict[str, int]) -> None:
    """Where it is invalid it makes no second dead letter; else it may have met a newer order, deleted since."""
    findings = Findings(10)
    with scratch() as room:
        comparison = Comparison(room, findings, {})
        comparison.take(Record(0, 0, None, b"k", value, HEADERS))
        comparison.judge(TOPIC, lambda _: None)
    assert (dict(findings.differences), dict(findings.unjudged)) == ({}, unjudged)


def test_an_order_whose_records_lie_in_several_partitions_is_noted() -> None:
    findings = Findings(10)
    uid = msgspec.json.decode(ORDER)["order_uid"]
    with scratch() as room:
        comparison = Comparison(room, findings, {})
        for partition in (5, 0, 5):
            comparison.take(Record(partition, 0, None, uid.encode(), ORDER))
        comparison.judge(TopicExtent({0: Ground(0, 1, 1), 5: Ground(0, 2, 2)}), lambda _: None)
    assert [(each.order_uid, each.partitions) for each in findings.spread] == [(uid, (0, 5))]


@pytest.mark.parametrize(
    ("value", "outcome", "differences"),
    [(ORDER, b"created", {"missing": 1}), (ORDER, b"conflict", {}), (b"{", b"refused", {})],
)
def test_where_the_outcome_of_a_replay_was_kept_it_is_judged_by_that(
    value: bytes, outcome: bytes, differences: dict[str, int]
) -> None:
    findings = Findings(10)
    with scratch() as room:
        room.tree("replays").put(place_key(0, 0), outcome)
        comparison = Comparison(room, findings, {})
        comparison.take(Record(0, 0, None, b"k", value, HEADERS))
        comparison.judge(TOPIC, lambda _: None)
    assert (dict(findings.differences), dict(findings.unjudged)) == (differences, {})


@pytest.mark.parametrize(
    ("offset", "differences", "unjudged"), [(0, {"dead letter missing": 1}, {}), (1, {}, {"skipped": 1})]
)
def test_an_invalid_record_that_was_skipped_needs_no_dead_letter(
    offset: int, differences: dict[str, int], unjudged: dict[str, int]
) -> None:
    findings = Findings(10)
    with scratch() as room:
        Comparison(room, findings, {0: [Span(1, 2)]}).take(Record(0, offset, None, b"k", b"{"))
    assert (dict(findings.differences), dict(findings.unjudged)) == (differences, unjudged)
