"""CPU time of processes, what else the machine did meanwhile, and the statistics of rounds."""

import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Self, TypeVar

import psutil
from msgspec import Struct

T = TypeVar("T")
IDLE = ("idle", "iowait", "steal")
INSIDE_OTHERS = ("guest", "guest_nice")
"""Fields of the machine's CPU time that count in `user` and `nice` already."""
CLOSE_LOOKS = 5


class Spread(Struct, frozen=True):
    """The median of several values, the lowest and the highest."""

    median: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """From the lowest to the highest, as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


class Noise(Struct, frozen=True):
    """What was not the bench while it measured: other processes, and steal; parts of the time of all cores."""

    others: float
    steal: float


def spread(values: Iterable[float]) -> Spread:
    """Median, lowest and highest; at least one value is needed."""
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def ratios(ours: Mapping[int, float], other: Mapping[int, float]) -> Spread | None:
    """Ours by the other's, round by round; None where no round has both."""
    both = [ours[number] / other[number] for number in ours.keys() & other.keys() if other[number]]
    return spread(both) if both else None


def differences(ours: Mapping[int, float], other: Mapping[int, float]) -> Spread | None:
    """Ours less the other's, as `ratios`."""
    both = [ours[number] - other[number] for number in ours.keys() & other.keys()]
    return spread(both) if both else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` (sorted) that at least `share` of them do not exceed."""
    rank = -(-len(values) * round(share * 10_000) // 10_000)
    return values[max(rank, 1) - 1]


def rotated(things: Sequence[T], by: int) -> list[T]:
    """Another one begins in each round: what a contestant leaves behind does not always meet the same next one."""
    cut = by % len(things)
    return [*things[cut:], *things[:cut]]


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and of all that descend from it, with those that ended and were waited for."""
    root = psutil.Process(pid)
    for _ in range(CLOSE_LOOKS):
        before, total = _reaped(root), _total(root)
        if before == _reaped(root):  # else one ended meanwhile, and may have counted twice or not at all
            return total
    return _total(root)


def _total(root: psutil.Process) -> float:
    return sum(map(_own_and_reaped, (root, *root.children(recursive=True))))


def _reaped(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def _own_and_reaped(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:4]))
    return 0.0


class Meter:
    """CPU seconds that groups of processes spend from now on, each with its descendants."""

    def __init__(self, **groups: Sequence[int]) -> None:
        self._groups = groups
        self._begun = self._read()

    def _read(self) -> dict[str, float]:
        return {name: sum(map(cpu_of, pids)) for name, pids in self._groups.items()}

    def spent(self) -> dict[str, float]:
        """Seconds by group."""
        return {name: now - self._begun[name] for name, now in self._read().items()}


class Machine(NamedTuple):
    """Readings of the machine's clocks: CPU seconds of all its cores together, and of us with our descendants."""

    total: float
    busy: float
    steal: float
    own: float

    @classmethod
    def look(cls) -> Self:
        """The readings now."""
        fields = {name: value for name, value in psutil.cpu_times()._asdict().items() if name not in INSIDE_OTHERS}
        busy = sum(value for name, value in fields.items() if name not in IDLE)
        return cls(sum(fields.values()), busy, fields.get("steal", 0.0), cpu_of(os.getpid()))

    def noise_since(self, before: "Machine") -> Noise:
        """What was not ours since an earlier look."""
        elapsed = max(self.total - before.total, 1e-9)
        others = self.busy - before.busy - (self.own - before.own)
        return Noise(max(others, 0.0) / elapsed, (self.steal - before.steal) / elapsed)


def idle_noise(seconds: float) -> Noise:
    """What the machine does while the bench does nothing."""
    before = Machine.look()
    time.sleep(seconds)
    return Machine.look().noise_since(before)
