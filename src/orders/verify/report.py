"""What `orders verify` says in the end, for a person and for programs. No value of an order is in it."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from orders.verify.findings import DIFFERENCES, UNJUDGED, Difference, Findings, Spread

SPREAD = "orders, of which Kafka does not say which record is the last: see docs/operations.md#more-partitions"


class Compared(Struct, frozen=True):
    """How much was compared."""

    records: Annotated[int, Meta(description="records of the topic")]
    orders: Annotated[int, Meta(description="orders in PostgreSQL")]
    dead_letters: Annotated[int, Meta(description="dead letters in PostgreSQL")]
    memory: Annotated[int | None, Meta(description="orders in memory; null where no memory was looked at")]


class VerifyReport(Struct, frozen=True):
    """What was compared, and how it differs."""

    topic: Annotated[str, Meta(description="the topic that was compared")]
    same: Annotated[bool, Meta(description="whether there is no difference")]
    compared: Annotated[Compared, Meta(description="how much was compared")]
    differences: Annotated[
        Mapping[str, int],
        Meta(description="how many differences there are, by [kind](operations.md#verification)"),
    ]
    unjudged: Annotated[
        Mapping[str, int],
        Meta(description="how much could not be judged, by [reason](operations.md#verification)"),
    ]
    shown: Annotated[list[Difference], Meta(description="the first differences, up to `--limit`")]
    in_several_partitions: Annotated[
        int, Meta(description="how many orders have records in [several partitions](operations.md#more-partitions)")
    ]
    spread: Annotated[list[Spread], Meta(description="the first of those orders, up to `--limit`")]


def report(topic: str, compared: Compared, findings: Findings) -> VerifyReport:
    counted = dict(sorted(findings.differences.items()))
    unjudged = dict(sorted(findings.unjudged.items()))
    spread = (findings.spread_count, findings.spread)
    return VerifyReport(topic, not counted, compared, counted, unjudged, findings.shown, *spread)


def text(found: VerifyReport) -> str:
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


def _numbers(found: VerifyReport) -> Iterator[str]:
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
