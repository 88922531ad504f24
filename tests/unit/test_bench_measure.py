"""The bench's statistics, and its reading of CPU time beside the kernel's own account."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import Machine, Meter, Noise, Spread, cpu_of, differences, percentile, ratios, rotated, spread

BURN = "import time\nwhile time.process_time() < {}: pass\nprint('burnt', flush=True)\ninput()"
PARENT = f"""
import resource, subprocess, sys
subprocess.run([sys.executable, "-c", {BURN.format(0.3)!r}], input=b"", capture_output=True)
own, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(own.ru_utime + own.ru_stime, theirs.ru_utime + theirs.ru_stime, flush=True)
input()
"""


def test_spread_is_the_median_with_the_ends() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)
    assert Spread(2.0, 1.0, 4.0).width == 1.5


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians() -> None:
    ours, other = {0: 1.0, 1: 10.0, 2: 12.0}, {0: 2.0, 1: 10.0, 2: 4.0}
    assert ratios(ours, other) == Spread(1.0, 0.5, 3.0)


def test_a_difference_is_the_median_of_the_rounds_differences() -> None:
    assert differences({0: 1.0, 1: 10.0, 2: 12.0}, {0: 2.0, 1: 10.0, 2: 4.0}) == Spread(0.0, -1.0, 8.0)


def test_rounds_that_one_of_both_lacks_do_not_count() -> None:
    assert ratios({0: 1.0, 1: 4.0}, {1: 2.0, 5: 1.0}) == Spread(2.0, 2.0, 2.0)
    assert differences({0: 1.0, 1: 4.0}, {1: 2.0, 5: 1.0}) == Spread(2.0, 2.0, 2.0)
    assert ratios({0: 1.0}, {}) is None
    assert differences({0: 1.0}, {}) is None


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)])
def test_percentiles_of_a_hundred(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values)


@given(st.lists(st.integers(), min_size=1, unique=True))
def test_in_as_many_rounds_as_there_are_contestants_each_begins_once(things: list[int]) -> None:
    turns = [rotated(things, number) for number in range(len(things))]
    assert [turn[0] for turn in turns] == things
    assert all(sorted(turn) == sorted(things) for turn in turns)


def test_cpu_of_a_process_that_ended_is_counted_with_its_parent() -> None:
    """Beside getrusage, which is the kernel's own sum of children that were waited for."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        own, theirs = map(float, process.stdout.readline().split())
        spent = cpu_of(process.pid)
        process.communicate(b"\n")
    assert theirs > 0.3
    assert spent == pytest.approx(own + theirs, abs=0.05)


def test_a_meter_reads_a_process_that_still_runs() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURN.format(0.3)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        meter = Meter(it=[process.pid], nobody=[])
        assert process.stdout
        assert process.stdout.readline() == b"burnt\n"
        spent = meter.spent()
        process.communicate(b"\n")
    assert spent["it"] == pytest.approx(0.3, abs=0.1)
    assert spent["nobody"] == 0


def test_noise_is_what_was_busy_and_not_ours() -> None:
    before, after = Machine(100.0, 50.0, 1.0, 20.0), Machine(110.0, 58.0, 1.5, 25.0)
    assert after.noise_since(before) == Noise(others=0.3, steal=0.05)


def test_clocks_that_differ_a_little_make_no_noise_below_zero() -> None:
    assert Machine(110.0, 54.9, 0.0, 25.0).noise_since(Machine(100.0, 50.0, 0.0, 20.0)).others == 0
