"""Asks PostgreSQL for pages of orders, through connections of its own: nothing that GETs and POSTs wait on is used."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from orders.errors import Busy, IndexBuilding, NotIndexed
from orders.postgres.connection import queries
from orders.postgres.indexes import names
from orders.postgres.pool import QueryPool, Rows
from orders.search import statements
from orders.search.criteria import INDEXES, Criteria, Exact, Field, Time, fields_of, microseconds
from orders.search.cursor import Cursor, Position, encode
from orders.search.paging import Candidate, Part, Walk, cut, ends
from orders.search.statements import Payload, Question
from orders.timing import Clock, in_time

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


class Total(Struct, frozen=True):
    """How many orders a list has in all."""

    count: int
    is_estimate: bool


class Found(NamedTuple):
    """A page: bodies of orders as bytes of JSON, cursors to both sides, and for the first page how many there are.

    `matched` are the fields in which a text of `q` stands, by uid.
    """

    orders: Sequence[bytes]
    next: str | None
    prev: str | None
    total: Total | None
    matched: Mapping[str, Sequence[str]] = {}


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

    async def documents(self, uids: Sequence[str]) -> dict[str, bytes]:
        """The served documents of those of the orders that PostgreSQL has."""
        rows = await self._rows(Question(queries["documents_by_uid"], {"uids": list(uids)}))
        return {order_uid: document.encode() for order_uid, _, document in rows}

    async def _anywhere(self, criteria: Criteria, payload: Payload, walk: Walk) -> Found:
        """Orders that have the text as a whole; where none has, those in which a name begins with it."""
        fields = await self._searchable(criteria.value)
        rows = await self._rows(statements.anywhere(criteria.value, fields, payload, walk))
        if not rows and walk.after is None and self._has_index("name_prefix"):
            return await self._page(replace(criteria, field="name_prefix"), payload, walk)
        found = [Candidate(Position(row[0], row[1]), True, row[3], tuple(sorted(row[2]))) for row in rows]
        return await self._found(criteria, walk, cut(found, walk.limit, walk.limit + 1))

    async def _page(self, criteria: Criteria, payload: Payload, walk: Walk) -> Found:
        if criteria.searched:
            await self._check(criteria.searched)
        asked = statements.page(criteria, payload, walk)
        rows = await self._rows(asked)
        found = [Candidate(Position(row[0], row[1], _key(row[2])), row[3], row[4]) for row in rows]
        return await self._found(criteria, walk, cut(found, walk.limit, asked.values["candidates"]))

    async def _found(self, criteria: Criteria, walk: Walk, part: Part) -> Found:
        ascending = (criteria.field == "name_prefix") == (walk.direction == "next")
        before, behind = ends(walk, part, ascending=ascending)
        listed = part.rows if walk.direction == "next" else part.rows[::-1]
        return Found(
            [(row.payload or "").encode() for row in listed],
            encode(criteria, "next", behind) if behind else None,
            encode(criteria, "prev", before) if before else None,
            None if walk.after else await self._total(criteria, part),
            {row.position.order_uid: row.fields for row in listed if row.fields},
        )

    async def _total(self, criteria: Criteria, part: Part) -> Total:
        count = len(part.rows)
        if not part.goes_on:
            return Total(count, is_estimate=False)
        fields: Sequence[Field | None] = [criteria.field]
        if criteria.field == "q":
            fields = [each for each in await self._searchable(criteria.value) if each != "order_uid"]
        asked = [statements.estimated(replace(criteria, field=each)) for each in fields]
        found = [await self._rows(each) for each in asked]
        return Total(max(count + 1, sum(planned(rows) for rows in found)), is_estimate=True)

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


def _key(value: Any) -> int | str | None:
    return microseconds(value) if isinstance(value, datetime) else value


def planned(rows: Rows) -> int:
    """How many rows a plan expects."""
    return int(rows[0][0][0]["Plan"]["Plan Rows"])
