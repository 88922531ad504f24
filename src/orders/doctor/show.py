"""Checks as a person reads them: aligned, the state as symbol and word, in colour where the terminal has any."""

import textwrap
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import click
import msgspec
from rich.console import Console
from rich.text import Text

from orders.doctor.check import Check

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "bright_black")}
NAME_WIDTH = 19
INDENT = len("✓ skipped  ") + NAME_WIDTH + 1
NARROWEST = 30
"""Columns of text, however narrow the terminal is."""


def report(checks: Iterable[Check]) -> bool:
    """Shows each check as soon as it is made, and how many there are of each state; whether none failed."""
    console = Console(highlight=False, soft_wrap=True)
    shown = []
    with busy(console):
        for check in checks:
            show(check, console)
            shown.append(check)
    console.print(summary(shown))
    return passed(shown)


def as_json(checks: Iterable[Check]) -> bool:
    """Writes all checks as one JSON object; whether none failed."""
    found = list(checks)
    click.echo(msgspec.json.encode({"ok": passed(found), "checks": found}))
    return passed(found)


def differences(checks: Iterable[Check]) -> None:
    """Shows the checks that are not ok."""
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        if check.state != "ok":
            show(check, console)


def passed(checks: Iterable[Check]) -> bool:
    return all(check.state != "failed" for check in checks)


def busy(console: Console) -> AbstractContextManager[object]:
    """What tells on a terminal that more is to come."""
    return console.status("looking …") if console.is_interactive else nullcontext()


def show(check: Check, console: Console) -> None:
    """One check: broken into lines for a terminal, else on a line for each sentence."""
    mark, style = MARKS[check.state]
    head = Text.assemble((f"{mark} {check.state:<7}", style), f"  {check.name:<{NAME_WIDTH}} ")
    width = max(console.width - INDENT, NARROWEST) if console.is_terminal else None
    console.print(head + Text(indented(check.found, width)))
    if check.advice:
        console.print(Text(" " * (INDENT - 3) + "-> " + indented(check.advice, width)))


def indented(text: str, width: int | None) -> str:
    """The text, wrapped to `width` columns right of the name; commands are broken at spaces only."""
    if width is None:
        return text
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * INDENT}".join(lines)


def summary(checks: Iterable[Check]) -> str:
    """How many checks there are of each state."""
    counts = Counter(str(check.state) for check in checks)
    return ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state])
