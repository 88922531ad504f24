"""Kinds of metrics, and the values that one process keeps of them: an array of doubles with a fixed layout.

A metric is generic over its label, so that a misspelt value is an error of types: with `Counter[Cause]` only what
`Cause` lists can be counted. Nothing here knows where the array is kept (`files`) or what is counted (`table`).
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

L = TypeVar("L")

MetricKind = Literal["counter", "histogram", "gauge"]
Labels = Mapping[str, tuple[str, ...]]
"""The names of labels, each with all its values; a gauge's values are known only when it is asked for."""
UNITS = ("seconds", "bytes", "messages", "records", "orders")


class Definition:
    """What every kind has: a name, a help text in a sentence without its stop, and what to do about a value.

    `action` says in whole sentences when to look at the metric and what to do then, and names the alerts on it.
    """

    kind: ClassVar[MetricKind]

    def __init__(self, name: str, about: str, action: str, labels: Labels) -> None:
        self.name = name
        self.help = about
        self.action = action
        self.labels = labels

    @property
    def unit(self) -> str:
        """The unit in the name, or "" where there is none."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else ""


class Gauge(Definition):
    """Something that is asked for when the metrics are read."""

    kind = "gauge"

    def __init__(self, name: str, about: str, action: str, *labels: str) -> None:
        super().__init__(name, about, action, dict.fromkeys(labels, ()))


class StoredMetric(Definition, Generic[L]):
    """Something whose values are kept, in `width` cells for each row.

    `L` is the value of the label, a tuple where there are several labels, None where there is none. A label with one
    possible value is a constant and no part of `L`. Several labels have a row for each of the `combinations` that
    can occur, which must be given: their product has mostly rows that never count.
    """

    width: int

    def __init__(
        self,
        name: str,
        about: str,
        action: str,
        labels: Labels | None = None,
        *,
        combinations: Iterable[L] | None = None,
    ) -> None:
        super().__init__(name, about, action, labels or {})
        rows = self._values() if combinations is None else combinations
        self.rows = {row: number for number, row in enumerate(dict.fromkeys(rows))}

    def _values(self) -> Iterable[L]:
        """Those of the one label. Raises `ValueError` where there are several."""
        chosen: list[tuple[Any, ...]] = [values for values in self.labels.values() if len(values) > 1]
        (values,) = chosen or [(None,)]
        return values

    def named(self) -> Iterator[tuple[str, ...]]:
        """The values of all labels, row by row."""
        for row in self.rows:
            chosen = iter(cast("tuple[str, ...]", row if isinstance(row, tuple) else (row,)))
            yield tuple(values[0] if len(values) == 1 else next(chosen) for values in self.labels.values())


class Counter(StoredMetric[L]):
    """Something that is counted."""

    kind = "counter"
    width = 1


class Histogram(StoredMetric[L]):
    """Something that is measured: `buckets` are upper bounds; a row has their counts, that of the rest, and the sum."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        about: str,
        action: str,
        buckets: tuple[float, ...],
        labels: Labels | None = None,
        *,
        combinations: Iterable[L] | None = None,
    ) -> None:
        super().__init__(name, about, action, labels, combinations=combinations)
        self.buckets = buckets
        self.width = len(buckets) + 2


class Layout:
    """Where the rows of each counter and histogram of a table stand. Of two with one fingerprint the arrays fit.

    One with a `base` begins as that does, and has the rows of its table behind: a place in the base is the same in it.
    """

    def __init__(self, table: Iterable[Definition], base: "Layout | None" = None) -> None:
        own: list[Counter[Any] | Histogram[Any]] = [m for m in table if isinstance(m, Counter | Histogram)]
        self.base = base
        self.kept: list[Counter[Any] | Histogram[Any]] = [*base.kept, *own] if base else own
        self.begins: dict[str, int] = dict(base.begins) if base else {}
        self.size: int = base.size if base else 0
        for metric in own:
            self.begins[metric.name] = self.size
            self.size += metric.width * len(metric.rows)
        shape = [(m.name, list(m.rows), getattr(m, "buckets", ())) for m in own]
        digest = hashlib.sha256(repr(shape).encode()).hexdigest()[:12]
        self.fingerprint: str = f"{base.fingerprint}+{digest}" if base else digest

    def place(self, metric: StoredMetric[L], label: L) -> int:
        """The index of a row's first cell."""
        return self.begins[metric.name] + metric.width * metric.rows[label]


class Values:
    """What one process counted. One thread of it counts: adding reads and then writes, and nothing guards it.

    `cells` may be memory that others read at any time: each double is written whole. None: they are private.
    """

    def __init__(self, layout: Layout, cells: "memoryview[float] | None" = None) -> None:
        self.private = cells is None
        self.layout = layout
        self.cells = memoryview(bytearray(8 * layout.size)).cast("d") if cells is None else cells
        self._begins = layout.begins
        self._place = layout.place

    def add(self, counter: Counter[L], label: L, amount: float = 1.0) -> None:
        """Counts."""
        self.cells[self._begins[counter.name] + counter.rows[label]] += amount

    def observe(self, histogram: Histogram[L], label: L, value: float) -> None:
        """Counts a measured value."""
        self.observe_at(histogram, self._place(histogram, label), value)

    def observe_at(self, histogram: Histogram[Any], place: int, value: float) -> None:
        """The same in a row whose place in the layout is known."""
        cells, buckets = self.cells, histogram.buckets
        cells[place + bisect_left(buckets, value)] += 1.0
        cells[place + len(buckets) + 1] += value

    def observe_all(self, histogram: Histogram[L], label: L, values: Sequence[float]) -> None:
        """The same for many, at half the price each."""
        cells, buckets, place = self.cells, histogram.buckets, self._place(histogram, label)
        for value in values:
            cells[place + bisect_left(buckets, value)] += 1.0
        cells[place + len(buckets) + 1] += sum(values)
