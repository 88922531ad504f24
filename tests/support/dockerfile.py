"""The Dockerfile, read as far as tests ask: its instructions, and the last stage's variables."""

import re
import shlex

from support.system import ROOT


def instructions() -> list[tuple[str, str]]:
    """Keyword and arguments of each instruction, on one line, without comments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word]


def last_stage() -> list[tuple[str, str]]:
    """The instructions of the stage that becomes the image."""
    found = instructions()
    begin = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[begin:]


def argument(word: str) -> str:
    """The arguments of the only instruction of its kind in the last stage."""
    (found,) = (rest for each, rest in last_stage() if each == word)
    return found


def variables() -> dict[str, str]:
    """What ENV sets."""
    return dict(word.split("=", 1) for word in shlex.split(argument("ENV")))
