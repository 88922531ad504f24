"""Which fields of an order differ: its record and its row are read once more, for the differences that are shown."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from orders import decoder
from orders.order import Content, Row
from orders.record import Record, Span
from orders.verify.findings import Clue, Findings
from orders.verify.served import Read
from orders.verify.stored import canonical

Fetch = Callable[[Mapping[int, Span]], Iterable[Record]]
"""Reads spans of the topic."""


def report(findings: Findings, fetch: Fetch, read: Read) -> None:
    """Names the fields of each order whose row is still the one that was compared.

    Raises `Unavailable` or `Misconfigured`.
    """
    stored = read([clue.order_uid for clue in findings.clues]) if findings.clues else {}
    for clues in rounds(findings.clues):
        spans = {partition: Span(clue.offset, clue.offset + 1) for partition, clue in clues.items()}
        for record in fetch(spans):
            clue = clues[record.partition]
            put = stored.get(clue.order_uid)
            if put is not None and put.version == clue.version:
                findings.name(clue.order_uid, differing(row_of(record.value), row_of(canonical(put.document))))


def rounds(clues: Iterable[Clue]) -> Iterator[dict[int, Clue]]:
    """The clues by partition, one of each at a time."""
    left = list(clues)
    while left:
        taken = {clue.partition: clue for clue in reversed(left)}
        yield taken
        left = [clue for clue in left if taken[clue.partition] is not clue]


def row_of(text: bytes | None) -> Row | None:
    """The row of an order's text; None for what the decoder does not take, as values that were written by hand."""
    content = decoder.decode(text or b"")
    return content.row if isinstance(content, Content) else None


def differing(one: Row | None, other: Row | None) -> tuple[str, ...]:
    """The columns in which two rows differ; none where one cannot be read."""
    if one is None or other is None:
        return ()
    return tuple(name for name, a, b in zip(Row._fields, one, other, strict=True) if a != b)
