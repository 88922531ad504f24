"""`orders status` for a person: a line for each fact, a table of partitions, and why some are stopped.

On a terminal lines are wrapped at its width; elsewhere they stay whole, for `grep`.
"""

import textwrap
from collections.abc import Iterator, Sequence

from orders.commands.status import IndexStatus, PartitionStatus, RestoreStatus, Status

NAME_WIDTH = 14
MOST_PARTITIONS = 12
"""Of more than so many only those are shown that lag or are stopped."""
MINUTE, HOUR, DAY = 60, 3600, 86_400
MIB = 2**20


def text(found: Status, width: int | None = None) -> str:
    """The status, a line each; `width` is that of the terminal in columns."""
    lines = [line for name, value in facts(found) if value for line in wrapped(name, value, width)]
    shown, rest = partitions_shown(found.partitions)
    if shown:
        lines += ["", *partition_table(shown)]
    if rest:
        lines.append(f"{rest} other partitions have no lag and are not stopped")
    if stopped := [each for each in found.partitions if each.reason]:
        lines.append("")
        lines += [line for each in stopped for line in wrapped(f"partition {each.partition}", each.reason, width)]
    return "\n".join(lines)


def facts(found: Status) -> Iterator[tuple[str, str]]:
    """Names and values, in their order; an empty value is left out."""
    unknown = found.unknown
    yield "ready", readiness(found)
    yield "version", ", ".join(filter(None, (found.version or "unknown", uptime(found.uptime_seconds))))
    yield "data", f"{found.data_dir}{'' if found.processes else ' (nothing runs there)'}"
    yield "HTTP", found.http.url
    yield "Kafka", f"{found.kafka.bootstrap}, topic {found.kafka.topic}" if found.kafka.bootstrap else ""
    yield "PostgreSQL", found.postgres.dsn
    if not found.runs:
        return
    yield "orders", orders(found)
    yield "memory", memory(found)
    yield "lag", f"{found.lag:,} messages" if found.lag is not None else unknown_for(unknown["lag"])
    yield "restore", restore(found.restore)
    yield "dead letters", dead_letters(found)
    for each in found.indexes:
        yield "index", index(each)
    yield "partitions", unknown_for(unknown["partitions"]) if "partitions" in unknown else ""
    yield "processes", ", ".join(f"{each.kind} {each.pid}" for each in found.processes)


def readiness(found: Status) -> str:
    """Whether reading and writing are ready, and why not."""
    if found.ready and found.writing:
        return "yes"
    return f"{'for reading, not for writing' if found.ready else 'no'} ({reason(found)})"


def unknown_for(reason: str) -> str:
    """A figure that is unknown; some reasons of /readyz begin so themselves."""
    return reason if reason.startswith("unknown ") else f"unknown: {reason}"


def reason(found: Status) -> str:
    """Why it is not ready; a stop is explained once, with its partition."""
    said = found.reason
    for each in found.partitions:
        if each.reason:
            said = said.replace(each.reason, f"see partition {each.partition}")
    return said


def orders(found: Status) -> str:
    stored, in_memory = found.orders.stored, found.orders.in_memory
    about = "about " if found.orders.estimated else ""
    kept = f"{in_memory:,} in memory" if in_memory is not None else "unknown in memory"
    if stored is None:
        return f"{kept}; stored unknown: {found.unknown['orders.stored']}"
    return f"{about}{stored:,} stored, {kept}"


def memory(found: Status) -> str:
    used, limit = found.memory.used_bytes, found.memory.limit_bytes
    if used is None or not limit:
        return unknown_for(found.unknown["memory"])
    return f"{used / MIB:,.1f} of {limit / MIB:,.1f} MB ({100 * used // limit} %)"


def dead_letters(found: Status) -> str:
    count = found.dead_letters.open
    if count is None:
        return unknown_for(found.unknown["dead_letters.open"])
    return f"{count:,} open: see `orders dead-letters list`" if count else "none open"


def restore(restored: RestoreStatus) -> str:
    """How far memory is restored; while that is under way in percent and with the time that is left."""
    if restored.ok:
        return f"done, {restored.done:,} orders" if restored.done else "done, nothing was stored at the start"
    if not restored.total:
        return ""  # the reason of not being ready says it
    share = f"{restored.done:,} of {restored.total:,} orders ({100 * restored.done // restored.total} %)"
    left = restored.remaining_seconds
    return share if left is None else f"{share}, {duration(left)} left"


def index(each: IndexStatus) -> str:
    """What waits for an index, and how far it is."""
    waiting = f"{each.name}, for which {each.filters} wait"
    if each.state != "building":
        return f"{waiting}: {each.state}; `orders run` or `orders migrate` builds it, as the role that owns the tables"
    share = f", {100 * each.done // each.total} %" if each.total else ""
    return f"{waiting}: is being built{f' ({each.phase}{share})' if each.phase else ''}"


def uptime(seconds: float | None) -> str:
    return "" if seconds is None else f"up {duration(seconds)}"


def duration(seconds: float) -> str:
    """The two largest units that there are."""
    whole = int(seconds)
    if whole >= DAY:
        return f"{whole // DAY} d {whole % DAY // HOUR} h"
    if whole >= HOUR:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // MINUTE} min {whole % MINUTE} s" if whole >= MINUTE else f"{whole} s"


# ---- partitions ----


def partitions_shown(partitions: Sequence[PartitionStatus]) -> tuple[Sequence[PartitionStatus], int]:
    """Those that are shown, and how many are not."""
    if len(partitions) <= MOST_PARTITIONS:
        return partitions, 0
    shown = [each for each in partitions if each.lag != 0 or each.stop]
    return shown, len(partitions) - len(shown)


def partition_table(partitions: Sequence[PartitionStatus]) -> list[str]:
    """Numbers to the right, the rest to the left, each column as wide as it needs."""
    rows = [("partition", "position", "end", "lag", "waiting", "state"), *map(_row, partitions)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join([*map(str.rjust, row, widths), row[5]]).rstrip() for row in rows]


def _row(each: PartitionStatus) -> tuple[str, ...]:
    figures = (each.position, each.end, each.lag)
    numbers = ("?" if figure is None else f"{figure:,}" for figure in figures)
    age = "?" if each.lag_seconds is None else duration(each.lag_seconds) if each.lag else "-"
    state = "new" if each.stop == "new" else f"stopped: {each.stop}" if each.stop else ""
    return str(each.partition), *numbers, age, state


def wrapped(name: str, value: str, width: int | None) -> list[str]:
    """A fact in as many lines as it needs; paths and addresses stay whole."""
    line = f"{name:<{NAME_WIDTH}}{value}"
    if width is None:
        return [line]
    return textwrap.wrap(
        line,
        max(width, 2 * NAME_WIDTH),
        subsequent_indent=" " * NAME_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
