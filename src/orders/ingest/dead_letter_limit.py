"""How many of a partition's last records may become dead letters. Pure.

Which of the last records were refused is kept as a number, a bit a record, the newest lowest. It lies in the
partition's row of `positions` and is committed with the batch: a restart or a rebalance forgets nothing.
"""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import NamedTuple

from orders.record import Batch, Entry, Invalid, Moved, RefusalWindow, Span, Stop

RefusalBits = int


class Passed(NamedTuple):
    """What of a batch may be written, the new rows of its partitions, and those that stop with it."""

    batch: Batch
    moved: dict[int, Moved]
    stops: dict[int, Stop]


class Limit(NamedTuple):
    """A partition stops with the record that makes `percent` of its last `records` dead letters; 0 percent: never."""

    records: int
    percent: int

    @property
    def most(self) -> int:
        """So many dead letters among the last records stop a partition."""
        return max(ceil(self.records * self.percent / 100), 1)

    def after(self, window: RefusalBits, refused: Iterable[bool]) -> tuple[RefusalBits, int | None]:
        """The window after these records, and how many of them were taken until it was full; None: it is not."""
        mask = (1 << self.records) - 1
        for taken, bad in enumerate(refused, 1):
            window = (window << 1 | bad) & mask
            if bad and window.bit_count() >= self.most:
                return window, taken
        return window, None

    def check(self, batch: Batch, standing: Mapping[int, RefusalWindow], topic: str) -> Passed:
        """Cuts a batch, in each partition that reaches its limit, behind the record that does."""
        stopping = self._reached(batch, standing) if self.percent else {}
        windows = {partition: window for partition, (window, _) in stopping.items()}
        ends = {partition: end for partition, (_, end) in stopping.items() if end is not None}
        cut = cut_at(batch, ends) if ends else batch
        epochs = epochs_of(cut)
        moved = {p: Moved(span.end, epochs.get(p), packed(windows.get(p, 0))) for p, span in cut.spans.items()}
        return Passed(cut, moved, {p: Stop("dead_letters", self._reason(f"{topic}/{p}", windows[p])) for p in ends})

    def _reached(
        self, batch: Batch, standing: Mapping[int, RefusalWindow]
    ) -> dict[int, tuple[RefusalBits, int | None]]:
        """The window of each partition that has dead letters in it, and the offset behind the one that is too many."""
        refused = {entry.record.partition for entry in batch.entries if isinstance(entry.content, Invalid)}
        known = {partition: unpacked(each.refused) for partition, each in standing.items()}
        found: dict[int, tuple[RefusalBits, int | None]] = {}
        for partition in batch.spans:
            if partition in refused or known[partition]:
                counted = counted_of(batch, partition, standing[partition].counted_from)
                window, taken = self.after(known[partition], (isinstance(e.content, Invalid) for e in counted))
                found[partition] = window, None if taken is None else counted[taken - 1].record.offset + 1
        return found

    def _reason(self, place: str, window: RefusalBits) -> str:
        return (
            f"{window.bit_count()} of the last {self.records} records of {place} became dead letters: see `orders "
            "dead-letters list`, stop what produces them, then `orders resume`"
        )


def counted_of(batch: Batch, partition: int, begin: int) -> list[Entry]:
    """The entries of a partition that count."""
    return [e for e in batch.entries if e.record.partition == partition and e.record.offset >= begin]


def cut_at(batch: Batch, ends: Mapping[int, int]) -> Batch:
    """The batch without what lies at or behind the ends of these partitions."""
    kept = [e for e in batch.entries if e.record.offset < ends.get(e.record.partition, e.record.offset + 1)]
    spans = {p: Span(span.begin, ends[p]) if p in ends else span for p, span in batch.spans.items()}
    return Batch(tuple(kept), spans)


def epochs_of(batch: Batch) -> dict[int, int | None]:
    """The leader epoch of what is before the end of each partition: its last record, or a control record."""
    epochs: dict[int, int | None] = {p: span.epoch for p, span in batch.spans.items() if span.epoch is not None}
    for entry in reversed(batch.entries):
        epochs.setdefault(entry.record.partition, entry.record.epoch)
        if len(epochs) == len(batch.spans):
            break
    return epochs


def packed(window: RefusalBits) -> bytes:
    """As few bytes as hold it; none for a window without dead letters."""
    return window.to_bytes((window.bit_length() + 7) // 8, "big")


def unpacked(refused: bytes) -> RefusalBits:
    return int.from_bytes(refused, "big")
