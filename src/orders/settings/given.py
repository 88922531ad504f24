"""Values as they are found in one place, before it is known which place has the last word."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from orders.errors import UsageError
from orders.settings import properties
from orders.settings.secrets import plain
from orders.settings.table import PATHS, SECRETS, SIMPLE


class Key(NamedTuple):
    """What a variable or a key of the settings file gives: a setting, a Kafka property, or a file with either."""

    name: str
    is_property: bool = False
    in_file: bool = False


class Given(NamedTuple):
    """A value. `origin` says where it came from, `label` names it in an error; `typed`: text is not a number for it."""

    value: Any
    origin: str
    label: str
    typed: bool = False


def keys(names: Iterable[str]) -> list[Key]:
    """All that can be given, with these Kafka properties."""
    theirs = list(names)
    return [
        *(Key(name) for name in SIMPLE),
        *(Key(name, in_file=True) for name in sorted(SECRETS)),
        *(Key(name, is_property=True) for name in theirs),
        *(Key(name, is_property=True, in_file=True) for name in theirs if properties.is_secret(name)),
    ]


class Source:
    """The values of one place. Relative paths are understood from `base`, and that from the working directory."""

    def __init__(self, base: Path = Path()) -> None:
        self._base = base
        self.settings: dict[str, Given] = {}
        self.properties: dict[str, Given] = {}

    def take(self, key: Key, given: Given) -> None:
        """Adds a value; an empty Kafka property counts as unset. Raises `UsageError`."""
        place, name = self.settings, key.name
        if key.is_property:
            place, name = self.properties, properties.allowed(name, given.label)
        if key.in_file:
            given = given._replace(value=self._content(given))
        if name in place:
            raise UsageError(f"{place[name].label} and {given.label} give the same: leave one of them out")
        if isinstance(given.value, str):
            given = given._replace(value=self._complete(key, _sound(given.value, given.label)))
        if given.value != "" or not key.is_property:
            place[name] = given

    def _complete(self, key: Key, text: str) -> str:
        """A text; a path is made absolute, so that another process understands it too."""
        is_path = properties.is_path(key.name) and text != properties.PROBE if key.is_property else key.name in PATHS
        return str(absolute(self._base / text)) if is_path and text else text

    def _content(self, given: Given) -> str:
        """The text of a file that holds a secret, without its last line break."""
        if not isinstance(given.value, str):
            raise UsageError(f"{given.label} must be the path of a file")
        base = absolute(self._base)
        # What is not a whole path may be the secret itself, given by mistake.
        shown = plain(given.value if given.value.startswith("/") else f"the file that it names in {base}")
        try:
            text = (base / given.value).read_bytes().decode()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"{given.label}: {shown} cannot be read ({why})") from None
        if secret := text.removesuffix("\n").removesuffix("\r"):
            return secret
        raise UsageError(f"{given.label}: {shown} is empty")


def _sound(text: str, label: str) -> str:
    """A text that variables, JSON and Kafka's client can hold."""
    if "\0" in text:
        raise UsageError(f"{label} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{label} is not UTF-8 text") from None
    return text


def absolute(path: Path) -> Path:
    """A path that does not depend on the working directory. Raises `UsageError` where that is gone."""
    try:
        return path.absolute()
    except FileNotFoundError:
        raise UsageError("the working directory is gone: change to another one") from None


def hint(name: str, pool: Iterable[str], prefix: str = "") -> str:
    """The nearest of the names in brackets, or nothing where none is near; `prefix` is what all begin with."""
    nearest = get_close_matches(name, pool, 1)
    return f" (did you mean {prefix}{nearest[0]}?)" if nearest else ""
