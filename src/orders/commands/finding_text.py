"""`orders list` and `orders find` for a person: a table of orders, how many there are, and how to see more.

On a terminal the table is never wider than that: texts are cut, then columns are left out. Elsewhere all is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from orders.commands.finding import FoundOrder, FoundOrders
from orders.settings.secrets import plain

GAP = "  "
CUT = "…"
LONGEST_CURRENCY = 8

NOTHING_STORED = "no order is stored yet: send some with `orders send`"
NOTHING_FITS = "no order fits: `orders find TEXT` looks in all fields"
NOTHING_FOUND = "no order found"
BY_HAND = ("email", "name")
"""Fields whose indexes are made by hand."""
BY_BEGINNING = "no field is this text as a whole: these are names that begin with it\n"


class View(NamedTuple):
    """How a page is shown.

    `width` is that of the terminal in columns; `again` makes the command that shows the page of a cursor; `none` is
    said where there is no order at all, `note` before how many there are. `by_creation` shows when each was created.
    """

    width: int | None
    again: Callable[[str], str]
    is_first: bool
    none: str = NOTHING_FOUND
    note: str = ""
    by_creation: bool = False


class Column(NamedTuple):
    """A column: its heading, its cells, and to how many columns of a terminal they may be cut.

    Of two that are both too wide, the one of the higher `rank` keeps its width; the lower one is left out first.
    """

    name: str
    cells: Sequence[str]
    rank: int
    floor: int | None = None
    to_right: bool = False
    in_middle: bool = False

    @property
    def natural(self) -> int:
        """The width that it needs."""
        return max(map(cell_len, (self.name, *self.cells)))

    @property
    def least(self) -> int:
        """The width that it can be cut to."""
        return self.natural if self.floor is None else min(self.natural, self.floor)


def text(found: FoundOrders, view: View) -> str:
    """The page, what is to be said of it, and the command for the next one."""
    if found.is_end:
        return f"{view.none}{looked_in(found.searched)}" if view.is_first else "no more orders"
    more = f":\n{GAP}{plain(view.again(found.next))}" if found.next else ""
    if not found.orders:
        return f"none of the orders that were looked at so far; to look further{more}"
    end = "; the next page" if more else "" if view.is_first else ", the last page"
    shown = table(columns(found, view), view.width)
    return "\n".join([*shown, "", f"{view.note}{count(found)}{end}{more}"])


def looked_in(fields: Sequence[str]) -> str:
    """Where a text was not found, and where it could be looked for."""
    if not fields:
        return ""
    lacking = [each for each in BY_HAND if each not in fields]
    more = f"; for {' and '.join(lacking)}, PostgreSQL needs an index: docs/search.md" if lacking else ""
    return f": it was looked for in {matched(fields)}{more}"


def count(found: FoundOrders) -> str:
    """How many orders a page has, and of how many."""
    shown, total = len(found.orders), found.total
    if total is None or found.next is None:
        return orders(shown)
    return f"{shown:,} of {'about ' if total.is_estimate else ''}{orders(total.count)}"


def orders(number: int) -> str:
    return f"{number:,} order{'' if number == 1 else 's'}"


# ---- columns ----


def columns(found: FoundOrders, view: View) -> list[Column]:
    """What is shown of orders."""
    them = found.orders
    cells = partial(map, plain)
    times = [each.date_created if view.by_creation else each.received for each in them]
    shown = [
        Column("created (UTC)" if view.by_creation else "received (UTC)", list(map(moment, times)), 5),
        Column("order", list(cells(each.order_uid for each in them)), 7, 9, in_middle=True),
        Column("customer", list(cells(each.customer_id for each in them)), 3, 8),
        Column("items", list(cells(items(them))), 4, 10),
        Column("delivery", list(cells(map(delivery, them))), 2, 10),
        Column("total", totals(them, view.width), 6, to_right=True),
        Column("status", ["-" if each.status is None else str(each.status) for each in them], 1, to_right=True),
    ]
    if found.matched:
        shown.insert(2, Column("found in", [matched(found.matched.get(each.order_uid, ())) for each in them], 6, 9))
    return shown


def moment(time: str | None) -> str:
    """A time of RFC 3339 in UTC, to the second."""
    return plain(time[:19].replace("T", " ")) if time else "-"


def items(them: Sequence[FoundOrder]) -> list[str]:
    digits = max(len(f"{each.items:,}") for each in them)
    return [f"{each.items:>{digits},} {each.first_item or ''}".rstrip() for each in them]


def delivery(order: FoundOrder) -> str:
    return " · ".join(filter(None, (order.delivery_service, order.city))) or "-"


def totals(them: Sequence[FoundOrder], width: int | None) -> list[str]:
    """Amounts with their currencies, both aligned."""
    currencies = [plain(each.currency) for each in them]
    if width is not None:
        currencies = [cut(each, LONGEST_CURRENCY) for each in currencies]
    widest = max(map(cell_len, currencies))
    return [
        f"{each.amount:,} {set_cell_size(currency, widest)}" for each, currency in zip(them, currencies, strict=True)
    ]


def matched(fields: Sequence[str]) -> str:
    return plain(", ".join(each.replace("_", " ") for each in fields))


# ---- the table ----


def table(shown: Sequence[Column], width: int | None) -> list[str]:
    """Lines of a heading and of the cells, each column as wide as it may be."""
    fitting = widths(shown, width)
    kept = [each for each in shown if each.name in fitting]
    rows = zip(*((each.name, *each.cells) for each in kept), strict=True)
    return [GAP.join(aligned(*pair, fitting) for pair in zip(kept, row, strict=True)).rstrip() for row in rows]


def widths(shown: Sequence[Column], width: int | None) -> dict[str, int]:
    """How wide each column is that is shown; the first by rank always is."""
    kept = sorted(shown, key=lambda each: -each.rank)
    if width is None:
        return {each.name: each.natural for each in kept}
    while len(kept) > 1 and spare(kept, width) < 0:
        kept.pop()
    fitting = {each.name: min(each.least, width) for each in kept}
    left = max(0, spare(kept, width))
    for each in kept:  # all that one lacks, where there is so much
        if (lacking := each.natural - fitting[each.name]) <= left:
            fitting[each.name], left = each.natural, left - lacking
    return share(kept, fitting, left)


def spare(kept: Sequence[Column], width: int) -> int:
    """How much is left of a terminal's width where each column is as narrow as it can be."""
    return width - sum(each.least for each in kept) - len(GAP) * (len(kept) - 1)


def share(kept: Sequence[Column], fitting: Mapping[str, int], left: int) -> dict[str, int]:
    """Gives what is left to those that lack something, one to each in turn."""
    shared = dict(fitting)
    while left > 0 and (lacking := [each.name for each in kept if shared[each.name] < each.natural]):
        for name in lacking[:left]:
            shared[name] += 1
        left -= len(lacking[:left])
    return shared


def aligned(column: Column, cell: str, fitting: Mapping[str, int]) -> str:
    size = fitting[column.name]
    shown = (cut_in_middle if column.in_middle else cut)(cell, size)
    blank = " " * (size - cell_len(shown))
    return blank + shown if column.to_right else shown + blank


def cut(cell: str, size: int) -> str:
    """A text of at most `size` columns of a terminal."""
    return cell if cell_len(cell) <= size else set_cell_size(cell, size - 1).rstrip(" ·") + CUT


def cut_in_middle(cell: str, size: int) -> str:
    """The same with its beginning and its end; a text of ASCII."""
    begin = size // 2
    return cell if len(cell) <= size else f"{cell[:begin]}{CUT}{cell[len(cell) - (size - 1 - begin) :]}"
