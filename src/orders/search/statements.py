"""The SQL of a page: one index in the order of the list, a bounded number of its rows, and which of them fit.

Everything is put together of constants; what a caller gave is bound. The keys are those of the indexes, letter by
letter, or PostgreSQL would not use them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, NamedTuple

from orders.search.criteria import Criteria, Exact, Field, Range, Time, moment
from orders.search.cursor import Direction, Position
from orders.search.paging import Walk

KEY_CHARACTERS = 64
"""Of a text so many characters are in its index: a longer key would not fit one (PostgreSQL's limit is 2,704 bytes)."""
CANDIDATES = 150
"""Rows that a page looks at, at most, where not all of them fit."""
PAGE_BYTES = 8_000_000
"""Bytes of orders in a page at most; one order is always there."""

Payload = LiteralString
DOCUMENT: Payload = "document"
SUMMARY: Payload = "summary"


class Term(NamedTuple):
    """How a field is searched: the key in its index, that of a value, and whether the whole value is the same."""

    key: LiteralString
    sought: LiteralString
    same: LiteralString


def _text(column: LiteralString) -> Term:
    return Term(f'left({column}, 64) collate "C"', "left(%(value)s, 64)", f"{column} = %(value)s")


def _folded(column: LiteralString) -> Term:
    return Term(
        f'left(search_fold({column}), 64) collate "C"',
        "left(search_fold(%(value)s), 64)",
        f"search_fold({column}) = search_fold(%(value)s)",
    )


TERMS: Mapping[Field | Exact, Term] = {
    "order_uid": Term("order_uid", "%(value)s", "true"),
    "track_number": _text("track_number"),
    "customer_id": _text("customer_id"),
    "transaction": _text("payment_transaction"),
    "phone": Term('search_phone(delivery_phone) collate "C"', "search_phone(%(value)s)", "true"),
    "email": _folded("delivery_email"),
    "name": _folded("delivery_name"),
}
PREFIX = Term(
    TERMS["name"].key, TERMS["name"].sought, "starts_with(search_fold(delivery_name), search_fold(%(value)s))"
)
TIMES: Mapping[Time, LiteralString] = {"created": "date_created", "received": "record_time"}
ALL = Term("true", "true", "true")

_NEWEST_FIRST: Mapping[Direction, tuple[LiteralString, LiteralString]] = {"next": ("<", "desc"), "prev": (">", "asc")}
_A_TO_Z: Mapping[Direction, tuple[LiteralString, LiteralString]] = {"next": (">", "asc"), "prev": ("<", "desc")}

PAGE: LiteralString = """
with candidate as (
    select id, order_uid, {key} as key, {payload} as payload, ({same}) and ({within}) as fits
    from documents
    where {where}
    order by {order}
    limit %(candidates)s
), counted as (
    select *, row_number() over listed as number,
           sum(octet_length(payload)) filter (where fits) over listed as bytes
    from candidate window listed as (order by {listed} rows unbounded preceding)
)
select id, order_uid, key, fits,
       case when fits and bytes <= greatest(%(bytes)s, octet_length(payload)) then payload end
from counted order by number
"""
ANYWHERE: LiteralString = """
select id, order_uid, array_agg(field), (array_agg(payload))[1]
from ({parts}) as found
group by id, order_uid
order by id {order}, order_uid {order}
limit %(candidates)s
"""
PART: LiteralString = """(
    select id, order_uid, '{field}' as field, {payload} as payload
    from documents
    where {where}
    order by id {order}, order_uid {order}
    limit %(candidates)s
)"""
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
    by_time = TIMES[criteria.range.time] if criteria.range and criteria.field is None else None
    by_name = TERMS["name"].key if criteria.field == "name_prefix" else None
    column = by_time or by_name
    comparison, order = (_A_TO_Z if by_name else _NEWEST_FIRST)[walk.direction]
    term = PREFIX if by_name else TERMS[criteria.field] if criteria.field else ALL
    where = [_where(criteria, term)]
    if walk.after:
        where.append(_behind(column, comparison))
    sql = PAGE.format(
        key=column or "null::bigint",
        payload=payload,
        same=term.same,
        within=_within(criteria.range) if criteria.field else "true",
        where=" and ".join(where),
        order=f"{column} {order}, id {order}, order_uid {order}" if column else f"id {order}, order_uid {order}",
        listed=f"key {order}, id {order}, order_uid {order}",
    )
    may_not_fit = criteria.field is not None and (criteria.range is not None or len(criteria.value) > KEY_CHARACTERS)
    candidates = max(walk.limit + 1, CANDIDATES if may_not_fit else 0)
    values = {"candidates": candidates, "bytes": PAGE_BYTES, **_values(criteria), **_bounds(walk.after)}
    return Question(sql, values)


def anywhere(value: str, fields: Sequence[Exact], payload: Payload, walk: Walk) -> Question:
    """Orders that have a text as a whole in one of these fields, and one more: (id, order_uid, fields, payload)."""
    comparison, order = _NEWEST_FIRST[walk.direction]
    behind: LiteralString = f" and {_behind(None, comparison)}" if walk.after else ""
    parts = [
        PART.format(
            field=field,
            payload=payload,
            where=f"{TERMS[field].key} = {TERMS[field].sought}{behind}",
            order=order,
        )
        for field in fields
    ]
    sql = ANYWHERE.format(parts=" union all ".join(parts), order=order)
    bounds = _bounds(walk.after)
    return Question(sql, {"candidates": walk.limit + 1, "value": value, **bounds})


def estimated(criteria: Criteria) -> Question:
    """What PostgreSQL's planner says of the orders that fit."""
    term = PREFIX if criteria.field == "name_prefix" else TERMS[criteria.field] if criteria.field else ALL
    within = _within(criteria.range) if criteria.field else "true"
    sql = ESTIMATE.format(where=f"{_where(criteria, term)} and {within}")
    return Question(sql, _values(criteria))


def _where(criteria: Criteria, term: Term) -> LiteralString:
    """What the index is asked for."""
    if criteria.field == "name_prefix":  # U+10FFFF is the last character there is
        return f"{term.key} >= {term.sought} and {term.key} < {term.sought} || chr(1114111)"
    return f"{term.key} = {term.sought}" if criteria.field else _within(criteria.range)


def _within(range_: Range | None) -> LiteralString:
    if range_ is None:
        return "true"
    column = TIMES[range_.time]
    return f"{column} >= %(since)s and {column} < %(until)s"


def _behind(column: LiteralString | None, comparison: LiteralString) -> LiteralString:
    if column is None:
        return f"(id, order_uid) {comparison} (%(id)s, %(order_uid)s)"
    return f"({column}, id, order_uid) {comparison} (%(key)s, %(id)s, %(order_uid)s)"


def _values(criteria: Criteria) -> dict[str, Any]:
    within = {"since": moment(criteria.range.since), "until": moment(criteria.range.until)} if criteria.range else {}
    return {"value": criteria.value, **within}


def _bounds(after: Position | None) -> dict[str, Any]:
    if after is None:
        return {}
    key = moment(after.key) if isinstance(after.key, int) else after.key
    return {"key": key, "id": after.id, "order_uid": after.order_uid}
