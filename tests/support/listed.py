"""Orders as rows that a test puts into the table by itself, and the list that has them, in plain Python."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from orders.search.criteria import Criteria, microseconds
from orders.search.criteria import fields_of as fields_of_text
from support.page import blocks


def index_by_hand(connection: "psycopg.Connection[Any]") -> None:
    """Makes everything searchable, by the statements of docs/search.md."""
    for statement in blocks("search.md", "sql"):
        connection.execute(statement.replace(" concurrently", "").encode())


class Listed(NamedTuple):
    """An order as lists see it. A time is text where only SQL by hand writes it: no list by that time has it."""

    uid: str
    id: int
    track_number: str = ""
    customer_id: str = ""
    transaction: str = ""
    phone: str = ""
    email: str = ""
    name: str = ""
    created: datetime | str = datetime(2026, 1, 1, tzinfo=UTC)
    received: datetime | str | None = None
    version: int = 1
    items: str = "[]"
    extra: str | None = None

    def is_found_by(self, criteria: Criteria) -> bool:
        field, value = criteria.field, criteria.value
        return (field is None or self.has(field, value)) and (criteria.range is None or self._is_within(criteria))

    def has(self, field: str, value: str) -> bool:
        """Whether a field has the value, as a search compares it."""
        match field:
            case "phone":
                return _digits(self.phone) == _digits(value)
            case "email" | "name":
                return bool(getattr(self, field).lower() == value.lower())
            case "name_prefix":
                return self.name.lower().startswith(value.lower())
            case "order_uid":
                return self.uid == value
            case _:
                return bool(getattr(self, field) == value)

    def key(self, criteria: Criteria) -> tuple[Any, ...]:
        """What the list is sorted by: lists of names ascending, others descending."""
        if criteria.field == "name_prefix":
            return (self.name.lower()[:64].encode(), self.id, self.uid)
        return (*([self._time(criteria)] if criteria.range and not criteria.field else []), self.id, self.uid)

    def _time(self, criteria: Criteria) -> datetime | str | None:
        assert criteria.range
        return self.created if criteria.range.time == "created" else self.received

    def _is_within(self, criteria: Criteria) -> bool:
        assert criteria.range
        time = self._time(criteria)
        return isinstance(time, datetime) and criteria.range.since <= microseconds(time) < criteria.range.until


def _digits(text: str) -> str:
    return "".join(re.findall("[0-9]", text))[-10:]


def list_of(orders: Iterable[Listed], criteria: Criteria) -> tuple[list[Listed], Mapping[str, Sequence[str]]]:
    """The whole list, and of one by `q` the fields that have the text, by uid."""
    if criteria.field != "q":
        found = [order for order in orders if order.is_found_by(criteria)]
        return sorted(found, key=lambda order: order.key(criteria), reverse=criteria.field != "name_prefix"), {}
    fields = fields_of_text(criteria.value)
    matched = {order: sorted(each for each in fields if order.has(each, criteria.value)) for order in orders}
    if not any(matched.values()):
        return list_of(orders, Criteria("name_prefix", criteria.value))
    found = sorted((order for order in matched if matched[order]), key=lambda each: each.key(criteria), reverse=True)
    return found, {order.uid: matched[order] for order in found}


INSERT = """
insert into orders values (
    %(uid)s, %(track_number)s, '', %(name)s, %(phone)s, '', 'City', '', '', %(email)s, %(transaction)s, '', 'USD', '',
    7, 0, '', 0, 0, 0, %(items)s, '', '', %(customer_id)s, 'meest', '', 0, %(created)s, '', %(extra)s, %(id)s,
    %(version)s, 't', 0, 0, %(received)s
)
"""


def insert(connection: psycopg.Connection, *orders: Listed) -> None:
    """Puts them into the table."""
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, [each._asdict() for each in orders])


def replace(connection: psycopg.Connection, order: Listed) -> None:
    """Writes one again as ingest does: deleted and inserted in one transaction."""
    with connection.transaction():
        delete(connection, order)
        insert(connection, order)


def delete(connection: psycopg.Connection, order: Listed) -> None:
    connection.execute("delete from orders where order_uid = %s", [order.uid])
