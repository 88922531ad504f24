"""`orders config`: every setting, its value and where it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

from orders import settings
from orders.settings import Effective
from orders.settings.secrets import plain
from orders.system import state

WIDTHS = (24, 28)
"""Columns of names and of values, the space between included; the third begins at column 52 of 80."""
VALUE_MOST = 200
"""Characters of a value that are shown; a certificate as text is longer."""


def effective(environment: Mapping[str, str], options: Mapping[str, Any]) -> list[Effective]:
    """The settings that a command with these options has, joined with a running system. Raises `UsageError`."""
    return settings.explain(environment, options, state.running(environment, options))


def text(rows: Sequence[Effective]) -> str:
    """A table for a person: what does not fit into its column has the next one on a line of its own."""
    head = ("setting", "value", "from")
    return "\n".join(_line(cells) for cells in [head, *map(_cells, rows)])


def _cells(row: Effective) -> tuple[str, str, str]:
    value = plain(str(row.value))
    return row.name, f"{value[:VALUE_MOST]} …" if len(value) > VALUE_MOST else value or "(unset)", plain(row.origin)


def _line(cells: tuple[str, str, str]) -> str:
    lines, start = [""], 0
    for cell, width in zip(cells, (*WIDTHS, 0), strict=True):
        if lines[-1] and len(lines[-1]) + 2 > start:
            lines.append("")
        lines[-1] = lines[-1].ljust(start) + cell
        start += width
    return "\n".join(lines)
