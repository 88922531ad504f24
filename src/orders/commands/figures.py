"""The figures of `/metrics` that commands show."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from orders.metrics.kinds import Gauge
from orders.metrics.table import (
    BUILD,
    LAG_MESSAGES,
    LAG_SECONDS,
    LOG_END,
    MEMORY_LIMIT,
    MEMORY_ORDERS,
    MEMORY_USED,
    PARTITION_STOPPED,
    POSITION,
)

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.e+-]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

ScrapedSamples = Mapping[str, list[tuple[Mapping[str, str], float]]]


class Figures(Struct, frozen=True):
    """What a page has of them; sizes in bytes. `partitions` has the fields of `status.Partition` by number.

    `stopped` is why partitions of the machine's ingests are not read, in one word.
    """

    version: str = ""
    memory_orders: int | None = None
    memory_used: int | None = None
    memory_limit: int | None = None
    partitions: dict[int, dict[str, Any]] = {}
    stopped: dict[int, str] = {}


def figures_of(page: str) -> Figures:
    """Reads Prometheus' text format. Raises `ValueError` where the page is not that of this service."""
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for name, labels, value in SAMPLE.findall(page):
        samples.setdefault(name, []).append((dict(LABEL.findall(labels)), float(value)))
    versions = [labels["version"] for labels, _ in samples.get(BUILD.name, []) if "version" in labels]
    if not versions:
        raise ValueError("the page does not name a release")
    return Figures(
        version=versions[0],
        memory_orders=_one(samples, MEMORY_ORDERS),
        memory_used=_one(samples, MEMORY_USED),
        memory_limit=_one(samples, MEMORY_LIMIT),
        partitions=_partitions(samples),
        stopped={number: labels.get("reason", "") for number, labels, _ in _numbered(samples, PARTITION_STOPPED)},
    )


def _one(samples: ScrapedSamples, gauge: Gauge) -> int | None:
    return next((int(value) for _, value in samples.get(gauge.name, [])), None)


def _partitions(samples: ScrapedSamples) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for gauge, field in ((POSITION, "position"), (LOG_END, "end"), (LAG_MESSAGES, "lag")):
        for number, _, value in _numbered(samples, gauge):
            found.setdefault(number, {})[field] = int(value)
    for number, _, value in _numbered(samples, LAG_SECONDS):
        found.setdefault(number, {})["lag_seconds"] = round(value, 1)
    return found


def _numbered(samples: ScrapedSamples, gauge: Gauge) -> Iterator[tuple[int, Mapping[str, str], float]]:
    for labels, value in samples.get(gauge.name, []):
        yield int(labels.get("partition", "")), labels, value
