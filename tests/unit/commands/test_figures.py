"""The figures that commands read from `/metrics`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders import __version__
from orders.api.health import HealthSnapshot
from orders.api.scrape import numbered, of_ingests, of_parts, of_topic
from orders.commands.figures import figures_of
from orders.kafka.topic import TopicSnapshot
from orders.memory.notices import IngestNotice
from orders.memory.shared import Stats
from orders.metrics.exposition import page
from orders.metrics.table import BUILD, LAG_SECONDS, LAYOUT, MEMORY_LIMIT, MEMORY_ORDERS, MEMORY_USED
from orders.readiness import Lag, ReadinessPart, ReadinessParts, RestorePart

FINE = ReadinessPart(ok=True)


def test_what_the_service_writes_is_read() -> None:
    """The same names, labels and numbers on both sides."""
    parts = ReadinessParts(FINE, FINE, FINE, Lag(ok=True), FINE, RestorePart(ok=True))
    look = HealthSnapshot(
        parts,
        {("t", 0): 3},
        TopicSnapshot("t", {0: 10, 1: 5}),
        [IngestNotice((0, 1), "stopped", 0.0, stopped={1: "anew"})],
    )
    samples = of_parts(parts) | of_ingests(look.ingests) | of_topic(look)
    samples[LAG_SECONDS] = numbered({0: 1.25})
    samples[BUILD] = {(__version__, "3.13"): 1.0}
    stats = Stats(31_000, 0, 45_654_016, 2**28)
    samples |= {MEMORY_ORDERS: {(): stats.documents}, MEMORY_USED: {(): stats.used}, MEMORY_LIMIT: {(): stats.budget}}
    found = figures_of(page(LAYOUT, [0.0] * LAYOUT.size, samples, "").body.decode())
    assert (found.version, found.memory_orders, found.memory_used) == (__version__, 31_000, 45_654_016)
    assert found.memory_limit == 2**28
    assert found.partitions[0] == {"position": 3, "end": 10, "lag": 7, "lag_seconds": 1.2}
    assert found.stopped == {1: "anew"}


@given(st.text())
def test_any_other_page_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        figures_of(text)
