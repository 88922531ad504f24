"""The rule that keeps memory true: which bytes may be put, and for how long marks and floors hold. Pure.

An order that is being replaced or deleted carries the *marks* of the transactions at work on it; afterwards a *floor*,
the lowest version that may be put. Two times make this safe without anybody waiting for anybody:

* anyone who read or committed `FRESH` seconds ago or longer does not put, and a transaction that set its marks
  `LIFE` - `FRESH` seconds ago or longer does not commit;
* marks and floors hold for `LIFE` seconds, which is over twice as long: a read that began before a commit is too old to
  be put by the time the mark set before that commit expires, also when the ingest died and nobody took the mark away.
  `deadlines` has both, and the inequality.

A restore puts what it read long ago; so nothing expires while one is going on.

All this covers what this machine changes. What others change a keeper hears of; while none listens memory is sealed:
empty, and nothing is put.
"""

from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from orders.deadlines import FRESH, LIFE

_PAIR = Struct(">Qd")
_TIME = Struct(">d")


class View(NamedTuple):
    """What the rule needs to know of memory as a whole, looked at inside the write transaction."""

    now: float
    emptied_at: float
    restoring: bool
    sealed: bool = False


class Floor(NamedTuple):
    """What memory keeps of one changed order: its lowest version, when that was set, and marks: writer → when set.

    Each mark has its own time: else work that continues would keep a dead transaction's mark alive.
    """

    version: int = 0
    time: float = 0.0
    marks: Mapping[int, float] = {}


NO_FLOOR = Floor()


def pack(floor: Floor) -> bytes:
    """A floor as bytes: version and time, then writer and time of each mark."""
    return _PAIR.pack(floor.version, floor.time) + b"".join(_PAIR.pack(*mark) for mark in floor.marks.items())


def time_of(packed: bytes) -> float:
    """When the version was set, from a floor's bytes: a fifth of the price of `unpack`."""
    time: float = _TIME.unpack_from(packed, _TIME.size)[0]
    return time


def has_marks(packed: bytes) -> bool:
    """Whether a floor's bytes hold marks."""
    return len(packed) > _PAIR.size


def unpack(packed: bytes) -> Floor:
    """The inverse of `pack`."""
    (version, time), *marks = _PAIR.iter_unpack(packed)
    return Floor(version, time, dict(marks))


# The clauses, one by one.


def is_fresh(as_of: float, at: View) -> bool:
    """What was read or committed at `as_of` is recent enough to be covered by marks and floors."""
    return at.now - as_of < FRESH


def is_since_emptying(as_of: float, at: View) -> bool:
    """The read began after memory was emptied, which dropped the floors that would have stopped it."""
    return as_of > at.emptied_at


def is_open(at: View) -> bool:
    """A keeper hears what other machines change, as far as anybody knows."""
    return not at.sealed


def is_same_restore(token: float, at: View) -> bool:
    """Memory was not emptied since this restore began."""
    return token == at.emptied_at


def holds(time: float, at: View) -> bool:
    """A mark or floor set at `time` has not expired."""
    return at.restoring or at.now - time <= LIFE


def is_marked(floor: Floor, at: View) -> bool:
    """Some transaction is at work on the order, or died at it less than `LIFE` ago."""
    return any(holds(time, at) for time in floor.marks.values())


def lowest(floor: Floor, at: View) -> int:
    """The lowest version that may be put."""
    return floor.version if holds(floor.time, at) else 0


def is_newer(version: int, there: int) -> bool:
    """The version is above the one in memory (0: none), so that no reader goes back in time."""
    return version > there


# The rule.


def may_put(version: int, as_of: float, there: int, floor: Floor, at: View) -> bool:
    """Whether bytes read or committed at `as_of` may be put; `there` is the version in memory, 0 for none."""
    timely = is_fresh(as_of, at) and is_since_emptying(as_of, at)
    return timely and is_open(at) and _is_unhindered(version, there, floor, at)


def may_restore(version: int, token: float, there: int, floor: Floor, at: View) -> bool:
    """The same for the restore that `begin_restore` gave this token: its snapshot may be old, nothing expires."""
    return is_same_restore(token, at) and _is_unhindered(version, there, floor, at)


def _is_unhindered(version: int, there: int, floor: Floor, at: View) -> bool:
    if floor is NO_FLOOR:
        return is_newer(version, there)
    return not is_marked(floor, at) and version >= lowest(floor, at) and is_newer(version, there)


# How a floor changes.


def marked(floor: Floor, writer: int, at: View) -> Floor:
    """With the mark of a writer; expired marks are left out."""
    marks = {other: time for other, time in floor.marks.items() if holds(time, at)}
    return floor._replace(marks={**marks, writer: at.now})


def unmarked(floor: Floor, writer: int) -> Floor:
    """Without the mark of a writer."""
    return floor._replace(marks={other: time for other, time in floor.marks.items() if other != writer})


def raised(floor: Floor, version: int, at: View) -> Floor:
    """Raised to a version, from now on; an expired floor counts for nothing."""
    return floor._replace(version=max(version, lowest(floor, at)), time=at.now)


def is_spent(floor: Floor, at: View) -> bool:
    """Nothing in it holds any more."""
    return not is_marked(floor, at) and not holds(floor.time, at)


def outlives_emptying(floor: Floor, at: View) -> bool:
    """An ingest is at work on the order: its mark stays; reads that a floor would stop, the emptying itself stops."""
    return is_marked(floor, at._replace(restoring=False))
