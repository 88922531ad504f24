"""Dead letters: what is kept of one, and in what it differs from the record at its place. Pure."""

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from orders.ingest.store import storable
from orders.postgres.connection import REFUSALS
from orders.record import Record

_PLACE = Struct(">iq")
_DEAD_LETTER = Struct(">8s8s8s??")
DIGEST_BYTES = 8


class DeadLetterDigest(NamedTuple):
    """Digests of a dead letter's parts; `topic`: under the topic's name; `trial`: PostgreSQL refused it."""

    key: bytes
    value: bytes
    headers: bytes
    topic: bool
    trial: bool

    def differing(self, record: Record) -> tuple[str, ...]:
        """In which parts it is not what the record holds."""
        names, values = [storable(name) for name, _ in record.headers], [value for _, value in record.headers]
        found = digests(record.key, record.value, names, values, topic=True, reason="")
        return tuple(
            name for name in ("key", "value", "headers", "topic") if getattr(self, name) != getattr(found, name)
        )


def digests(
    key: bytes | None,
    value: bytes | None,
    names: Sequence[str | None],
    values: Sequence[bytes | None],
    *,
    topic: bool,
    reason: str,
) -> DeadLetterDigest:
    """What is kept of a dead letter with these names and values of headers."""
    headers = (
        [part(None if name is None else name.encode()) for name in names] + [b""] + [part(value) for value in values]
    )
    return DeadLetterDigest(part(key), part(value), part(b",".join(headers)), topic, reason.startswith(REFUSALS))


def part(value: bytes | None) -> bytes:
    """A digest; of nothing another one than of an empty value."""
    return bytes(DIGEST_BYTES) if value is None else blake2b(value, digest_size=DIGEST_BYTES).digest()


def pack(kept: DeadLetterDigest) -> bytes:
    """A dead letter's digests as bytes."""
    return _DEAD_LETTER.pack(*kept)


def unpack(packed: bytes) -> DeadLetterDigest:
    """The inverse of `pack`."""
    return DeadLetterDigest._make(_DEAD_LETTER.unpack(packed))


def place_key(partition: int, offset: int) -> bytes:
    """A place in the topic as a key."""
    return _PLACE.pack(partition, offset)


def place_of(key: bytes) -> tuple[int, int]:
    """The inverse of `place_key`."""
    partition, offset = _PLACE.unpack(key)
    return partition, offset
