"""Collects entries into a batch: by count, bytes and age, or as soon as the stream runs dry. No I/O.

A batch stays here until it is written: what cannot be written yet is asked for again, unchanged.
"""

from collections.abc import Iterable, Mapping

from msgspec import structs

from orders.record import Batch, BatchCause, Entry, Reached, Span


class Batcher:
    """Entries that are not yet written, and where each partition's batch begins.

    `records`, `size` (bytes of keys, values and headers) and `age` (seconds) bound a batch.
    """

    def __init__(self, records: int, size: int, age: float) -> None:
        self._limits = (records, size, age)
        self._entries: list[Entry] = []
        self._begins: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._control_records: dict[int, Reached] = {}
        """The last control record behind all records."""
        self._bytes = 0
        self._oldest = 0.0

    def place(self, partition: int, position: int) -> None:
        """A partition continues from `position`; what was collected of it is forgotten."""
        self.forget([partition])
        self._begins[partition] = self._ends[partition] = position

    def skip_control_records(self, reached: Mapping[int, Reached], now: float) -> None:
        """All up to there was added; behind the last record are control records. Ignores foreign partitions."""
        for partition, end in reached.items():
            if end.offset > self._ends.get(partition, end.offset):
                if self.is_empty:
                    self._oldest = now
                self._ends[partition] = end.offset
                self._control_records[partition] = end

    def forget(self, partitions: Iterable[int]) -> None:
        """Partitions that are no longer ours: their entries leave unwritten."""
        gone = set(partitions)
        if gone & {entry.record.partition for entry in self._entries}:
            self._replace([e for e in self._entries if e.record.partition not in gone])
        for partition in gone:
            self._begins.pop(partition, None)
            self._ends.pop(partition, None)
            self._control_records.pop(partition, None)

    def _replace(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._bytes = sum(size_of(e) for e in entries)

    def add(self, entries: Iterable[Entry], now: float) -> None:
        """Takes entries in, except those of foreign partitions and those that were seen already."""
        for entry in entries:
            record = entry.record
            if record.offset >= self._ends.get(record.partition, record.offset + 1):
                if not self._entries and self.is_empty:  # in this order: two dictionaries are not compared each time
                    self._oldest = now
                self._entries.append(entry)
                self._bytes += size_of(entry)
                self._ends[record.partition] = record.offset + 1

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be written: no entry, and no control record that was skipped."""
        return self._begins == self._ends

    @property
    def places(self) -> dict[int, int]:
        """The next offset to be taken, of each partition that is ours."""
        return dict(self._ends)

    @property
    def begins(self) -> dict[int, int]:
        """The first offset that is not yet written, of each partition that is ours."""
        return dict(self._begins)

    def due(self, now: float, *, dry: bool) -> BatchCause | None:
        """Why the batch should be written now, None if it should not; `dry`: the last poll brought nothing."""
        records, size, age = self._limits
        if self.is_empty:
            return None
        if len(self._entries) >= records:
            return "records"
        if self._bytes >= size:
            return "bytes"
        return "dry" if dry else "age" if now - self._oldest >= age else None

    def batch(self) -> Batch | None:
        """What is collected, as a value; None if nothing is. It may have spans alone, without entries."""
        spans = {p: self._span(p) for p, begin in sorted(self._begins.items()) if begin != self._ends[p]}
        return Batch(tuple(self._entries), spans) if spans else None

    def _span(self, partition: int) -> Span:
        end = self._ends[partition]
        control_record = self._control_records.get(partition)
        return Span(
            self._begins[partition],
            end,
            control_record.epoch if control_record and control_record.offset == end else None,
        )

    def written(self) -> None:
        """All that was collected is committed."""
        self._replace([])
        self._begins = dict(self._ends)


def size_of(entry: Entry) -> int:
    """Bytes of an entry that count toward a batch's bound: all that came with its record."""
    record = entry.record
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.value or b"") + len(record.key or b"") + headers


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Two batches that, one after the other, are the batch; at least two entries are needed.

    Partitions without entries go with the second.
    """
    middle = len(batch.entries) // 2
    first, second = batch.entries[:middle], batch.entries[middle:]
    early, late = ({entry.record.partition for entry in half} for half in (first, second))
    cuts = {e.record.partition: e.record.offset + 1 for e in first if e.record.partition in late}
    begins = {p: Span(span.begin, cuts[p]) if p in cuts else span for p, span in batch.spans.items() if p in early}
    others = ((p, span) for p, span in batch.spans.items() if p in late or p not in early)
    ends = {p: span._replace(begin=cuts.get(p, span.begin)) for p, span in others}
    return Batch(first, begins), Batch(second, ends)


def with_content(batch: Batch, entry: Entry) -> Batch:
    """The one-entry batch with its entry exchanged."""
    return structs.replace(batch, entries=(entry,))
