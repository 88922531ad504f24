"""What is said in the end: lines for a person, one object for programs."""

from pathlib import Path

import msgspec
import pytest

from orders.verify.findings import DIFFERENCES, UNJUDGED, Findings
from orders.verify.report import Compared, report, text


def test_a_person_reads_the_first_differences_then_the_numbers() -> None:
    findings = Findings(2)
    findings.differ("missing", order_uid="b563", place=(1, 7))
    findings.differ("dead letter differs", place=(0, 3), fields=("key", "value"))
    findings.differ("missing", order_uid="c1")
    findings.leave("retention")
    assert text(report("orders", Compared(1200, 1000, 2, None), findings)).splitlines() == [
        "missing: b563, partition 1 offset 7: the topic has this order, PostgreSQL has not",
        "dead letter differs: partition 0 offset 3: the dead letter is not what the record holds (key, value)",
        "and 1 more; --limit shows more",
        "not judged: 1 came from records that retention has removed",
        "compared: 1,200 records of orders with 1,000 orders and 2 dead letters in PostgreSQL; no memory",
        "3 differences: 1 dead letter differs, 2 missing",
    ]


def test_programs_read_the_same_as_one_object() -> None:
    findings = Findings(1)
    findings.differ("content", order_uid="b563", place=(1, 7))
    assert msgspec.json.decode(msgspec.json.encode(report("orders", Compared(3, 2, 1, 2), findings))) == {
        "topic": "orders",
        "same": False,
        "compared": {"records": 3, "orders": 2, "dead_letters": 1, "memory": 2},
        "differences": {"content": 1},
        "unjudged": {},
        "shown": [{"kind": "content", "order_uid": "b563", "partition": 1, "offset": 7}],
        "in_several_partitions": 0,
        "spread": [],
    }


def test_orders_in_several_partitions_are_listed_and_are_no_difference() -> None:
    """Whether the topic grew in time nobody can tell from the records: a person looks at them."""
    findings = Findings(1)
    findings.spreads("b563", (0, 4))
    findings.spreads("c1", (1, 5))
    found = report("orders", Compared(4, 2, 0, None), findings)
    assert (found.same, found.in_several_partitions, [each.partitions for each in found.spread]) == (True, 2, [(0, 4)])
    first, numbers, *_ = text(found).splitlines()
    assert first == "in several partitions: b563: 0, 4"
    assert numbers.startswith("in several partitions: 2 orders, of which Kafka does not say which record is the last")


def test_a_uid_that_no_record_can_have_does_no_harm_to_a_terminal() -> None:
    findings = Findings(1)
    findings.differ("unsent", order_uid="\x1b[2J\n")
    said = text(report("orders", Compared(0, 1, 0, None), findings))
    assert "\x1b" not in said
    assert said.count("\n") == 2


def test_no_kind_of_difference_is_also_a_reason_not_to_judge() -> None:
    assert not DIFFERENCES.keys() & UNJUDGED.keys()


@pytest.mark.parametrize("name", [*DIFFERENCES, *UNJUDGED])
def test_each_name_is_explained_to_who_operates_it(name: str) -> None:
    page = Path(__file__).parents[3] / "docs/operations.md"
    assert any(line.startswith("|") and f"`{name}`" in line.split("|")[1] for line in page.read_text().splitlines())
