"""What memory holds against what PostgreSQL serves, while both change."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from orders.memory.shared import Memory, Put
from orders.postgres.connection import Connection, queries, translated
from orders.verify.findings import Findings

ENTRIES_AT_ONCE = 500
SUSPECTS_AT_ONCE = 10_000
LOOKS = 5
LOOK_SECONDS = 1.0
"""A difference counts if it is still there after so many looks, so far apart: other machines hear a little later."""

Read = Callable[[Sequence[str]], Mapping[str, Put]]


def reader(connection: Connection) -> Read:
    """Reads orders as they are served."""

    def read(uids: Sequence[str]) -> Mapping[str, Put]:
        with translated():
            rows = connection.execute(queries["documents_by_uid"], {"uids": list(uids)}).fetchall()
        return {order_uid: Put(order_uid, version, document.encode()) for order_uid, version, document in rows}

    return read


def compare(
    memory: Memory,
    read: Read,
    findings: Findings,
    advance: Callable[[int], None],
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Compares all entries of memory with PostgreSQL now; how many there were. Raises `Unavailable` or `Misconfigured`.

    An entry is false only if memory has it before and after PostgreSQL was read: an ingest drops it before it commits.
    """
    count, suspects = 0, list[str]()
    for puts in memory.entries(ENTRIES_AT_ONCE):
        suspects += false_ones(puts, memory, read)
        count += len(puts)
        advance(len(puts))
        if len(suspects) >= SUSPECTS_AT_ONCE:
            _tell(suspects, memory, read, findings, wait)
            suspects = []
    _tell(suspects, memory, read, findings, wait)
    return count


def _tell(
    suspects: Iterable[str], memory: Memory, read: Read, findings: Findings, wait: Callable[[float], None]
) -> None:
    found = dict.fromkeys(suspects, "")
    for _ in range(LOOKS):
        if found:
            wait(LOOK_SECONDS)
            found = _still(found, memory, read)
    for order_uid, kind in found.items():
        findings.differ(kind, order_uid=order_uid)


def _still(suspects: Iterable[str], memory: Memory, read: Read) -> dict[str, str]:
    """Those that are false now."""
    rest, found = iter(suspects), dict[str, str]()
    while part := list(islice(rest, ENTRIES_AT_ONCE)):
        found |= false_ones(memory.look(part).values(), memory, read)
    return found


def false_ones(puts: Iterable[Put], memory: Memory, read: Read) -> dict[str, str]:
    """Which entries are other than in PostgreSQL and still in memory, and how they differ."""
    entries = {put.order_uid: put for put in puts}
    served = read(list(entries))
    wrong = {each: entries[each] for each in entries if entries[each] != served.get(each)}
    after = memory.look(list(wrong))
    return {each: kind_of(put, served.get(each)) for each, put in wrong.items() if after.get(each) == put}


def kind_of(put: Put, served: Put | None) -> str:
    """How an entry of memory differs from what PostgreSQL serves."""
    if served is None:
        return "memory unknown"
    return "memory content" if put.version == served.version else "memory version"
