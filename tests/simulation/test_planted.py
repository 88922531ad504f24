"""Bugs planted on purpose: the simulation finds each. `test_schedules` shows that it finds nothing without them."""

import pytest

from support.simulation.planted import PLANTED
from support.simulation.world import simulate

MOST_SEEDS = 500
"""The rarest is found by one schedule in sixty; a change of what is drawn moves the first."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, invariants = PLANTED[name]
    plant(monkeypatch)
    for seed in range(MOST_SEEDS):
        if (broken := broken_by(seed)) is not None:
            assert broken.partition(" ")[0] in invariants, f"seed {seed} broke another invariant: {broken}"
            return
    raise AssertionError(f"not found in {MOST_SEEDS} schedules: {name}")


def broken_by(seed: int) -> str | None:
    """What a schedule breaks, beginning with the number of the invariant; None if nothing."""
    try:
        simulate(seed)
    except AssertionError as error:
        return str(error.__cause__)
    return None
