"""What `orders verify` says in the end, for a person and for programs. No value of an order is in it."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from orders.verify.findings import DIFFERENCES, UNJUDGED, Difference, Findings


class Compared(Struct, frozen=True):
    """How much was compared; `memory` is null where no memory was looked at."""

    records: int
    orders: int
    dead_letters: int
    memory: int | None


class Report(Struct, frozen=True):
    """What `orders verify --json` writes: all is counted, of the differences the first are there one by one."""

    topic: str
    same: bool
    compared: Compared
    differences: Mapping[str, int]
    unjudged: Mapping[str, int]
    shown: list[Difference]


def report(topic: str, compared: Compared, findings: Findings) -> Report:
    counted = dict(sorted(findings.differences.items()))
    return Report(topic, not counted, compared, counted, dict(sorted(findings.unjudged.items())), findings.shown)


def text(found: Report) -> str:
    """The report for a person: a line for each difference that is shown, then the numbers."""
    return "\n".join((*map(line, found.shown), *_numbers(found)))


def line(difference: Difference) -> str:
    """One difference: which order, which place, what it is."""
    name = None if difference.order_uid is None else ascii(difference.order_uid)[1:-1]  # by hand it may be any text
    place = f"partition {difference.partition} offset {difference.offset}" if difference.offset is not None else None
    fields = f" ({', '.join(difference.fields)})" if difference.fields else ""
    where = ", ".join(part for part in (name, place) if part)
    return f"{difference.kind}: {where or '-'}: {DIFFERENCES[difference.kind]}{fields}"


def _numbers(found: Report) -> Iterator[str]:
    total = sum(found.differences.values())
    if total > len(found.shown):
        yield f"and {total - len(found.shown):,} more; --limit shows more"
    for reason, count in found.unjudged.items():
        yield f"not judged: {count:,} {UNJUDGED[reason]}"
    memory = "no memory" if found.compared.memory is None else f"{found.compared.memory:,} orders in memory"
    yield (
        f"compared: {found.compared.records:,} records of {found.topic} with {found.compared.orders:,} orders and "
        f"{found.compared.dead_letters:,} dead letters in PostgreSQL; {memory}"
    )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.differences.items())
    yield f"{total:,} {'difference' if total == 1 else 'differences'}: {kinds}" if total else "no difference"
