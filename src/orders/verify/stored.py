"""What PostgreSQL holds at one moment, brought into the scratch file: the snapshot is over before the topic is read.

A long snapshot would keep PostgreSQL from clearing away what ingest replaces meanwhile.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from orders.order import UID_PATTERN
from orders.postgres.connection import Connection, queries, snapshot
from orders.record import Span
from orders.verify import dead_letters, history
from orders.verify.findings import Findings
from orders.verify.history import DELETED, StoredRow
from orders.verify.scratch import Scratch

ANSWER_SECONDS = 1800.0
"""The most that one step waits: before the first row comes, all orders may be sorted."""
STREAMED = 100
"""Rows that come at once."""

is_uid = re.compile(UID_PATTERN).search

Rows = Iterator[tuple[Any, ...]]


Skips = Mapping[int, list[Span]]


class Snapshot(NamedTuple):
    """Positions by (topic id, partition), and how many orders and dead letters there are.

    `foreign`: some come from an older topic of this name. `skips`: what was left out of each partition.
    """

    positions: dict[tuple[str, int], int]
    orders: int
    dead_letters: int
    foreign: bool
    skips: Skips


class DatabaseReader:
    """Reads the one topic's part of PostgreSQL into the scratch file; what is wrong by itself goes to the findings."""

    def __init__(self, connection: Connection, topic: str, topic_id: str, scratch: Scratch, findings: Findings) -> None:
        self._connection = connection
        self._wanted = {"topic": topic, "topic_id": topic_id}
        self._rows = scratch.tree("rows")
        self._dead_letters = scratch.tree("dead_letters")
        self._replays = scratch.tree("replays")
        self._findings = findings
        self._foreign = False

    def read(self, advance: Callable[[int], None]) -> Snapshot:
        """Reads all of one moment; `advance` gets how many more orders were read.

        Raises `Unavailable` or `Misconfigured`.
        """
        self._connection.answer_seconds = ANSWER_SECONDS
        with snapshot(self._connection):
            positions = self._positions()
            for kind, order_uid in self._connection.execute(queries["duplicate_numbers"]):
                self._findings.differ(kind, order_uid=order_uid)
            refused = self._read_dead_letters()
            for partition, offset, outcome in self._stream("replays_to_verify", STREAMED):
                self._replays.put(dead_letters.place_key(partition, offset), outcome.encode())
            skips = self._skips()
            orders = self._read_orders(advance)
        return Snapshot(positions, orders, refused, self._foreign, skips)

    def _skips(self) -> Skips:
        skips = dict[int, list[Span]]()
        for partition, begin, end in self._connection.execute(queries["skips_to_verify"], self._wanted):
            skips.setdefault(partition, []).append(Span(begin, end))
        return skips

    def _positions(self) -> dict[tuple[str, int], int]:
        rows = self._connection.execute(queries["positions_of_topic"], self._wanted).fetchall()
        self._foreign = any(topic_id != self._wanted["topic_id"] for topic_id, *_ in rows)
        return {(topic_id, partition): position for topic_id, partition, position in rows}

    def _read_orders(self, advance: Callable[[int], None]) -> int:
        """How many there are. A uid that no record can have is reported at once."""
        count = 0
        for order_uid, ours, partition, offset, version, document in self._stream("orders_to_verify", STREAMED):
            count += 1
            advance(1)
            if not is_uid(order_uid):
                self._findings.differ("unsent", order_uid=order_uid, place=(partition, offset))
                continue
            row = StoredRow(ours, partition, offset, version, digest_of(canonical(document)))
            self._rows.put(order_uid.encode(), history.pack_row(row))
            self._foreign = self._foreign or not ours
        return count

    def _read_dead_letters(self) -> int:
        """The same for dead letters."""
        count = 0
        for ours, named, partition, offset, key, value, names, values, reason in self._stream(
            "dead_letters_to_verify", 1
        ):
            count += 1
            if ours:
                kept = dead_letters.digests(key, value, names, values, topic=named, reason=reason)
                self._dead_letters.put(dead_letters.place_key(partition, offset), dead_letters.pack(kept))
            else:
                self._foreign = True
                self._findings.leave("older topic")
        return count

    def _stream(self, query: str, size: int) -> Rows:
        with self._connection.cursor() as cursor:
            yield from cursor.stream(queries[query], self._wanted, binary=True, size=size)


def canonical(document: bytes) -> bytes:
    """The canonical text of an order in the document that is served: without the id that comes first in it."""
    return b"{" + document[document.find(b",") + 1 : -1]


def digest_of(text: bytes) -> bytes:
    """What stands for a canonical text."""
    return blake2b(text, digest_size=len(DELETED)).digest()
