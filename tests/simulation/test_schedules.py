"""Schedules of faults, drawn from seeds: none may break an invariant. A failure tells its seed."""

from collections.abc import Iterable

import pytest

from support.simulation.world import simulate, story_of

FEW = 80
PART = 1_000
PARTS = 10


def play(seeds: Iterable[int], config: pytest.Config) -> None:
    """Plays the schedules, or only the one that the command line names."""
    given = config.getoption("--simulation-seed")
    for seed in seeds if given is None else [given]:
        simulate(seed)


def test_no_schedule_of_faults_breaks_an_invariant(pytestconfig: pytest.Config) -> None:
    play(range(FEW), pytestconfig)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_none_of_thousands_does(part: int, pytestconfig: pytest.Config) -> None:
    play(range(part * PART, (part + 1) * PART), pytestconfig)


def test_a_clock_that_steps_touches_nothing_that_is_stored() -> None:
    """Where the clocks of single processes step by an hour all the same is stored in the end."""
    for seed in range(FEW // 4):
        simulate(seed, clocks_step=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_is_a_schedule(seed: int) -> None:
    """Played twice it is the same, event by event."""
    assert story_of(seed) == story_of(seed)
