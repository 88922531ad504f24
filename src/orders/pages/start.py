"""The page at `/`: what this is, with commands for the address that it was asked at; and a page for each error."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files

from orders.http.problems import KINDS

PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
"""A Host that may stand in HTML and in a shell command as it is."""
EXAMPLE_HOST = b"127.0.0.1:8080"
MAIN = re.compile(rb"<main>.*</main>", re.DOTALL)


def page() -> tuple[bytes, Mapping[str, str]]:
    """The page and a policy that allows its own style and nothing else."""
    order = escape(files("orders").joinpath("original.json").read_text("utf-8").strip(), quote=False)
    html = files("orders.pages").joinpath("index.html").read_text("utf-8").replace("{{ order }}", order).encode()
    style = re.search(rb"<style>(.*?)</style>", html, re.DOTALL)
    digest = b64encode(hashlib.sha256(style[1] if style else b"").digest()).decode()
    sources = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"
    policy = f"{sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return html, {"content-security-policy": policy, "x-content-type-options": "nosniff"}


PAGE, PAGE_FIELDS = page()


def page_at(host: str) -> bytes:
    """The page for who asked at this Host."""
    return PAGE.replace(EXAMPLE_HOST, host.encode()) if PLAIN_HOST.fullmatch(host) else PAGE


def problem_page(name: str) -> bytes:
    """The page of a kind of error."""
    kind = KINDS[name]
    told = f"<h1>{escape(kind.title)}</h1>\n<p>{kind.status}, <code>{name}</code></p>\n<p>{marked(kind.about)}</p>\n"
    return page_of(told + '<p><a href="/docs">All answers</a></p>')


def page_of(content: str) -> bytes:
    """A page with this content in place of that of `/`."""
    return MAIN.sub(lambda _: f"<main>\n{content}\n</main>".encode(), PAGE)


def marked(text: str) -> str:
    """Text as HTML, words in backquotes as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
