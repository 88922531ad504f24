"""What travels between Kafka and PostgreSQL: records, what the decoder made of them, what became of them."""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from orders.order import Content

REPLY_HEADER = "orders-reply"
"""Header of a record whose producer waits for its outcome; any value."""

CONDITION_HEADER = "orders-condition"
"""Header with the condition under which a record may change anything: `absent` or `version=N`."""

REPLAY_HEADER = "orders-replay"
"""Header of a record that replays a dead letter: a `Replay` as JSON."""

Outcome = Literal["created", "replaced", "unchanged", "deleted", "conflict", "refused"]

InvalidKind = Literal[
    "schema",
    "not_json",
    "too_large",
    "too_deep",
    "date",
    "unknown_fields",
    "nul",
    "surrogates",
    "tombstone_key",
    "condition",
    "postgres",
]
"""What is wrong with a refused message, in one word for each kind."""


class Record(Struct, frozen=True, gc=False):
    """One record as Kafka gave it.

    `time` is the record's timestamp in milliseconds since the epoch, or None where it has none.
    `headers_lost`: header names were not UTF-8 and could not be read.
    `epoch` is the leader epoch under which the brokers took it (KIP-320), or None where they do not report it.
    """

    partition: int
    offset: int
    time: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    headers_lost: bool = False
    epoch: int | None = None


class Invalid(Struct, frozen=True):
    """Why a message is refused. `path` is a JSONPath such as `$.items[0].price`; "" for the whole."""

    reason: str
    path: str = ""
    fault: InvalidKind = "schema"

    @property
    def is_json(self) -> bool:
        return self.fault != "not_json"


class Tombstone(Struct, frozen=True):
    """A record with a null value: the order of that uid is to be deleted."""

    order_uid: str


class Condition(NamedTuple):
    """What must hold of the stored order: absent (`version` None), or at exactly this version."""

    version: int | None


class RecordCoordinates(NamedTuple):
    """Where a record lies."""

    topic_id: str
    partition: int
    offset: int


Positions = Mapping[tuple[str, int], int]
"""The next offset of each partition that is not stored yet, by topic id and partition."""


class Replay(Struct, frozen=True, kw_only=True):
    """Which dead letter a record replays: its place and its record's time, in milliseconds, if it had one.

    `attempt` names this replay among others of the same dead letter. A forced one takes the place of a newer order.
    """

    topic_id: Annotated[str, Meta(pattern=r"^[ -~]{1,200}\Z")]
    partition: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    time: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    attempt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    forced: bool = False

    @property
    def place(self) -> RecordCoordinates:
        """Where the dead letter lies."""
        return RecordCoordinates(self.topic_id, self.partition, self.offset)


class Entry(Struct, frozen=True):
    """A record and what the decoder made of it."""

    record: Record
    content: Content | Tombstone | Invalid
    condition: Condition | None = None
    reply: bool = False
    replay: Replay | None = None


class Reached(NamedTuple):
    """Up to where a partition was read, and the leader epoch of what lies before; None if it is unknown.

    What lies before is a record, or the control record that a transaction left where it ended.
    """

    offset: int
    epoch: int | None = None


class Span(NamedTuple):
    """Offsets of one partition in a batch: from `begin` (the stored position) up to, not with, `end`.

    `epoch` is the leader epoch of the control record before `end`; None where a record is there, which has its own.
    """

    begin: int
    end: int
    epoch: int | None = None


class Batch(Struct, frozen=True):
    """Entries in the order they came, and per partition the span they cover; leaves as one transaction."""

    entries: tuple[Entry, ...]
    spans: dict[int, Span]


StopKind = Literal["dead_letters", "retention", "went_back", "unreadable", "anew", "new"]
"""Why a partition is not read on, in one word: too many dead letters, its position was passed by retention, Kafka's log
was truncated, what it holds cannot be read, the topic was recreated; a new one waits for the older ones: see
`growth`."""


SETTLING: tuple[Outcome, ...] = ("created", "replaced", "unchanged", "deleted")
"""Outcomes of a replay after which its dead letter is replayed: what it asked for holds."""

NEW = "the topic gained this partition: what was written before to the older ones is stored first"
"""The sentence of those that are new."""


class Stop(NamedTuple):
    """A partition is not read on until somebody resumes it; `reason` is one sentence."""

    kind: StopKind
    reason: str


class Position(NamedTuple):
    """Where a partition stands in PostgreSQL: the first offset not stored, and the leader epoch of the one before.

    A partition that the topic gained is not read at and above `below`; `new_for` is how many seconds it has been known.
    """

    offset: int
    epoch: int | None = None
    stop: Stop | None = None
    below: int | None = None
    new_for: float | None = None


class Round(NamedTuple):
    """A new partition may be read below `end` once the older ones are stored up to `awaited`.

    The last round lets all of it be read.
    """

    end: int
    awaited: Mapping[int, int]
    is_last: bool


class RefusalWindow(NamedTuple):
    """What a batch finds of a partition: which of its last records were refused, and from which offset they count."""

    refused: bytes = b""
    counted_from: int = 0


class Moved(NamedTuple):
    """What a batch leaves in it."""

    offset: int
    epoch: int | None = None
    refused: bytes = b""


BatchCause = Literal["dry", "records", "bytes", "age", "retry", "stop"]
"""Why a batch is written now: the stream ran dry, a bound is reached, an outage may be over, or the process ends."""


def uid_of(entry: Entry) -> str | None:
    """The uid that an entry is about; None for an invalid message."""
    match entry.content:
        case Content(row=row):
            return row.order_uid
        case Tombstone(order_uid=order_uid):
            return order_uid
        case Invalid():
            return None
