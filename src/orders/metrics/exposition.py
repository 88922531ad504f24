"""The table's values as text in Prometheus' formats. Only this module knows the Prometheus client."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from orders.metrics.kinds import Counter, Gauge, Histogram, Kept
from orders.metrics.table import LAYOUT, TABLE

OPENMETRICS = "application/openmetrics-text"
VERSION = "; version=1.0.0"

Sampled = Mapping[Gauge, Mapping[tuple[str, ...], float]]
"""What gauges show now, by their label values; a gauge that cannot be told is not there."""


class Page(NamedTuple):
    """A body and its content type."""

    body: bytes
    content_type: str


def page(totals: Sequence[float], sampled: Sampled, accept: str) -> Page:
    """All metrics: in OpenMetrics for who asks for it, else in Prometheus' own format."""
    # Only our own words reach the encoder: it fails at a version that is no number, and echoes the rest.
    encode, content_type = choose_encoder(OPENMETRICS + VERSION if OPENMETRICS in accept else "")
    return Page(encode(Families(totals, sampled)), content_type)


class Families:
    """What the client asks to collect; `totals` are all cells of the layout."""

    def __init__(self, totals: Sequence[float], sampled: Sampled) -> None:
        self._totals = totals
        self._sampled = sampled

    def collect(self) -> Iterator[Metric]:
        """A family for each metric of the table."""
        for metric in TABLE:
            if isinstance(metric, Gauge):
                yield gauge(metric, self._sampled.get(metric, {}))
            elif isinstance(metric, Counter):
                yield counter(metric, self._totals)
            elif isinstance(metric, Histogram):
                yield histogram(metric, self._totals)


def gauge(metric: Gauge, samples: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.help, labels=list(metric.labels), unit=metric.unit)
    for values, sample in samples.items():
        family.add_metric(values, sample)
    return family


def counter(metric: Counter[Any], totals: Sequence[float]) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=list(metric.labels), unit=metric.unit)
    for values, (count,) in rows(metric, totals):
        family.add_metric(values, count)
    return family


def histogram(metric: Histogram[Any], totals: Sequence[float]) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.help, labels=list(metric.labels), unit=metric.unit)
    bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
    for values, (*counts, total) in rows(metric, totals):
        family.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), total)
    return family


def rows(metric: Kept[Any], totals: Sequence[float]) -> Iterator[tuple[tuple[str, ...], Sequence[float]]]:
    """Label values and cells of each row; where labels are combined, only of combinations that occurred."""
    begin = LAYOUT.begins[metric.name]
    for (key, number), values in zip(metric.rows.items(), metric.named(), strict=True):
        cells = totals[begin + number * metric.width : begin + (number + 1) * metric.width]
        if not isinstance(key, tuple) or any(cells):
            yield values, cells
