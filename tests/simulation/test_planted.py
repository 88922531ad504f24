"""Bugs planted on purpose: the simulation finds each. `test_schedules` shows that it finds nothing without them."""

import pytest

from support.simulation.planted import PLANTED
from support.simulation.world import simulate
from support.tiers import is_thorough

MOST_SEEDS = 500
"""The rarest is found by one schedule in sixty; a change of what is drawn moves the first."""
HOW = "`pytest --tier all tests/simulation/test_planted.py` looks for another one to keep in `planted.PLANTED`"


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """By the seed that is kept with it; where there is time, that one is looked for again."""
    planted = PLANTED[name]
    planted.plant(monkeypatch)
    for seed in range(MOST_SEEDS) if is_thorough(pytestconfig) else [planted.seed]:
        if (broken := broken_by(seed)) is not None:
            assert broken.partition(" ")[0] in planted.invariants, f"seed {seed} broke another invariant: {broken}"
            assert seed == planted.seed, f"the first seed that finds it is {seed} now: keep it in `planted.PLANTED`"
            return
    raise AssertionError(f"not found: {name}; {HOW}")


def broken_by(seed: int) -> str | None:
    """What a schedule breaks, beginning with the number of the invariant; None if nothing."""
    try:
        simulate(seed)
    except AssertionError as error:
        return str(error.__cause__)
    return None
