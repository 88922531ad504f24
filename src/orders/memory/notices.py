"""What processes tell each other about memory, as JSON.

On the notice board in memory each ingest and the keeper of a machine post how they are. By NOTIFY a transaction tells
the keepers of all machines which orders it changed. Unknown fields are passed over, so that a later release may add
some; a field that an earlier release did not write has a default.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from orders.errors import OrdersError
from orders.metrics.table import IngestState
from orders.order import Uid
from orders.record import StopKind
from orders.timing import Clock

INGEST = "ingest:"
"""Each ingest posts under this name and its number."""
KEEPER = "keeper"
GONE_SECONDS = 10.0
"""A process that has not posted for so long counts as gone."""

KeeperState = Literal["waiting", "restoring", "ready"]
Version = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class IngestNotice(Struct, frozen=True):
    """How an ingest is: its partitions, why it does not run, and which partitions are stopped.

    `at` is the time of the notice, here and below on the clock of `timing.monotonic`.
    """

    partitions: tuple[int, ...]
    state: IngestState
    at: float
    reason: str = ""
    stopped: dict[int, StopKind] = {}


class KeeperNotice(Struct, frozen=True):
    """How the keeper is: orders that it restored, how many there will be, and why it waits."""

    state: KeeperState
    at: float
    restored: int = 0
    total: int = 0
    reason: str = ""


class ChangedOrders(Struct, frozen=True):
    """The orders that a transaction changed, with their new versions; the memory of `memory` has them already."""

    memory: str
    changes: list[tuple[Uid, Version]]


class Board(NamedTuple):
    """The notices of the processes that are not gone; None: no keeper."""

    ingests: Sequence[IngestNotice] = ()
    keeper: KeeperNotice | None = None


Posted = TypeVar("Posted", IngestNotice, KeeperNotice)

_ingest = msgspec.json.Decoder(IngestNotice).decode
_keeper = msgspec.json.Decoder(KeeperNotice).decode
changed_orders = msgspec.json.Decoder(ChangedOrders).decode
"""Decodes what came by NOTIFY. Raises `msgspec.MsgspecError` or `RecursionError`."""


def encode(notice: IngestNotice | KeeperNotice | ChangedOrders) -> bytes:
    """JSON for the board, or for NOTIFY."""
    return msgspec.json.encode(notice)


def read_board(read: Callable[[], Mapping[str, bytes]], clock: Clock) -> Board:
    """Who has posted lately. `read` returns all notices by name; while it raises `OrdersError` the board is empty."""
    try:
        found = read()
    except OrdersError:
        return Board()
    now = clock()
    ingests = [_recent(_ingest, text, now) for name, text in found.items() if name.startswith(INGEST)]
    return Board([each for each in ingests if each], _recent(_keeper, found.get(KEEPER, b""), now))


def _recent(decode: Callable[[bytes], Posted], text: bytes, now: float) -> Posted | None:
    """A notice, or None if it is unreadable or old."""
    try:
        notice = decode(text)
    except msgspec.MsgspecError:
        return None
    return notice if now - notice.at <= GONE_SECONDS else None
