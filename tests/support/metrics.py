"""Metrics in tests: what a scrape says, by series; and a process that counts and is killed.

Run as: python metrics.py MEMORY COUNT. It takes a slot, says so, waits for a line, counts, and ends by SIGKILL.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from orders.api.request_metrics import HTTP_SECONDS, SERVE_LAYOUT
from orders.http.durations import Durations
from orders.metrics.exposition import OPENMETRICS, page
from orders.metrics.files import claim
from orders.metrics.kinds import Values
from orders.metrics.table import BATCHES, COMMIT_SECONDS, LAYOUT

Read = Callable[[str], Iterable[Metric]]
READERS: Mapping[str, Read] = {
    "": text_string_to_metric_families,
    OPENMETRICS: openmetrics.text_string_to_metric_families,
}
"""How the answer to each `Accept` is read."""

Series = dict[str, float]


def series_of(text: str, accept: str = "") -> Series:
    """Every sample, named as in the text: `orders_posts_total{outcome="created"}`."""
    samples = [sample for family in READERS[accept](text) for sample in family.samples]
    return {f"{s.name}{named(s.labels)}": s.value for s in samples}


def named(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def durations() -> Durations:
    """What a serve process counts with, and nobody else reads."""
    return Durations(HTTP_SECONDS, Values(SERVE_LAYOUT))


def counted(values: Values) -> Series:
    """What one process counted, without what it did not."""
    series = series_of(page(values.layout, values.cells.tolist(), {}, "").body.decode())
    return {name: value for name, value in series.items() if value}


def times(series: Mapping[str, float]) -> Series:
    """Only counts, which are the same however long everything took."""
    return {name: value for name, value in series.items() if not re.search("_seconds_(sum|bucket)", name)}


@contextmanager
def counting(memory: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has its slot and counts `count` times as soon as it is written to."""
    with subprocess.Popen(
        [sys.executable, __file__, memory, str(count)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def release(process: subprocess.Popen[bytes]) -> None:
    """Lets it count and die."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def main() -> None:
    values = claim(Path(sys.argv[1]), LAYOUT)
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    sys.stdin.readline()
    for _ in range(int(sys.argv[2])):
        values.add(BATCHES, "dry")
        values.observe(COMMIT_SECONDS, "committed", 0.5)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
