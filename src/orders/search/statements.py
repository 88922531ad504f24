"""The SQL of a page: one index in the order of the list, a bounded number of its rows, and which of them fit.

Everything is put together of constants; what a caller gave is bound. The keys are those of the indexes, letter by
letter, or PostgreSQL would not use them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, NamedTuple

from orders.search.criteria import LAST, Criteria, Exact, Field, Range, Time, moment
from orders.search.cursor import Direction, Position
from orders.search.paging import Walk

KEY_CHARACTERS = 64
"""Of a text so many characters are in its index: a longer key would not fit one (PostgreSQL's limit is 2,704 bytes)."""
CANDIDATES = 100
"""Rows that a page looks at, at most, where not all of them fit."""
PAGE_BYTES = 8_000_000
"""Bytes of orders in a page at most; one order is always there."""

Payload = LiteralString
DOCUMENT: Payload = "document"
SUMMARY: Payload = "summary"
NOTHING: Payload = "''"
"""Where only the places in the list are asked for."""


class Term(NamedTuple):
    """How a field is searched: the key in its index, that of a value, whether the whole value is the same.

    `indexed` is which orders the index has; `own` finds the one that it may lack.
    """

    key: LiteralString
    sought: LiteralString
    same: LiteralString
    indexed: LiteralString = "true"
    own: LiteralString = ""


def _text(column: LiteralString) -> Term:
    return Term(f'left({column}, 64) collate "C"', "left(%(value)s, 64)", f"{column} = %(value)s")


def _folded(column: LiteralString) -> Term:
    return Term(
        f'left(search_fold({column}), 64) collate "C"',
        "left(search_fold(%(value)s), 64)",
        f"search_fold({column}) = search_fold(%(value)s)",
    )


TERMS: Mapping[Field, Term] = {
    "track_number": _text("track_number"),
    "customer_id": _text("customer_id"),
    "transaction": _text("payment_transaction")._replace(
        indexed="payment_transaction <> order_uid",
        own="order_uid = %(value)s and payment_transaction = %(value)s",
    ),
    "phone": Term('search_phone(delivery_phone) collate "C"', "search_phone(%(value)s)", "true"),
    "email": _folded("delivery_email"),
    "name": _folded("delivery_name"),
}
PREFIX = Term(
    TERMS["name"].key, TERMS["name"].sought, "starts_with(search_fold(delivery_name), search_fold(%(value)s))"
)
TIMES: Mapping[Time, LiteralString] = {"created": "date_created", "received": "record_time"}
YEAR_10000 = "10000-01-01 00:00+00"
"""What a range without an end is below: all moments that a `datetime` holds are."""

_NEWEST_FIRST: Mapping[Direction, tuple[LiteralString, LiteralString]] = {"next": ("<", "desc"), "prev": (">", "asc")}
_A_TO_Z: Mapping[Direction, tuple[LiteralString, LiteralString]] = {"next": (">", "asc"), "prev": ("<", "desc")}
_BUCKETS: Mapping[Direction, tuple[LiteralString, LiteralString]] = {
    "next": ("select max(id) >> 20 from documents", "id < bucket.number << 20"),
    "prev": ("select min(id) >> 20 from documents", "id > (bucket.number << 20) + 1048575"),
}
"""The bucket where a walk begins, and of which ids it continues with the next one."""

ROWS: LiteralString = """
    select id, order_uid, {key} as key, {payload} as payload, {fits} as fits
    from documents
    where {where}
    order by {order}
    limit %(candidates)s
"""
BY_KEY: LiteralString = """
    select id, order_uid, null::bigint as key, {payload} as payload, {fits} as fits from documents where {where}
"""
"""One order at most: with an order of rows PostgreSQL would look for it in the index that has this order."""
BUCKETS: LiteralString = """bucket (number) as (
    select {begin}
    union all
    select ({first} where {beyond}) from bucket where number is not null
), """
"""The buckets that have orders, one after the other, as far as they are asked for: ids may have gaps of any size."""
BY_BUCKETS: LiteralString = """
    select part.* from bucket cross join lateral ({rows}) as part limit %(candidates)s
"""
"""An index of terms has the orders of 1,048,576 ids together, a bucket: a new order meets pages that are in memory.

PostgreSQL gives the rows of this nested loop bucket by bucket; a sort would read all of them.
"""
WITH_OWN: LiteralString = """
    select * from (({rows}) union all ({own})) as both_ways order by {order} limit %(candidates)s
"""
GROUPED: LiteralString = """
    select id, order_uid, array_agg(field order by field) filter (where fits) as key,
           (array_agg(payload))[1] as payload, bool_or(fits) as fits
    from ({parts}) as found
    group by id, order_uid
    order by {order}
    limit %(candidates)s
"""
PART: LiteralString = "(select id, order_uid, '{field}' as field, payload, fits from ({rows}) as rows_of_field)"
PAGE: LiteralString = """
with recursive {buckets} candidate as ({rows}), counted as (
    select *, row_number() over listed as number,
           sum(octet_length(payload)) filter (where fits) over listed as bytes
    from candidate window listed as (order by {listed} rows unbounded preceding)
)
select id, order_uid, key, fits,
       case when fits and bytes <= greatest(%(bytes)s, octet_length(payload)) then payload end
from counted order by number
"""
BODIES: LiteralString = """
select order_uid, case when sum(octet_length({payload})) over () <= %(bytes)s then {payload} end
from documents where order_uid = any(%(uids)s)
"""
ESTIMATE: LiteralString = "explain (format json) select from documents where {where}"


class Question(NamedTuple):
    """A statement and its values."""

    sql: LiteralString
    values: Mapping[str, Any]


def page(criteria: Criteria, payload: Payload, walk: Walk) -> Question:
    """Rows of a list in the walk's direction: (id, order_uid, key, whether it fits, payload).

    There are more rows than `limit` where the list may continue. A row that fits and has no payload is where the page
    has as many bytes as it may.
    """
    _, order = (_A_TO_Z if criteria.field == "name_prefix" else _NEWEST_FIRST)[walk.direction]
    term = _term(criteria)
    if term:
        rows = _of_term(term, payload, f"{term.same} and {_within(criteria.range)}", walk)
    else:
        rows = _of_list(criteria, payload, walk)
    sql = PAGE.format(
        buckets=_buckets(walk) if term else "", rows=rows, listed=f"key {order}, id {order}, order_uid {order}"
    )
    may_not_fit = criteria.field is not None and criteria.range is not None
    most = _most(criteria.value, walk, may_not_fit=may_not_fit)
    return Question(sql, {**most, **_values(criteria), **_bounds(walk.after)})


def anywhere(value: str, fields: Sequence[Exact], payload: Payload, walk: Walk) -> Question:
    """Orders that have a text as a whole in one of these fields, as `page` has them: with the fields for a key."""
    _, order = _NEWEST_FIRST[walk.direction]
    listed: LiteralString = f"id {order}, order_uid {order}"
    parts = [PART.format(field=field, rows=_of_field(field, payload, walk)) for field in fields]
    rows = GROUPED.format(parts=" union all ".join(parts), order=listed)
    sql = PAGE.format(buckets=_buckets(walk), rows=rows, listed=listed)
    return Question(sql, {**_most(value, walk), "value": value, **_bounds(walk.after)})


def _most(value: str, walk: Walk, *, may_not_fit: bool = False) -> dict[str, int]:
    """How much a page reads; what has the key of a value as long as it may be another one."""
    candidates = CANDIDATES if may_not_fit or len(value) >= KEY_CHARACTERS else 0
    return {"candidates": max(walk.limit + 1, candidates), "bytes": PAGE_BYTES}


def bodies(uids: Sequence[str], payload: Payload, most_bytes: int) -> Question:
    """Bodies by uid: (order_uid, body); each body is null where all have more than so many bytes."""
    return Question(BODIES.format(payload=payload), {"uids": list(uids), "bytes": most_bytes})


def estimated(criteria: Criteria) -> Question:
    """What PostgreSQL's planner says of the orders that fit."""
    term = _term(criteria)
    if term:
        where: LiteralString = f"{term.key} = {term.sought} and {term.indexed} and {_within(criteria.range)}"
    else:
        where = _listed(criteria)
    return Question(ESTIMATE.format(where=where), _values(criteria))


def _term(criteria: Criteria) -> Term | None:
    """Of a list by a term; None for one of all orders, of a time, or by name from A to Z."""
    return TERMS.get(criteria.field) if criteria.field else None


def _of_field(field: Exact, payload: Payload, walk: Walk) -> LiteralString:
    if field == "order_uid":
        return _by_key(payload, "true", "order_uid = %(value)s", walk)
    return _of_term(TERMS[field], payload, TERMS[field].same, walk)


def _of_term(term: Term, payload: Payload, fits: LiteralString, walk: Walk) -> LiteralString:
    """Orders with a term, bucket by bucket."""
    where: LiteralString = f"id >> 20 = bucket.number and {term.key} = {term.sought} and {term.indexed}"
    rows = BY_BUCKETS.format(rows=_rows(payload, fits, where, walk))
    if not term.own:
        return rows
    _, order = _NEWEST_FIRST[walk.direction]
    own = _by_key(payload, fits, term.own, walk)
    return WITH_OWN.format(rows=rows, own=own, order=f"id {order}, order_uid {order}")


def _buckets(walk: Walk) -> LiteralString:
    """Those of a walk, from the one of its position on."""
    first, beyond = _BUCKETS[walk.direction]
    begin: LiteralString = "%(id)s::bigint >> 20" if walk.after else f"({first})"
    return BUCKETS.format(begin=begin, first=first, beyond=beyond)


def _by_key(payload: Payload, fits: LiteralString, where: LiteralString, walk: Walk) -> LiteralString:
    comparison, _ = _NEWEST_FIRST[walk.direction]
    behind: LiteralString = f" and {_behind(None, comparison)}" if walk.after else ""
    return BY_KEY.format(payload=payload, fits=fits, where=where + behind)


def _of_list(criteria: Criteria, payload: Payload, walk: Walk) -> LiteralString:
    """Orders by id, by a time in a range, or by name from A to Z."""
    if criteria.field == "name_prefix":
        return _rows(payload, PREFIX.same, _part_of(criteria, _A_TO_Z, walk), walk, PREFIX.key)
    column = TIMES[criteria.range.time] if criteria.range else None
    return _rows(payload, "true", _part_of(criteria, _NEWEST_FIRST, walk), walk, column)


def _part_of(
    criteria: Criteria, orders: Mapping[Direction, tuple[LiteralString, LiteralString]], walk: Walk
) -> LiteralString:
    """What the index of a list is asked for beside the position, without the end that the walk moves away from.

    PostgreSQL would begin to read at that end, and not at the position.
    """
    if walk.after is None:
        return _listed(criteria)
    first, last = _ends(criteria)
    return last if orders[walk.direction][0] == ">" else first


def _listed(criteria: Criteria) -> LiteralString:
    """What all orders of a list are."""
    return " and ".join(_ends(criteria))


def _ends(criteria: Criteria) -> tuple[LiteralString, LiteralString]:
    """What all keys of a list by a time or by names are at or above, and below."""
    if criteria.field is None:
        return _ends_of(criteria.range)
    # U+10FFFF is the last character there is, and a key has 64
    return f"{PREFIX.key} >= {PREFIX.sought}", f"{PREFIX.key} < {PREFIX.sought} || repeat(chr(1114111), 65)"


def _rows(
    payload: Payload,
    fits: LiteralString,
    where: LiteralString,
    walk: Walk,
    column: LiteralString | None = None,
) -> LiteralString:
    """Rows by one index, in the order of `column`, id and uid, behind the walk's position."""
    comparison, order = (_A_TO_Z if column == PREFIX.key else _NEWEST_FIRST)[walk.direction]
    return ROWS.format(
        key=column or "null::bigint",
        payload=payload,
        fits=fits,
        where=f"{where} and {_behind(column, comparison)}" if walk.after else where,
        order=f"{column} {order}, id {order}, order_uid {order}" if column else f"id {order}, order_uid {order}",
    )


def _within(range_: Range | None) -> LiteralString:
    return " and ".join(_ends_of(range_))


def _ends_of(range_: Range | None) -> tuple[LiteralString, LiteralString]:
    if range_ is None:
        return "true", "true"
    column = TIMES[range_.time]
    return f"{column} >= %(since)s", f"{column} < %(until)s"


def _behind(column: LiteralString | None, comparison: LiteralString) -> LiteralString:
    if column is None:
        return f"(id, order_uid) {comparison} (%(id)s, %(order_uid)s)"
    return f"({column}, id, order_uid) {comparison} (%(key)s, %(id)s, %(order_uid)s)"


def _values(criteria: Criteria) -> dict[str, Any]:
    if criteria.range is None:
        return {"value": criteria.value}
    since, until = criteria.range.since, criteria.range.until
    end = moment(until) if until <= LAST else YEAR_10000
    return {"value": criteria.value, "since": moment(since), "until": end}


def _bounds(after: Position | None) -> dict[str, Any]:
    if after is None:
        return {}
    key = moment(after.key) if isinstance(after.key, int) else after.key
    return {"key": key, "id": after.id, "order_uid": after.order_uid}
