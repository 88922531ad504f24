"""Which of the rows that were read make a page, and where the list continues on both sides. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from orders.search.cursor import Direction, Position

LAST = "~"
"""The last of the characters that a uid may have."""


class Walk(NamedTuple):
    """Which part of a list: at most `limit` orders behind a position, or from the list's beginning."""

    direction: Direction
    after: Position | None
    limit: int


class Candidate(NamedTuple):
    """A row that was read: whether it fits the criteria, and its body unless the page has as many bytes as it may.

    A body that cannot be shown is empty. `fields` are those in which a text of `q` stands.
    """

    position: Position
    fits: bool
    payload: str | None
    fields: tuple[str, ...] = ()


class Part(NamedTuple):
    """The rows of a page, in the walk's direction, between the first and the last row that were looked at."""

    rows: Sequence[Candidate]
    first: Position | None
    last: Position | None
    continues: bool


def cut(candidates: Sequence[Candidate], limit: int, most: int) -> Part:
    """The page among the candidates, of which at most `most` were asked for."""
    rows: list[Candidate] = []
    last = None
    for each in candidates:
        if each.fits and (len(rows) == limit or each.payload is None):
            return Part(rows, candidates[0].position, last, continues=True)
        last = each.position
        if each.fits:
            rows.append(each)
    return Part(rows, candidates[0].position if candidates else None, last, continues=len(candidates) == most)


def ends(walk: Walk, part: Part, *, ascending: bool) -> tuple[Position | None, Position | None]:
    """Before which position the list continues to its beginning, and behind which to its end; None: it does not.

    From a page one can go back to the page before, even where nothing was left in this one: then the position of the
    request counts again. `ascending` is how the rows were read.
    """
    ahead = part.last if part.continues else None
    if walk.after is None:
        return None, ahead
    back = part.first or replace(walk.after, order_uid=walk.after.order_uid + LAST if ascending else "")
    return (back, ahead) if walk.direction == "next" else (ahead, back)
