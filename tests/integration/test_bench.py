"""Every contest of the bench with tiny sizes: that it runs, that all who take part do their work; never how fast."""

import pytest

from bench.__main__ import CONTESTS
from bench.contest import Contest, Told, hold
from bench.report import summary, text_of
from bench.services import Ground
from bench.sizes import Sizes
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from support.services import open_folder

TINY = Sizes(
    name="tiny",
    pace=0.1,
    rounds=dict.fromkeys(CONTESTS, 1),
    backlog=3000,
    inserted=50,
    restored=1000,
    in_memory=500,
    asked=100,
    get_seconds=0.3,
    latency_seconds=0.3,
    single_seconds=0.2,
    single_rate=50.0,
    turned=300,
    searched=2000,
    deep_page=3,
    search_seconds=0.1,
    lookup_seconds=0.1,
    rows_before=2000,
    added=500,
)


@pytest.mark.system  # it takes long
@pytest.mark.parametrize("contest", CONTESTS.values(), ids=lambda contest: contest.name)
def test_a_contest_measures_all_who_take_part(contest: Contest, postgres: PostgresService, kafka: KafkaService) -> None:
    """Each contestant checks what it did and raises; who this machine lacks is left out by name.

    Takes up to 25 s for latency: each contestant is measured for seconds, and drips are cut after 10.
    """
    told: list[Told] = []
    with open_folder() as folder:
        outcome = hold(contest, Ground(postgres, kafka, folder), TINY, told.append)
    assert sum(each.share for each in told) == pytest.approx(1.0)
    assert len(outcome.contestants) + len(outcome.absent) >= len({c.other for c in contest.comparisons}) + 1
    for figure in outcome.figures:
        assert any(outcome.values(name, figure.name) for name in outcome.contestants), figure.name
    assert all(value >= 0 for sample in outcome.samples for value in sample.values.values())
    assert len(list(text_of(outcome))) > len(summary(outcome).rows)
