"""Headers of migrations are read strictly, and a release takes the databases that say to be compatible with it."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import Misconfigured
from orders.postgres.migrations import Applied, Migration, parse, shipped, unapplied

STATEMENT = "create index concurrently orders_by_x on orders (x, id);\n"
POST = "-- phase: post\n-- transaction: no\n"


def test_a_file_without_a_header_is_applied_by_a_start_and_no_older_release_knows_it() -> None:
    text = "-- A sentence that ends with a colon: so.\n\nselect 1;\n"
    assert parse("0002_b.sql", text) == Migration("0002_b.sql", text)


def test_a_file_of_an_index_is_built_beside_the_running_system() -> None:
    text = f"{POST}-- compatible-with: 0001_a.sql\n\n-- Why it is there.\n{STATEMENT}"
    assert parse("0002_b.sql", text) == Migration("0002_b.sql", text, "post", "0001_a.sql", "orders_by_x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- phrase: post\n", "`phrase` is unknown or given twice"),
        ("-- phase: pre\n-- phase: pre\n", "`phase` is unknown or given twice"),
        ("-- Phase: post\n", "`Phase` is unknown or given twice"),
        ("--phase: later\n", "`phase` is pre or post"),
        ("-- transaction: maybe\n", "`transaction` is yes or no"),
        ("-- A comment.\n-- phase: post\n", "`phase` belongs at the beginning"),
        ("-- phase: post\nselect 1;\n", "`transaction` is `no` in post files, and in them alone"),
        ("-- transaction: no\nselect 1;\n", "`transaction` is `no` in post files, and in them alone"),
        ("-- compatible-with: 0002_b.sql\n", "`compatible-with` is the name of an earlier file"),
        ("-- compatible-with: 0001\n", "`compatible-with` is the name of an earlier file"),
        (POST, "a post file is one `create index concurrently NAME on TABLE ...`"),
        (f"{POST}create index orders_by_x on orders (x)", "a post file is one"),
        (f"{POST}create index concurrently if not exists orders_by_x on orders (x)", "a post file is one"),
        (f"{POST}{STATEMENT}{STATEMENT}", "a post file is one"),
        (f"{POST}create index concurrently {'x' * 51} on orders (x)", "a post file is one"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=f"^migration 0002_b.sql: {re.escape(why)}"):
        parse("0002_b.sql", text)


def test_shipped_files_are_compatible_with_files_that_there_are() -> None:
    names = [migration.name for migration in shipped()]
    assert names == sorted(names)
    assert {each.compatible_with for each in shipped()} - {None} <= set(names)


# ---- which histories a release takes ----


def named(number: int) -> str:
    return f"{number:04}_x.sql"


def release(numbers: Sequence[int], compatible: Sequence[int]) -> list[Migration]:
    """A release with these files, each compatible with the one of `compatible` at its place, 0: with none."""
    return [
        Migration(named(number), f"select {number}", compatible_with=named(oldest) if 0 < oldest < number else None)
        for number, oldest in zip(numbers, compatible, strict=False)
    ]


def applied(migrations: Sequence[Migration]) -> list[Applied]:
    return [Applied(each.name, each.sha256, each.compatible_with) for each in migrations]


numbers = st.lists(st.integers(1, 30), min_size=1, max_size=12, unique=True).map(sorted)
oldest = st.lists(st.integers(0, 30), min_size=12, max_size=12)


@given(numbers, oldest, st.data())
def test_a_release_takes_what_is_newer_and_compatible_and_nothing_else_that_it_does_not_know(
    all_numbers: list[int], compatible: list[int], data: st.DataObject
) -> None:
    everything = release(all_numbers, compatible)
    known = data.draw(st.lists(st.sampled_from(everything), min_size=1, unique=True).map(sorted))
    there = data.draw(st.lists(st.sampled_from(everything), unique=True))
    newest = known[-1].name
    unknown = [each for each in there if each not in known]
    is_taken = all(each.name > newest and (each.compatible_with or "9999") <= newest for each in unknown)
    try:
        lacking = unapplied(known, applied(there))
    except Misconfigured as error:
        assert not is_taken
        assert any(each.name in str(error) for each in unknown)  # noqa: PT017 - it is raised for some histories only
    else:
        assert is_taken
        assert lacking == [each for each in known if each not in there]


@given(numbers, oldest, st.data())
def test_a_file_that_was_edited_is_refused_whatever_else_there_is(
    all_numbers: list[int], compatible: list[int], data: st.DataObject
) -> None:
    known = release(all_numbers, compatible)
    edited = data.draw(st.sampled_from(known))
    there = [each._replace(sha256="other") if each.name == edited.name else each for each in applied(known)]
    with pytest.raises(Misconfigured, match=f"^migration {edited.name} differs"):
        unapplied(known, there)


@given(numbers, oldest, st.data())
def test_a_database_that_an_older_release_takes_is_taken_by_each_release_between(
    all_numbers: list[int], compatible: list[int], data: st.DataObject
) -> None:
    # So a rollout may pass over releases, and turn back to any of them.
    everything = release(all_numbers, compatible)
    older = data.draw(st.integers(1, len(everything)))
    between = data.draw(st.integers(older, len(everything)))
    try:
        unapplied(everything[:older], applied(everything))
    except Misconfigured:
        return
    assert unapplied(everything[:between], applied(everything)) == []
