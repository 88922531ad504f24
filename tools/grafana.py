"""The dashboard as Grafana has it: places and numbers of the panels, and what all of them share."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

SCHEMA = 42
"""Of Grafana 12.2."""
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF = 'job=~"$job", instance=~"$instance"'
"""What `OF` stands for in the braces of an expression: the choice of the dashboard's variables."""

Kind = Literal["timeseries", "stat", "table"]
Step = tuple[float | None, str]


class Query(NamedTuple):
    """An expression and how its series are called in the legend."""

    expr: str
    legend: str = "__auto"


class Panel(NamedTuple):
    """One panel; `alerts` are the sections of the runbook that belong to it."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    steps: Sequence[Step] = ((None, "green"),)
    limits: bool = False
    """Whether the steps are drawn as lines."""
    alerts: Sequence[str] = ()
    stacked: bool = False
    most: float | None = None
    words: tuple[tuple[str, str], ...] = ()
    """What is shown instead of a value."""


class Row(NamedTuple):
    title: str
    panels: Sequence[Panel]


def dashboard(uid: str, title: str, about: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The whole dashboard."""
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": [uid],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "refresh": "30s",
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": variables()},
        "panels": list(panels(rows)),
    }


def variables() -> list[dict[str, Any]]:
    """The data source, and what is shown of it; Grafana fills in the choices."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": ""}
    return [
        source | {"refresh": 1, "hide": 0, "includeAll": False, "multi": False, "options": []},
        variable("job", "Job", "label_values(orders_build_info, job)"),
        variable("instance", "Instance", 'label_values(orders_build_info{job=~"$job"}, instance)'),
    ]


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"qryType": 1, "query": query, "refId": f"{name}-values"},
        "refresh": 2,  # at each change of the time range
        "sort": 1,
        "regex": "",
        "hide": 0,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def panels(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Rows and their panels with numbers and places: from left to right, and again where a line is full."""
    number, top = 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        left, top, line = 0, top + 1, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, line = 0, top + line, 0
            number += 1
            yield shaped(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, line = left + panel.width, max(line, panel.height)
        top += line


def shaped(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """One panel."""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": described(panel),
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": field(panel), "overrides": []},
        "options": OPTIONS[panel.kind],
        "targets": [target(panel, query, chr(ord("A") + n)) for n, query in enumerate(panel.queries)],
    } | ({"transformations": [COLUMNS_OF_A_TABLE]} if panel.kind == "table" else {})


def described(panel: Panel) -> str:
    """What it shows, and where the runbook says what to do."""
    if not panel.alerts:
        return panel.about
    return f"{panel.about}\n\nWhat to do: docs/runbook.md, {', '.join(panel.alerts)}."


def field(panel: Panel) -> dict[str, Any]:
    steps = [{"color": color, "value": value} for value, color in panel.steps]
    coloured = {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"}
    found: dict[str, Any] = {"unit": panel.unit, "color": coloured, "thresholds": {"mode": "absolute", "steps": steps}}
    found["mappings"] = [
        {"type": "value", "options": {value: {"index": n, "text": text}}} for n, (value, text) in enumerate(panel.words)
    ]
    if panel.kind == "timeseries":
        found |= {"min": 0, "custom": drawn(panel)}
    return found | ({"max": panel.most} if panel.most is not None else {})


def drawn(panel: Panel) -> dict[str, Any]:
    """How lines are drawn; thresholds as lines where there are any."""
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
    }


OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "table": {"showHeader": True},
}
COLUMNS_OF_A_TABLE = {
    "id": "filterFieldsByName",
    "options": {"include": {"names": ["instance", "version", "python"]}},
}


def target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    now = panel.kind == "table"
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": query.expr.replace("{OF", f"{{{OF}"),
        "legendFormat": query.legend,
        "range": not now,
        "instant": now,
    } | ({"format": "table"} if now else {})
