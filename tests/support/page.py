"""The statements of a page under docs, word for word."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a page that are in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / name).read_text(), re.DOTALL | re.MULTILINE)
