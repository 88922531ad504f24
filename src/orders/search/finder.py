"""Asks PostgreSQL for pages of orders, through connections of its own: nothing that GETs and POSTs wait on is used."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace

from orders.errors import Busy, IndexBuilding, NotIndexed, Rejected
from orders.postgres.connection import queries
from orders.postgres.indexes import names
from orders.postgres.pool import QueryPool, Rows, each_apart
from orders.search import statements
from orders.search.criteria import INDEXES, Criteria, Exact, Field, Time, fields_of, microseconds
from orders.search.cursor import Cursor, Position, encode
from orders.search.paging import Candidate, Part, Walk, cut, ends
from orders.search.statements import DOCUMENT, NOTHING, Payload, Question
from orders.timing import Clock, in_time

log = structlog.get_logger()

STATEMENT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 4.0
WAIT_SECONDS: Final = 1.0
"""How long a page waits for one of the connections, which others use."""
STATES_SECONDS: Final = 2.0
"""How old what is known of the indexes may be."""
BY_INDEX: Final[Mapping[str, str]] = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
}
"""A page is read by its index in the order of the list, whatever the planner believes of how many rows there are."""
MOST: Final = 200
"""Most orders in a page."""
ANY_BYTES: Final = 2**62

Bodies = Mapping[str, bytes | None]
"""JSON of orders by uid; None where SQL by hand has made of a row what PostgreSQL cannot show."""


class TooManyBytesError(Exception):
    """Orders that were asked for by their uids are too large together."""


class OrderTotal(Struct, frozen=True):
    """How many orders a list has in all."""

    count: Annotated[int, Meta(ge=0, description="How many")]
    is_estimate: Annotated[bool, Meta(description="Whether PostgreSQL's planner guessed it; else it was counted")]


class Found(NamedTuple):
    """A page: bodies of orders by their uids, cursors to both sides, and for the first page how many there are.

    `matched` are the fields in which a text of `q` stands, by uid; `searched` are those in which it was looked for.
    """

    orders: Bodies
    next: str | None
    prev: str | None
    total: OrderTotal | None
    matched: Mapping[str, Sequence[str]] = {}
    searched: Sequence[str] = ()


class OrderFinder:
    """Reads pages; every call raises `Busy`, `Unavailable`, `Misconfigured`, or `IndexBuilding` until it is built."""

    def __init__(self, dsn: str, connections: int, clock: Clock) -> None:
        self._pool = QueryPool(dsn, "search", connections, statement_seconds=STATEMENT_SECONDS, settings=BY_INDEX)
        self._places = asyncio.Semaphore(connections)
        self._clock = clock
        self._shipped = frozenset(names())
        self._states: Mapping[str, str] = {}
        self._looked_at = -STATES_SECONDS

    async def open(self) -> None:
        """Starts; does not wait for PostgreSQL."""
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def page(self, criteria: Criteria, limit: int, payload: Payload, cursor: Cursor | None) -> Found:
        """A page of at most `limit` orders: the first by the criteria, or what the cursor leads to by its own."""
        criteria = cursor.criteria if cursor else criteria
        walk = Walk(cursor.direction, cursor.position, limit) if cursor else Walk("next", None, limit)
        look = self._anywhere if criteria.field == "q" else self._page
        return await look(criteria, payload, walk)

    async def documents(self, uids: Sequence[str], most_bytes: int) -> Bodies:
        """The served documents of those of the orders that PostgreSQL has. Raises `TooManyBytesError`."""
        return await self._bodies(uids, DOCUMENT, most_bytes)

    async def _bodies(self, uids: Sequence[str], payload: Payload, most_bytes: int) -> Bodies:
        async def ask(some: list[str]) -> dict[str, bytes]:
            rows = await self._rows(statements.bodies(some, payload, most_bytes))
            if any(body is None for _, body in rows):
                raise TooManyBytesError
            return {order_uid: body.encode() for order_uid, body in rows}

        found = await each_apart(list(uids), ask)
        return {order_uid: _readable(order_uid, body) for order_uid, body in found.items()}

    async def _anywhere(self, criteria: Criteria, payload: Payload, walk: Walk) -> Found:
        """Orders that have the text as a whole; where none has, those in which a name begins with it."""
        fields = await self._searchable(criteria.value)
        part = await self._part(partial(statements.anywhere, criteria.value, fields, walk=walk), payload, walk.limit)
        is_found = bool(part.rows) or part.continues or walk.after is not None
        if not is_found and self._has_index("name_prefix"):
            found = await self._page(replace(criteria, field="name_prefix"), payload, walk)
            return found._replace(searched=(*fields, "name_prefix"))
        lists = [replace(criteria, field=each) for each in fields if each != "order_uid"]
        return (await self._found(criteria, walk, part, lists))._replace(searched=fields)

    async def _page(self, criteria: Criteria, payload: Payload, walk: Walk) -> Found:
        if criteria.searched:
            await self._check(criteria.searched)
        part = await self._part(partial(statements.page, criteria, walk=walk), payload, walk.limit)
        return await self._found(criteria, walk, part, [criteria])

    async def _part(self, ask: Callable[..., Question], payload: Payload, limit: int) -> Part:
        asked = ask(payload=payload)
        try:
            rows = await self._rows(asked)
        except Rejected:
            rows = await self._rows(ask(payload=NOTHING))
            found = await self._apart([_candidate(row) for row in rows], payload, limit)
        else:
            found = [_candidate(row) for row in rows]
        return cut(found, limit, asked.values["candidates"])

    async def _apart(self, found: Sequence[Candidate], payload: Payload, limit: int) -> list[Candidate]:
        """The same with bodies that were asked for by their uids, as one among them cannot be shown."""
        uids = [each.position.order_uid for each in found if each.fits][:limit]
        bodies = await self._bodies(uids, payload, ANY_BYTES) if uids else {}
        return [
            _with_body(each, bodies) if each.position.order_uid in uids else each._replace(payload=None)
            for each in found
        ]

    async def _found(self, criteria: Criteria, walk: Walk, part: Part, lists: Sequence[Criteria]) -> Found:
        """`lists` are those that the page is of: one, or that of each field in which a text was looked for."""
        ascending = (criteria.field == "name_prefix") == (walk.direction == "next")
        before, behind = ends(walk, part, ascending=ascending)
        listed = part.rows if walk.direction == "next" else part.rows[::-1]
        return Found(
            {row.position.order_uid: (row.payload or "").encode() or None for row in listed},
            encode(criteria, "next", behind) if behind else None,
            encode(criteria, "prev", before) if before else None,
            None if walk.after else await self._total(lists, part),
            {row.position.order_uid: row.fields for row in listed if row.fields},
        )

    async def _total(self, lists: Sequence[Criteria], part: Part) -> OrderTotal:
        count = len(part.rows)
        if not part.continues:
            return OrderTotal(count, is_estimate=False)
        found = [planned(await self._rows(statements.estimated(each))) for each in lists]
        return OrderTotal(max(count + 1, sum(found)), is_estimate=True)

    async def _searchable(self, text: str) -> list[Exact]:
        """In which fields a text of `q` may stand as a whole, without those whose index nobody has made by hand."""
        await self._look()
        fields: list[Exact] = [each for each in fields_of(text) if each == "order_uid" or self._has_index(each)]
        for each in fields:
            if each != "order_uid":
                await self._check(each)
        return fields

    async def _check(self, searched: Field | Time) -> None:
        """Raises `IndexBuilding` until an index is valid: a search without it would read every order.

        Raises `NotIndexed` for one that nobody has made by hand.
        """
        await self._look()
        if not self._has_index(searched):
            raise NotIndexed(searched)
        if self._states[INDEXES[searched]] != "valid":
            raise IndexBuilding(f"the index {INDEXES[searched]} is not valid yet")

    def _has_index(self, searched: Field | Time) -> bool:
        """Whether its index is there, or will be without anyone's help."""
        index = INDEXES[searched]
        return index in self._shipped or self._states.get(index, "missing") != "missing"

    async def _look(self) -> None:
        if self._clock() - self._looked_at >= STATES_SECONDS:
            rows = await self._rows(Question(queries["index_states"], {"names": list(INDEXES.values())}))
            self._states, self._looked_at = {row[0]: row[1] for row in rows}, self._clock()

    async def _rows(self, asked: Question) -> Rows:
        try:
            await asyncio.wait_for(self._places.acquire(), WAIT_SECONDS)
        except TimeoutError:
            raise Busy("as many searches run as there are connections for them") from None
        return await in_time(self._ask(asked), ANSWER_SECONDS)

    async def _ask(self, asked: Question) -> Rows:
        """Leaves its place when PostgreSQL has answered, also to nobody."""
        try:
            return await self._pool.rows(asked.sql, asked.values)
        finally:
            self._places.release()


def _candidate(row: tuple[Any, ...]) -> Candidate:
    id_, order_uid, key, fits, payload = row
    if isinstance(key, list):
        return Candidate(Position(id_, order_uid), fits, payload, tuple(key))
    key = microseconds(key) if isinstance(key, datetime) else key
    return Candidate(Position(id_, order_uid, key), fits, payload)


def _readable(order_uid: str, body: bytes | Rejected) -> bytes | None:
    if isinstance(body, bytes):
        return body
    log.warning("order_unreadable", order_uid=order_uid, reason=str(body))
    return None


def _with_body(candidate: Candidate, bodies: Bodies) -> Candidate:
    """One that is gone meanwhile does not fit any more."""
    uid = candidate.position.order_uid
    return candidate._replace(fits=uid in bodies, payload=(bodies.get(uid) or b"").decode())


def planned(rows: Rows) -> int:
    """How many rows a plan expects."""
    return int(rows[0][0][0]["Plan"]["Plan Rows"])
