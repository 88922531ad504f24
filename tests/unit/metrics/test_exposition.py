"""The text of a scrape: what both formats say of any values."""

from itertools import accumulate
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from orders.api.request_metrics import HTTP_SECONDS, SERVE_LAYOUT, SERVE_TABLE
from orders.metrics.exposition import OPENMETRICS, Sampled, page
from orders.metrics.kinds import Histogram, Values
from orders.metrics.table import BATCHES, LAG_SECONDS
from support.metrics import READERS, named, series_of

FORMATS = pytest.mark.parametrize("accept", READERS)


@FORMATS
def test_every_metric_of_the_table_is_there_with_its_kind_and_help(accept: str) -> None:
    text = page(SERVE_LAYOUT, [0.0] * SERVE_LAYOUT.size, {}, accept).body.decode()
    families = {family.name: (family.type, family.documentation) for family in READERS[accept](text)}
    assert families == {m.name.removesuffix("_total"): (m.kind, m.help) for m in SERVE_TABLE}


@FORMATS
@settings(max_examples=2, phases=[Phase.generate])  # 3,000 values each, and no seed is simpler than another
@given(seed=st.integers())
def test_any_values_are_read_as_what_they_are(accept: str, seed: int) -> None:
    """Counters as they stand; each bucket holds those below it, the last is the count, the sum is the sum."""
    random = Random(seed)
    cells = [float(random.randrange(1, 1000)) for _ in range(SERVE_LAYOUT.size)]
    told = series_of(page(SERVE_LAYOUT, cells, {}, accept).body.decode(), accept)
    assert sorted(told.items() ^ expected(cells).items())[:5] == []


def expected(cells: list[float]) -> dict[str, float]:
    """All series, made from the cells in the plainest way."""
    left = iter(cells)
    series: dict[str, float] = {}
    for metric in SERVE_LAYOUT.kept:
        for values in metric.named():
            labels = dict(zip(metric.labels, values, strict=True))
            if isinstance(metric, Histogram):
                bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
                below = accumulate(next(left) for _ in bounds)
                series |= {
                    f"{metric.name}_bucket{named(labels | {'le': b})}": n for b, n in zip(bounds, below, strict=True)
                }
                series[f"{metric.name}_count{named(labels)}"] = series[
                    f"{metric.name}_bucket{named(labels | {'le': '+Inf'})}"
                ]
                series[f"{metric.name}_sum{named(labels)}"] = next(left)
            else:
                series[f"{metric.name}{named(labels)}"] = next(left)
    return series


def test_what_never_happened_is_0_except_where_labels_are_combined() -> None:
    """A first dead letter is a rise that an alert sees; a scrape is not full of requests that nobody sends."""
    values = Values(SERVE_LAYOUT)
    values.observe(HTTP_SECONDS, ("GET", "/", "200"), 0.1)
    series = series_of(page(SERVE_LAYOUT, values.cells.tolist(), {}, "").body.decode())
    assert {value for name, value in series.items() if name.startswith(BATCHES.name)} == {0.0}
    assert [name for name in series if name.startswith(f"{HTTP_SECONDS.name}_count")] == [
        f"{HTTP_SECONDS.name}_count"
        + named(
            {
                "http_request_method": "GET",
                "http_response_status_code": "200",
                "http_route": "/",
                "url_scheme": "http",
            }
        )
    ]


@FORMATS
def test_gauges_show_what_is_known_of_them(accept: str) -> None:
    sampled: Sampled = {LAG_SECONDS: {("0",): 1.5, ("10",): 0.0}}
    series = series_of(page(SERVE_LAYOUT, [0.0] * SERVE_LAYOUT.size, sampled, accept).body.decode(), accept)
    assert {name: value for name, value in series.items() if "_lag_" in name} == {
        'orders_lag_seconds{partition="0"}': 1.5,
        'orders_lag_seconds{partition="10"}': 0.0,
    }


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain; version=0.0.4"),
        (f"{OPENMETRICS};version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3", f"{OPENMETRICS}; version=1.0.0"),
        (f"{OPENMETRICS};version=none", f"{OPENMETRICS}; version=1.0.0"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, content_type: str) -> None:
    """Whatever a client writes, it gets one of the two."""
    answer = page(SERVE_LAYOUT, [0.0] * SERVE_LAYOUT.size, {}, accept)
    assert answer.content_type.startswith(f"{content_type}; charset=utf-8")
