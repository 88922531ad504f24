"""The dashboard and the alert rules speak of metrics that there are, and every alert has its section in the runbook."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest

from orders.api.health import Purpose
from orders.api.request_metrics import SERVE_TABLE
from orders.metrics.kinds import Definition, Histogram
from orders.metrics.table import IngestState
from orders.readiness import ReadinessParts
from support.alerts import CASES, rules
from support.promql import Matcher, grouped, selectors
from tools import dashboard

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads(dashboard.FILE.read_text())
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
RULES = rules()
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
METRICS = {metric.name: metric for metric in SERVE_TABLE}
OUTSIDE = {"job", "instance"}
"""Labels that Prometheus gives to what it scrapes."""
FIXED = {
    "orders_ready": {"part": ReadinessParts.__struct_fields__},
    "orders_ready_for": {"purpose": get_args(Purpose)},
    "orders_ingests": {"state": get_args(IngestState)},
}
"""Values of gauges' labels, which the table does not have."""
UNUSED: dict[str, str] = {}
"""Metrics that no panel shows, each with the reason."""

EVENT = re.compile(r"`([a-z]+_[a-z_]+)`")

EXPRESSIONS = [(p["title"], target["expr"]) for p in PANELS for target in p["targets"]]
EXPRESSIONS += [(rule["alert"], rule["expr"]) for rule in RULES]


def metric_of(name: str) -> Definition | None:
    """The metric of the table that a series belongs to; `up` is Prometheus' own."""
    if isinstance(METRICS.get(name), Histogram):
        return None  # it has no series of its own name
    base = re.sub("_(bucket|count|sum)$", "", name)
    return METRICS.get(name) or (METRICS[base] if isinstance(METRICS.get(base), Histogram) else None)


def labels_of(name: str) -> dict[str, tuple[str, ...]]:
    """Labels of a series, with their values where they are known."""
    metric = metric_of(name)
    assert metric or name == "up", f"{name} is no metric of the service"
    own = dict(metric.labels) | FIXED.get(name, {}) if metric else {}
    return own | dict.fromkeys(OUTSIDE, ()) | ({"le": ()} if name.endswith("_bucket") else {})


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_metrics_labels_and_values_are_there(where: str, expression: str) -> None:
    """Each metric, each label that is matched or grouped by, and each value that a label is compared with."""
    assert where
    named = list(selectors(expression))
    assert named
    labels = [labels_of(each.metric) for each in named]
    for selector, known in zip(named, labels, strict=True):
        for matcher in selector.matchers:
            assert matcher.label in known, f"{selector.metric} has no label {matcher.label}"
            assert is_possible(matcher, known[matcher.label]), matcher
    assert grouped(expression) <= set().union(*labels)


def is_possible(matcher: Matcher, values: tuple[str, ...]) -> bool:
    """Whether a matcher takes one of a label's values; what is not known beforehand, or a choice, may be."""
    if not values or "$" in matcher.value:
        return True
    pattern = re.escape(matcher.value) if matcher.operator in {"=", "!="} else matcher.value
    return any(re.fullmatch(pattern, value) for value in values)


def test_every_metric_is_shown_or_its_absence_has_a_reason() -> None:
    shown = {metric_of(each.metric) for p in PANELS for t in p["targets"] for each in selectors(t["expr"])}
    assert {metric.name for metric in SERVE_TABLE if metric not in shown} == set(UNUSED)


# ---- the dashboard ----


def test_the_file_is_what_the_tool_writes() -> None:
    assert dashboard.FILE.read_text() == dashboard.text(), "run `python -m tools.dashboard`"


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    numbers = [each["id"] for each in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    for one, other in combinations(DASHBOARD["panels"], 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in DASHBOARD["panels"])


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[at] < other[at] + other[of] and other[at] < one[at] + one[of] for at, of in (("x", "w"), ("y", "h")))


@pytest.mark.parametrize("panel", PANELS, ids=lambda p: p["title"])
def test_a_panel_says_what_it_shows_and_asks_the_chosen_source_for_the_chosen_machines(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert re.match(r"[A-Z0-9`][^\n]+\.", panel["description"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for place in (panel, *panel["targets"]):
        assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    chosen = {Matcher("job", "=~", "$job"), Matcher("instance", "=~", "$instance")}
    assert all(chosen <= set(each.matchers) for t in panel["targets"] for each in selectors(t["expr"]))


def test_counts_are_added_up_and_what_all_machines_tell_the_same_of_the_topic_is_not() -> None:
    """Else two machines would show twice the lag."""
    for title, expression in EXPRESSIONS:
        names = [each.metric for each in selectors(expression)]
        if any(METRICS.get(name) and "partition" in METRICS[name].labels for name in names):
            assert "sum" not in expression, title
        elif any("rate(" in expression and name.endswith("_total") for name in names) and title in titles():
            assert "sum" in expression, title


def titles() -> set[str]:
    return {panel["title"] for panel in PANELS}


def test_the_variables_choose_the_source_then_the_job_then_the_machine() -> None:
    names = [each["name"] for each in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance"]


def test_panels_name_only_alerts_that_there_are_and_every_alert_is_named() -> None:
    named = {name for p in PANELS for name in re.findall(r"\bOrders[A-Z]\w+", p["description"])}
    assert named == {rule["alert"] for rule in RULES}


# ---- the alerts and the runbook ----


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_texts_and_its_section(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_a_metric_names_the_alerts_on_it_and_none_that_there_is_not() -> None:
    """Whoever reads what to do about it is led to the runbook."""
    named = {metric.name: set(re.findall(r"\bOrders[A-Z]\w+", metric.action)) for metric in SERVE_TABLE}
    assert set().union(*named.values()) <= {rule["alert"] for rule in RULES}
    for rule in RULES:
        for metric in filter(None, (metric_of(each.metric) for each in selectors(rule["expr"]))):
            assert rule["alert"] in named[metric.name], metric.name


def test_the_metrics_and_commands_that_a_metric_names_are_there() -> None:
    text = " ".join(metric.action for metric in SERVE_TABLE)
    assert set(re.findall(r"`((?:orders|http|messaging)_\w+)`", text)) <= METRICS.keys()
    known = (ROOT / "docs/commands.md").read_text()
    for command in re.findall(r"`\./orders ([a-z -]+)`", text):
        assert f"## orders {command}\n" in known, command
    assert set(re.findall(r"ORDERS_\w+", text)) <= set(
        re.findall(r"ORDERS_\w+", (ROOT / "docs/settings.md").read_text())
    )


def test_the_runbook_has_a_section_for_each_alert_in_their_order_and_no_other() -> None:
    assert re.findall(r"^## (.*)$", RUNBOOK, re.MULTILINE) == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("section", RUNBOOK.split("\n## ")[1:], ids=lambda text: text.partition("\n")[0])
def test_a_section_says_what_is_affected_what_to_look_at_and_what_to_do(section: str) -> None:
    assert re.findall(r"^\*\*(.*?)\*\*", section, re.MULTILINE) == [
        "Meaning.",
        "Affected.",
        "Not affected.",
        "Look.",
        "Do.",
        "Ends.",
    ]


def test_the_runbooks_log_events_are_there() -> None:
    """Words in code that follow "event" in a sentence."""
    told = {name for line in re.findall(r"[Ee]vents? [^.]*|events: [^.]*", RUNBOOK) for name in EVENT.findall(line)}
    source = "".join(path.read_text() for path in (ROOT / "src/orders").rglob("*.py"))
    assert told
    assert {name for name in told if not re.search(rf'log\.\w+\(\s*"{name}"', source)} == set()


def commands() -> Iterator[str]:
    """Commands of ours that the runbook gives."""
    yield from re.findall(r"^\./orders ([a-z-]+(?: [a-z]+)?)", RUNBOOK, re.MULTILINE)


def test_the_runbooks_commands_and_links_are_there() -> None:
    known = (ROOT / "docs/commands.md").read_text()
    assert set(commands())
    for command in commands():
        assert f"## orders {command}\n" in known, command
    for page, anchor in re.findall(r"\]\(([a-z]*\.?m?d?)(?:#([a-z0-9-]+))?\)", RUNBOOK):
        text = (ROOT / "docs" / page).read_text() if page else RUNBOOK
        assert not anchor or anchor in anchors(text), (page, anchor)


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    wanted = {(rule["alert"], fires) for rule in RULES for fires in (True, False)}
    assert {(case.alert, bool(case.firing)) for case in CASES} == wanted
