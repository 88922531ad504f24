"""Lists of orders for a person, on narrow and wide terminals and into a pipe."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size, split_text

from orders.commands.finding import FoundOrder, FoundOrders, FoundTotal
from orders.commands.finding_text import (
    BY_BEGINNING,
    GAP,
    NOTHING_FITS,
    View,
    columns,
    cut,
    cut_in_middle,
    table,
    text,
    widths,
)

FIRST = FoundOrder(
    *("b563feg7bdg3286ttjr67siej", 2, 7, "2026-11-30T12:41:07.25Z", "2021-11-26T06:22:19Z", "WBILMTESTTRACK", "test"),
    *("meest", "Kiryat Mozkin", "USD", 1817, 1, "Mascaras", 202),
)
OTHER = replace(
    FIRST,
    order_uid="88cff026ed18ee5af42",
    received=None,
    customer_id="c186729",
    delivery_service="pickup",
    city="東京",
    currency="RUB",
    amount=12_345_678,
    items=12,
    first_item="Свитер шерстяной",
    status=None,
)
PAGE = FoundOrders([FIRST, OTHER], "next", None, FoundTotal(1_200_000, is_estimate=True))


def again(cursor: str) -> str:
    return f"orders list --cursor {cursor}"


PIPE = View(None, again, is_first=True)


def shown(found: FoundOrders, width: int | None = None) -> list[str]:
    return text(found, PIPE._replace(width=width)).splitlines()


def test_a_pipe_gets_all_in_a_line_an_order_with_how_many_there_are_and_the_next_command() -> None:
    assert shown(PAGE) == [
        (
            "received (UTC)       order                      customer  items                delivery"
            "                        total  status"
        ),
        (
            "2026-11-30 12:41:07  b563feg7bdg3286ttjr67siej  test       1 Mascaras          meest · Kiryat Mozkin"
            "       1,817 USD     202"
        ),
        (
            "-                    88cff026ed18ee5af42        c186729   12 Свитер шерстяной  pickup · 東京"
            "          12,345,678 RUB       -"
        ),
        "",
        "2 of about 1,200,000 orders; the next page:",
        "  orders list --cursor next",
    ]


def test_80_columns_cut_texts_and_leave_out_the_status() -> None:
    assert shown(PAGE, 80)[:3] == [
        "received (UTC)       order      customer  items       delivery             total",
        "2026-11-30 12:41:07  b563…siej  test       1 Mascar…  meest · K…       1,817 USD",
        "-                    88cf…af42  c186729   12 Свитер…  pickup…     12,345,678 RUB",
    ]


def test_where_each_order_was_found_is_said() -> None:
    found = replace(
        PAGE, next=None, total=FoundTotal(2, is_estimate=False), matched={FIRST.order_uid: ["phone", "customer_id"]}
    )
    lines = shown(found)
    at = lines[0].index("found in")
    assert [line[at : at + 18].rstrip() for line in lines[1:3]] == ["phone, customer id", ""]
    assert lines[-1] == "2 orders"


def test_a_list_by_creation_shows_when_each_was_created() -> None:
    lines = text(PAGE, PIPE._replace(by_creation=True)).splitlines()
    assert lines[0].startswith("created (UTC) ")
    assert lines[1].startswith("2021-11-26 06:22:19 ")


@pytest.mark.parametrize(
    ("page", "view", "last"),
    [
        (
            replace(PAGE, orders=[]),
            PIPE,
            "none of the orders that were looked at so far; to look further:\n  orders list --cursor next",
        ),
        (replace(PAGE, orders=[], next=None), PIPE._replace(none=NOTHING_FITS), NOTHING_FITS),
        (replace(PAGE, orders=[], next=None), PIPE._replace(is_first=False), "no more orders"),
        (replace(PAGE, next=None, total=None), PIPE._replace(is_first=False), "2 orders, the last page"),
        (
            replace(PAGE, total=None),
            PIPE._replace(is_first=False),
            "2 orders; the next page:\n  orders list --cursor next",
        ),
        (replace(PAGE, orders=[FIRST], next=None), PIPE, "1 order"),
        (replace(PAGE, next=None), PIPE._replace(note=BY_BEGINNING), f"{BY_BEGINNING}2 orders"),
    ],
)
def test_what_is_said_below_a_page(page: FoundOrders, view: View, last: str) -> None:
    assert text(page, view).rpartition("\n\n")[2] == last


def test_no_stored_text_moves_the_cursor_of_a_terminal() -> None:
    hostile = "\x1b[31m\r\n\x07\x9b\u202e"
    order = replace(
        FIRST, customer_id=hostile, city=hostile, delivery_service=hostile, currency=hostile, first_item=hostile
    )
    lines = text(replace(PAGE, orders=[order], next=hostile, matched={order.order_uid: [hostile]}), PIPE).split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 5


texts = st.text("aZ0 ·éЖ漢🙂\u0301\x1b\n\u202e", max_size=20).map(lambda each: each.lstrip("\u0301"))
"""Wide characters, a combining one, control characters."""
orders = st.builds(
    FoundOrder,
    order_uid=st.from_regex(r"[A-Za-z0-9._~-]{1,128}", fullmatch=True),
    id=st.just(1),
    version=st.just(1),
    received=st.sampled_from(["2026-11-30T12:41:07Z", None]),
    date_created=st.none(),
    track_number=texts,
    customer_id=texts,
    delivery_service=texts,
    city=texts,
    currency=texts,
    amount=st.integers(-(2**63), 2**63 - 1),
    items=st.integers(0, 10**6),
    first_item=texts | st.none(),
    status=st.integers(-(2**63), 2**63 - 1) | st.none(),
)
pages = st.lists(orders, min_size=1, max_size=3).map(lambda them: FoundOrders(them, None, None))


@given(page=pages, width=st.integers(1, 250))
@example(page=PAGE, width=80)
def test_no_line_is_wider_than_the_terminal_and_columns_stand_at_one_place(page: FoundOrders, width: int) -> None:
    them = columns(page, View(width, again, is_first=True))
    sizes = widths(them, width)
    kept = [each for each in them if each.name in sizes]
    lines = table(them, width)
    assert len(lines) == len(page.orders) + 1
    assert max(map(cell_len, lines)) <= width
    for line in lines:
        rest = set_cell_size(line, sum(sizes.values()) + len(GAP) * (len(kept) - 1))
        for column in kept[:-1]:
            part, rest = divided(rest, sizes[column.name] + len(GAP))
            assert part.endswith(GAP)


def divided(line: str, at: int) -> tuple[str, str]:
    """Both sides of a place, in columns of a terminal, which no wide character covers."""
    left, right = split_text(line, at)
    assert left + right == line
    return left, right


@given(page=pages)
def test_numbers_end_at_one_place_and_are_never_cut(page: FoundOrders) -> None:
    totals = columns(page, PIPE)[5].cells
    assert (
        len({cell_len(each) - len(f"{order.amount:,}") for each, order in zip(totals, page.orders, strict=True)}) == 1
    )


@given(page=pages)
def test_a_terminal_that_is_wide_enough_shows_what_a_pipe_gets_but_long_currencies(page: FoundOrders) -> None:
    short = replace(page, orders=[replace(each, currency="USD") for each in page.orders])
    assert shown(short, 10_000) == shown(short)


@given(cell=st.text(max_size=30).filter(str.isprintable), size=st.integers(1, 40))
def test_a_cut_text_fits_and_begins_as_the_whole(cell: str, size: int) -> None:
    part = cut(cell, size)
    assert cell_len(part) <= size
    assert part == cell or (part.endswith("…") and cell.startswith(part[:-1].rstrip()))


@pytest.mark.parametrize(
    ("size", "part"), [(25, "b563feg7bdg3286ttjr67siej"), (10, "b563f…siej"), (3, "b…j"), (2, "b…"), (1, "…")]
)
def test_a_uid_is_cut_in_the_middle(size: int, part: str) -> None:
    assert cut_in_middle(FIRST.order_uid, size) == part
