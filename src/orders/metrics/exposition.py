"""The table's values as text in Prometheus' formats. Only this module knows the Prometheus client."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from orders.metrics.kinds import Counter, Gauge, Histogram, Layout, StoredMetric
from orders.metrics.table import TABLE

OPENMETRICS = "application/openmetrics-text"
VERSION = "; version=1.0.0"

Sampled = Mapping[Gauge, Mapping[tuple[str, ...], float]]
"""What gauges show now, by their label values; a gauge whose value is unknown is not there."""


class Page(NamedTuple):
    """A body and its content type."""

    body: bytes
    content_type: str


def page(layout: Layout, totals: Sequence[float], sampled: Sampled, accept: str) -> Page:
    """All metrics: in OpenMetrics for who asks for it, else in Prometheus' format. `totals` are the layout's cells."""
    # Only our own words reach the encoder: it fails at a version that is not a number, and echoes the rest.
    encode, content_type = choose_encoder(OPENMETRICS + VERSION if OPENMETRICS in accept else "")
    return Page(encode(Families(layout, totals, sampled)), content_type)


class Families:
    """What the client asks to collect."""

    def __init__(self, layout: Layout, totals: Sequence[float], sampled: Sampled) -> None:
        self._layout = layout
        self._totals = totals
        self._sampled = sampled

    def collect(self) -> Iterator[Metric]:
        """A family for each metric of the layout and for each gauge."""
        for metric in self._layout.kept:
            begin = self._layout.begins[metric.name]
            cells = self._totals[begin : begin + metric.width * len(metric.rows)]
            yield counter(metric, cells) if isinstance(metric, Counter) else histogram(metric, cells)
        for each in TABLE:
            if isinstance(each, Gauge):
                yield gauge(each, self._sampled.get(each, {}))


def gauge(metric: Gauge, samples: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.help, labels=list(metric.labels), unit=metric.unit)
    for values, sample in samples.items():
        family.add_metric(values, sample)
    return family


def counter(metric: Counter[Any], cells: Sequence[float]) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=list(metric.labels), unit=metric.unit)
    for values, (count,) in rows(metric, cells):
        family.add_metric(values, count)
    return family


def histogram(metric: Histogram[Any], cells: Sequence[float]) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.help, labels=list(metric.labels), unit=metric.unit)
    bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
    for values, (*counts, total) in rows(metric, cells):
        family.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), total)
    return family


def rows(metric: StoredMetric[Any], cells: Sequence[float]) -> Iterator[tuple[tuple[str, ...], Sequence[float]]]:
    """Label values and cells of each row; where labels are combined, only of combinations that occurred."""
    for (key, number), values in zip(metric.rows.items(), metric.named(), strict=True):
        row = cells[number * metric.width : (number + 1) * metric.width]
        if not isinstance(key, tuple) or any(row):
            yield values, row
