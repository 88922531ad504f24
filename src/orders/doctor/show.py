"""Checks as a person reads them: aligned, the state as symbol and word, in colour where the terminal has any."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.text import Text

from orders.doctor.check import Check, Checks

SYMBOLS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "bright_black")}
NAME_WIDTH = 19
INDENT = len("✓ skipped  ") + NAME_WIDTH + 1
NARROWEST = 30
"""Columns of text, however narrow the terminal is."""


def one_by_one(checks: Iterable[Check]) -> Iterator[Check]:
    """The same checks; shows each as soon as it is made."""
    console = Console(highlight=False, soft_wrap=True)
    with busy(console):
        for check in checks:
            show(check, console)
            yield check


def differences(checks: Iterable[Check]) -> None:
    """Shows the checks that are not ok."""
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        if check.state != "ok":
            show(check, console)


def busy(console: Console) -> AbstractContextManager[object]:
    """What shows on a terminal that more is to come."""
    return console.status("looking …") if console.is_interactive else nullcontext()


def show(check: Check, console: Console) -> None:
    """One check: broken into lines for a terminal, else on a line for each sentence."""
    symbol, style = SYMBOLS[check.state]
    head = Text.assemble((f"{symbol} {check.state:<7}", style), f"  {check.name:<{NAME_WIDTH}} ")
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


def summary(found: Checks) -> str:
    """How many checks there are of each state."""
    counts = Counter(str(check.state) for check in found.checks)
    return ", ".join(f"{counts[state]} {state}" for state in SYMBOLS if counts[state])
