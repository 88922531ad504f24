"""Which tests run when: each tier has those of the one before, but for the long ones, which are alone.

A tier is known by the folder and the marks of a test. It also says how many examples Hypothesis tries.
"""

import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).resolve().parents[1]
PURE = {"simulation", "unit"}
"""Folders whose tests use no services."""
FEW, MANY = "few examples", "many examples"


class Tier(Enum):
    """What `--tier` takes; `make test-quick` is `--tier quick`, and so on."""

    QUICK = "quick"
    TEST = "test"
    ALL = "all"
    FAULTS = "faults"
    ROOT = "root"


TIERS = {
    Tier.QUICK: {Tier.QUICK},
    Tier.TEST: {Tier.QUICK, Tier.TEST},
    Tier.ALL: {Tier.QUICK, Tier.TEST, Tier.ALL},
    Tier.FAULTS: {Tier.FAULTS},
    Tier.ROOT: {Tier.ROOT},
}
"""Whose tests each runs; `make test-all` as root runs also what only root can do."""
NEEDS_ROOT = pytest.mark.skip(reason="needs root on Linux: make test-root")


def register_profiles() -> None:
    """Hypothesis' settings: few examples where somebody waits."""
    for name, examples in ((FEW, 25), (MANY, 100)):
        hypothesis.settings.register_profile(
            name,
            max_examples=examples,
            deadline=None,  # the machine may be busy, and what is slow is the services
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
            database=None,  # nothing is left behind
        )
    hypothesis.settings.load_profile(FEW)


def try_many_examples() -> None:
    """Where nobody waits."""
    hypothesis.settings.load_profile(MANY)


def tier_of(item: pytest.Item) -> Tier:
    """Where a test belongs."""
    marks = {mark.name for mark in item.iter_markers()}
    if "faults" in marks:
        return Tier.FAULTS
    if "root" in marks:
        return Tier.ROOT
    if marks & {"system", "others"}:
        return Tier.ALL
    return Tier.QUICK if item.path.relative_to(TESTS).parts[0] in PURE else Tier.TEST


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of the tier that was asked for; without one, all of them. Each report tells its test's tier."""
    asked = config.getoption("--tier")
    wanted = set(Tier) if asked is None else wanted_by(Tier(asked))
    tiers = {item: tier_of(item) for item in items}
    for item, tier in tiers.items():
        if "root" in item.keywords and not is_root():
            item.add_marker(NEEDS_ROOT)
        item.user_properties.append(("tier", tier.value))
        if tier is Tier.QUICK and "shared_services" in getattr(item, "fixturenames", ()):
            raise pytest.UsageError(f"{item.nodeid} uses a service: it belongs elsewhere than into {sorted(PURE)}")
    # The quick ones come last: no worker is left alone with a long one.
    chosen = [item for item, tier in tiers.items() if tier in wanted]
    items[:] = sorted(chosen, key=lambda item: tiers[item] is Tier.QUICK)
    config.hook.pytest_deselected(items=[item for item, tier in tiers.items() if tier not in wanted])


def wanted_by(tier: Tier) -> set[Tier]:
    return TIERS[tier] | ({Tier.ROOT} if tier is Tier.ALL and is_root() else set())


def is_root() -> bool:
    return os.getuid() == 0 and sys.platform == "linux"


def is_thorough(config: pytest.Config) -> bool:
    """Whether there is time for many examples."""
    return config.getoption("--tier") in {Tier.ALL.value, Tier.FAULTS.value}


class Times:
    """How long each test took, with what was set up and taken down for it."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._tiers: dict[str, str] = {}

    def add(self, report: pytest.TestReport) -> None:
        """A phase of a test."""
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        self._tiers[report.nodeid] = str(dict(report.user_properties).get("tier"))

    def lines(self, slowest: int) -> Sequence[str]:
        """The slowest tests, and the sum of each tier."""
        ranked = sorted(self._seconds, key=self._seconds.__getitem__, reverse=True)[:slowest]
        lines = [f"{self._seconds[test]:7.2f} s  {self._tiers[test]:6}  {test}" for test in ranked]
        for tier in Tier:
            tests = [test for test, its in self._tiers.items() if its == tier.value]
            if tests:
                lines.append(
                    f"{sum(map(self._seconds.__getitem__, tests)):7.1f} s in {len(tests)} tests of {tier.value}"
                )
        return lines
