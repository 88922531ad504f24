"""What an expression of PromQL speaks of: its selectors, and the labels that it groups or matches by.

No parser: whether an expression is right is promtool's to say. This knows enough to look names up in a table.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

STRING = r'"(?:[^"\\]|\\.)*"'
TOKEN = re.compile(
    rf"(?P<labels>\b(?:by|without|on|ignoring)\s*\([^)]*\))|(?P<braces>\{{(?:[^}}\"]|{STRING})*\}})|(?P<range>\[[^\]]*\])"
    r"|(?P<word>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<number>\d[\d.]*[a-z]*)"
)
MATCHER = re.compile(rf"\s*(\w+)\s*(=~|!~|!=|=)\s*({STRING})\s*,?")
OPERATORS = frozenset({"and", "or", "unless", "offset", "bool"})


class Matcher(NamedTuple):
    label: str
    operator: str
    value: str


class Selector(NamedTuple):
    """A metric and its matchers, in their order."""

    metric: str
    matchers: tuple[Matcher, ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric that is named; a word before a parenthesis is a function."""
    tokens = list(TOKEN.finditer(expression))
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        word = token["word"]
        if not word or word in OPERATORS or is_function(expression, token.end()):
            continue
        yield Selector(word, tuple(matchers(after["braces"])) if after and after["braces"] else ())


def is_function(expression: str, end: int) -> bool:
    """Whether what ends there is called, or is an aggregation with its labels before the parenthesis."""
    return re.match(r"\s*(\(|(?:by|without)\b)", expression[end:]) is not None


def matchers(braces: str) -> Iterator[Matcher]:
    """What stands in braces. Raises ValueError for what is no list of matchers."""
    inside = braces[1:-1]
    if MATCHER.sub("", inside).strip():
        raise ValueError(f"no matchers: {braces}")
    for label, operator, value in MATCHER.findall(inside):
        yield Matcher(label, operator, re.sub(r"\\(.)", r"\1", value[1:-1]))


def grouped(expression: str) -> set[str]:
    """Labels in `by`, `without`, `on` and `ignoring`."""
    lists = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", re.sub(STRING, '""', expression))
    return {label.strip() for each in lists for label in each.split(",") if label.strip()}
