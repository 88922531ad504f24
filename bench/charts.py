"""Charts of a run as small SVG files: horizontal bars with their values, readable on light and dark pages.

Drawn here: a chart is a dozen rectangles and texts. A plotting library would bring NumPy along, and writes files of
ten times the size that cannot follow the reader's colour scheme.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from bench.contest import Figure, Outcome
from bench.measure import Spread, spread
from bench.report import Run

SHOWN: Mapping[str, Sequence[str]] = {
    "ingest": ["rate"],
    "get": ["cpu"],
    "restore": ["rate"],
    "latency": ["p50", "p99"],
    "single": ["p50", "p99"],
}
"""Which figures of which contest have a chart."""
WIDTH = 760
MARGIN = 16
LABELS = 345
"""Where bars begin: room for the longest name."""
VALUES = 90
"""Room for the value after the longest bar."""
TOP, ROW, BAR, FOOT = 66, 30, 18, 34
STYLE = (
    ".page{fill:#ffffff;stroke:#d0d7de}"
    'text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}'
    ".title{font-size:15px;font-weight:600}.small{font-size:12px;fill:#59636e}"
    ".ours{fill:#2563eb}.other{fill:#9aa4b2}.range{stroke:#1f2328;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){.page{fill:#0d1117;stroke:#3d444d}text{fill:#f0f6fc}.small{fill:#9198a1}"
    ".ours{fill:#60a5fa}.other{fill:#656c76}.range{stroke:#f0f6fc}}"
)


class Bar(NamedTuple):
    """One bar with the value written after it; `ours` stands out."""

    label: str
    value: Spread
    written: str
    ours: bool


class Chart(NamedTuple):
    """What is compared, what is better, and how it was measured."""

    title: str
    subtitle: str
    bars: Sequence[Bar]
    foot: str


def charts(run: Run) -> dict[str, bytes]:
    """The charts of a run by name."""
    drawn = [outcome for outcome in run.outcomes if outcome.name in SHOWN]
    return {outcome.name: draw(chart_of(outcome, run)) for outcome in drawn}


def chart_of(outcome: Outcome, run: Run) -> Chart:
    """A contest's chart."""
    figures = [figure for figure in outcome.figures if figure.name in SHOWN[outcome.name]]
    better = "more" if figures[0].more_is_better else "less"
    units = ", ".join(dict.fromkeys(figure.unit.partition(", ")[0] for figure in figures))
    made = f"{run.machine.get('cpu')}, {run.machine.get('cores')} cores; {run.date[:10]}"
    foot = f"median of {outcome.rounds}, and a line from the lowest to the highest; {made}"
    return Chart(outcome.title, f"{units}; {better} is better", bars_of(outcome, figures), foot)


def bars_of(outcome: Outcome, figures: Sequence[Figure]) -> list[Bar]:
    """A bar for each figure of each contestant."""
    others = {comparison.other for comparison in outcome.comparisons}
    bars = []
    for name in outcome.contestants:
        for figure in figures:
            value = spread(outcome.values(name, figure.name).values())
            label = f"{name}, {figure.name}" if len(figures) > 1 else name
            bars.append(Bar(label, value, f"{value.median:,.{figure.digits}f}", name not in others))
    return bars


def draw(chart: Chart) -> bytes:
    """The chart as SVG; its page has a colour of its own, for the reader's page may have any."""
    height = TOP + ROW * len(chart.bars) + FOOT
    box = {"viewBox": f"0 0 {WIDTH} {height}", "width": str(WIDTH), "height": str(height)}
    svg = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **box, "role": "img"})
    ET.SubElement(svg, "title").text = f"{chart.title}: {chart.subtitle}"
    ET.SubElement(svg, "style").text = STYLE
    place(svg, "rect", "page", x=0.5, y=0.5, width=WIDTH - 1, height=height - 1, rx=6)
    write(svg, chart.title, "title", MARGIN, 27)
    write(svg, chart.subtitle, "small", MARGIN, 47)
    scale = (WIDTH - LABELS - VALUES) / max(bar.value.high for bar in chart.bars)
    for number, bar in enumerate(chart.bars):
        draw_bar(svg, bar, TOP + ROW * number, scale)
    write(svg, chart.foot, "small", MARGIN, height - 13)
    return f"{ET.tostring(svg, encoding='unicode')}\n".encode()


def draw_bar(svg: ET.Element, bar: Bar, top: float, scale: float) -> None:
    """Name, bar, the line from lowest to highest, value."""
    low, high, middle = LABELS + bar.value.low * scale, LABELS + bar.value.high * scale, top + BAR / 2
    write(svg, bar.label, "", MARGIN, middle + 4)
    place(svg, "rect", "ours" if bar.ours else "other", x=LABELS, y=top, width=bar.value.median * scale, height=BAR)
    if high > low:
        place(svg, "line", "range", x1=low, y1=middle, x2=high, y2=middle)
    write(svg, bar.written, "", max(high, LABELS + bar.value.median * scale) + 6, middle + 4)


def place(svg: ET.Element, tag: str, kind: str, **numbers: float) -> ET.Element:
    """An element of a class, at a place."""
    places = {name: f"{number:.1f}".removesuffix(".0") for name, number in numbers.items()}
    return ET.SubElement(svg, tag, ({"class": kind} if kind else {}) | places)


def write(svg: ET.Element, text: str, kind: str, x: float, y: float) -> None:
    """A text."""
    place(svg, "text", kind, x=x, y=y).text = text


def keep(run: Run, folder: Path) -> list[Path]:
    """Writes the charts of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {folder / f"{name}.svg": chart for name, chart in charts(run).items()}
    for file, chart in drawn.items():
        file.write_bytes(chart)
    return list(drawn)
