"""The rule that keeps memory true: which bytes may be put, and for how long fences and minimum versions hold. Pure.

An order that is being replaced or deleted carries the *fences* of the transactions at work on it; afterwards a
*minimum version*, below which nothing is put. Two times make this safe without anybody waiting for anybody:

* anyone who read or committed `FRESH` seconds ago or longer does not put, and a transaction that set its fences
  `LIFE` - `FRESH` seconds ago or longer does not commit;
* fences and minimum versions hold for `LIFE` seconds, which is over twice as long: a read that began before a commit is
  too old to be put by the time the fence set before that commit expires, also when the ingest died and nobody removed
  the fence. `deadlines` has both, and the inequality.

A restore puts what it read long ago; so nothing expires while one runs.

All this covers what this machine changes. What others change a keeper hears of; while none listens memory is sealed:
empty, and nothing is put.
"""

from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from orders.deadlines import FRESH, LIFE

_PAIR = Struct(">Qd")
_TIME = Struct(">d")


class MemoryView(NamedTuple):
    """What the rule needs to know of memory as a whole, looked at inside the write transaction."""

    now: float
    emptied_at: float
    restoring: bool
    sealed: bool = False


class Restriction(NamedTuple):
    """What restricts puts of one changed order: its minimum version, when that was set, and fences: writer → when set.

    Each fence has its own time: else work that continues would keep a dead transaction's fence alive.
    """

    version: int = 0
    time: float = 0.0
    fences: Mapping[int, float] = {}


UNRESTRICTED = Restriction()


def pack(restriction: Restriction) -> bytes:
    """A restriction as bytes: version and time, then writer and time of each fence."""
    return _PAIR.pack(restriction.version, restriction.time) + b"".join(
        _PAIR.pack(*fence) for fence in restriction.fences.items()
    )


def time_of(packed: bytes) -> float:
    """When the version was set, from a restriction's bytes: a fifth of the price of `unpack`."""
    time: float = _TIME.unpack_from(packed, _TIME.size)[0]
    return time


def has_fences(packed: bytes) -> bool:
    """Whether a restriction's bytes hold fences."""
    return len(packed) > _PAIR.size


def unpack(packed: bytes) -> Restriction:
    """The inverse of `pack`."""
    (version, time), *fences = _PAIR.iter_unpack(packed)
    return Restriction(version, time, dict(fences))


# The clauses, one by one.


def is_fresh(as_of: float, at: MemoryView) -> bool:
    """What was read or committed at `as_of` is recent enough to be covered by fences and minimum versions."""
    return at.now - as_of < FRESH


def is_since_emptying(as_of: float, at: MemoryView) -> bool:
    """The read began after memory was emptied, which dropped the minimum versions that would have stopped it."""
    return as_of > at.emptied_at


def is_open(at: MemoryView) -> bool:
    """A keeper hears what other machines change, as far as anybody knows."""
    return not at.sealed


def is_same_restore(token: float, at: MemoryView) -> bool:
    """Memory was not emptied since this restore began."""
    return token == at.emptied_at


def holds(time: float, at: MemoryView) -> bool:
    """A fence or minimum version set at `time` has not expired."""
    return at.restoring or at.now - time <= LIFE


def is_fenced(restriction: Restriction, at: MemoryView) -> bool:
    """Some transaction is at work on the order, or died at it less than `LIFE` ago."""
    return any(holds(time, at) for time in restriction.fences.values())


def minimum_version(restriction: Restriction, at: MemoryView) -> int:
    """The lowest version that may be put."""
    return restriction.version if holds(restriction.time, at) else 0


def is_newer(version: int, there: int) -> bool:
    """The version is above the one in memory (0: none), so that no reader goes back in time."""
    return version > there


# The rule.


def may_put(version: int, as_of: float, there: int, restriction: Restriction, at: MemoryView) -> bool:
    """Whether bytes read or committed at `as_of` may be put; `there` is the version in memory, 0 for none."""
    timely = is_fresh(as_of, at) and is_since_emptying(as_of, at)
    return timely and is_open(at) and _is_unhindered(version, there, restriction, at)


def may_restore(version: int, token: float, there: int, restriction: Restriction, at: MemoryView) -> bool:
    """The same for the restore that `begin_restore` gave this token: its snapshot may be old, nothing expires."""
    return is_same_restore(token, at) and _is_unhindered(version, there, restriction, at)


def _is_unhindered(version: int, there: int, restriction: Restriction, at: MemoryView) -> bool:
    if restriction is UNRESTRICTED:
        return is_newer(version, there)
    return not is_fenced(restriction, at) and version >= minimum_version(restriction, at) and is_newer(version, there)


# How a restriction changes.


def fenced(restriction: Restriction, writer: int, at: MemoryView) -> Restriction:
    """With the fence of a writer; expired fences are left out."""
    fences = {other: time for other, time in restriction.fences.items() if holds(time, at)}
    return restriction._replace(fences={**fences, writer: at.now})


def unfenced(restriction: Restriction, writer: int) -> Restriction:
    """Without the fence of a writer."""
    return restriction._replace(fences={other: time for other, time in restriction.fences.items() if other != writer})


def raised(restriction: Restriction, version: int, at: MemoryView) -> Restriction:
    """Raised to a version, from now on; an expired minimum version counts for nothing."""
    return restriction._replace(version=max(version, minimum_version(restriction, at)), time=at.now)


def is_spent(restriction: Restriction, at: MemoryView) -> bool:
    """Nothing in it holds any more."""
    return not is_fenced(restriction, at) and not holds(restriction.time, at)


def outlives_emptying(restriction: Restriction, at: MemoryView) -> bool:
    """An ingest is at work on the order: its fence stays. Reads below a minimum version the emptying stops."""
    return is_fenced(restriction, at._replace(restoring=False))
