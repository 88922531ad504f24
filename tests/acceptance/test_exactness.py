"""At seeded moments under load a process is killed; afterwards every row, dead letter and GET equals a model.

The stream holds duplicates, replacements, deletes, invalid messages and keyless ones; POSTs continue beside it. The
model is folded from the topic itself, by other code. Meanwhile GETs are compared with PostgreSQL. A seed
names its kill and nothing else does: to run one again, run its range.
"""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine
from support.services import MakeTopic
from support.watching import under_load

POINTS = ["before copy", "after copy", "before commit", "in memory", "after commit", "after fill", "before mirror"]
INGESTS, ANY_TIME = ["ingest 0", "ingest 1"], "any time"
KILLS = [
    *((point, victim) for point in POINTS for victim in INGESTS),
    *((ANY_TIME, victim) for victim in ["keep", "serve", *INGESTS]),
]
"""Every kill there is; a seed takes one after the other, so that 18 in a row have them all."""


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic()) as made:
        yield made


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(20), id="20 kills", marks=pytest.mark.timeout(280)),
        pytest.param(range(20, 220), id="200 kills", marks=[pytest.mark.faults, pytest.mark.timeout(1800)]),
    ],
)
def test_after_kills_at_seeded_moments_all_is_as_the_topic_says(machine: Machine, seeds: range) -> None:
    """Takes over 10 s: 20 processes are killed under load, one after the other, and started again."""
    with under_load(machine, seeds.start) as load:
        for seed in seeds:
            kill_at(machine, seed)
    assert load.getter.compared > len(seeds)
    assert load.poster.promised


def kill_at(machine: Machine, seed: int) -> None:
    """Kills one process at the moment that the seed names, and starts it again."""
    point, victim = KILLS[seed * 7 % len(KILLS)]  # neighbours are of different points
    print(f"seed {seed}: kill -9 of {victim}, {point}")  # noqa: T201 - pytest shows it with a failure, or with -s
    if point == ANY_TIME:
        threading.Event().wait(random.Random(seed).uniform(0.05, 0.3))
        machine.kill(victim)
    else:
        machine.at(victim, point)
    if not machine.await_end(victim, 20):
        raise AssertionError(f"seed {seed}: {victim} had no batch to die in {point}")
    machine.start(victim)
