"""Checks as they are read: on a terminal, in a file, by a program."""

import io

import pytest
from rich.console import Console

from orders.doctor import show
from orders.doctor.check import Check, checks_of, failed, ok, skipped, warning

CHECKS = [
    ok("Python", "3.11"),
    warning("disk", "little " * 20, "make room"),
    failed("Kafka", "away"),
    skipped("lag", "unknown"),
]


def shown(*checks: Check, terminal: bool, no_color: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, no_color=no_color, soft_wrap=True, highlight=False)
    for check in checks:
        show.show(check, console)
    return out.getvalue()


def test_in_a_file_each_sentence_is_one_line() -> None:
    lines = shown(*CHECKS, terminal=False).splitlines()
    assert lines[0] == "✓ ok       Python              3.11"
    assert lines[1] == f"! warning  disk                {'little ' * 20}"
    assert lines[2] == f"{' ' * 28}-> make room"
    assert [line.split()[:3] for line in lines[3:]] == [["✗", "failed", "Kafka"], ["-", "skipped", "lag"]]


def test_on_a_terminal_lines_fit_and_stay_in_their_column() -> None:
    lines = shown(CHECKS[1], terminal=True, no_color=True).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == 4
    assert all(line.startswith(" " * show.INDENT + "little") for line in lines[1:3])


def test_colour_is_only_in_the_mark_and_none_at_all_where_it_is_not_wanted() -> None:
    assert "\x1b[32m✓ ok     \x1b[0m  Python" in shown(CHECKS[0], terminal=True)
    assert "\x1b" not in shown(*CHECKS, terminal=True, no_color=True)


def test_a_long_command_is_not_broken_within_a_word() -> None:
    command = "kafka-configs.sh --entity-name " + "x" * 90
    assert "x" * 90 in shown(failed("a", "b", command), terminal=True)


def test_each_check_is_shown_as_it_is_made_and_the_numbers_end_them(capsys: pytest.CaptureFixture[str]) -> None:
    checks = show.one_by_one(iter(CHECKS))
    assert next(checks) == CHECKS[0]
    assert capsys.readouterr().out == "✓ ok       Python              3.11\n"
    assert show.summary(checks_of([CHECKS[0], *checks])) == "1 ok, 1 warning, 1 failed, 1 skipped"


def test_all_is_ok_unless_one_failed() -> None:
    assert checks_of(CHECKS[:2]).ok
    assert not checks_of(CHECKS).ok


def test_differences_are_all_that_is_not_ok(capsys: pytest.CaptureFixture[str]) -> None:
    show.differences(CHECKS)
    assert "Python" not in capsys.readouterr().out
