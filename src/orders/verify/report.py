"""What `orders verify` says in the end, for a person and for programs. No value of an order is in it."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from orders.verify.findings import DIFFERENCES, UNJUDGED, Difference, Findings, Spread

SPREAD = "orders, of which Kafka does not say which record is the last: see docs/operations.md#more-partitions"


class Compared(Struct, frozen=True):
    """How much was compared; `memory` is null where no memory was looked at."""

    records: int
    orders: int
    dead_letters: int
    memory: int | None


class Report(Struct, frozen=True):
    """What `orders verify --json` writes: all is counted, of the differences the first are there one by one.

    So it is with the orders whose records lie in several partitions: which of them is the last the topic does not say.
    """

    topic: str
    same: bool
    compared: Compared
    differences: Mapping[str, int]
    unjudged: Mapping[str, int]
    shown: list[Difference]
    in_several_partitions: int
    spread: list[Spread]


def report(topic: str, compared: Compared, findings: Findings) -> Report:
    counted = dict(sorted(findings.differences.items()))
    unjudged = dict(sorted(findings.unjudged.items()))
    spread = (findings.spread_count, findings.spread)
    return Report(topic, not counted, compared, counted, unjudged, findings.shown, *spread)


def text(found: Report) -> str:
    """The report for a person: a line for each difference that is shown, then the numbers."""
    return "\n".join((*map(line, found.shown), *map(spread_line, found.spread), *_numbers(found)))


def line(difference: Difference) -> str:
    """One difference: which order, which place, what it is."""
    name = None if difference.order_uid is None else plain(difference.order_uid)
    place = f"partition {difference.partition} offset {difference.offset}" if difference.offset is not None else None
    fields = f" ({', '.join(difference.fields)})" if difference.fields else ""
    where = ", ".join(part for part in (name, place) if part)
    return f"{difference.kind}: {where or '-'}: {DIFFERENCES[difference.kind]}{fields}"


def spread_line(spread: Spread) -> str:
    """An order whose records lie in several partitions."""
    return f"in several partitions: {plain(spread.order_uid)}: {', '.join(map(str, spread.partitions))}"


def plain(order_uid: str) -> str:
    """A uid as it may be shown: written by hand it may be any text."""
    return ascii(order_uid)[1:-1]


def _numbers(found: Report) -> Iterator[str]:
    total = sum(found.differences.values())
    if total > len(found.shown):
        yield f"and {total - len(found.shown):,} more; --limit shows more"
    if found.in_several_partitions:
        yield f"in several partitions: {found.in_several_partitions:,} {SPREAD}"
    for reason, count in found.unjudged.items():
        yield f"not judged: {count:,} {UNJUDGED[reason]}"
    memory = "no memory" if found.compared.memory is None else f"{found.compared.memory:,} orders in memory"
    yield (
        f"compared: {found.compared.records:,} records of {found.topic} with {found.compared.orders:,} orders and "
        f"{found.compared.dead_letters:,} dead letters in PostgreSQL; {memory}"
    )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.differences.items())
    yield f"{total:,} {'difference' if total == 1 else 'differences'}: {kinds}" if total else "no difference"
