"""The page at `/`: what this is, with commands for the address that it was asked at; and a page for each error."""

import re
from functools import cache, lru_cache
from importlib.resources import files

from orders.http.problems import KINDS
from orders.pages.rendering import render

PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
"""A Host that may stand in a shell command as it is."""
EXAMPLE_HOST = "127.0.0.1:8080"
ORDER = files("orders").joinpath("original.json").read_text("utf-8").strip()


@lru_cache(maxsize=32)
def page_at(host: str) -> bytes:
    """The page for who asked at this Host."""
    return render("start.html", host=host if PLAIN_HOST.fullmatch(host) else EXAMPLE_HOST, order=ORDER)


@cache
def problem_page(name: str) -> bytes:
    """The page of a kind of error. Raises `KeyError` where there is none of this name."""
    return render("problem.html", name=name, kind=KINDS[name])
