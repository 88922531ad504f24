"""Settings from a TOML file: `orders.toml`, or the one that ORDERS_SETTINGS_FILE names."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from orders.errors import UsageError
from orders.settings import properties
from orders.settings.given import Given, Key, Source, absolute, hint, keys
from orders.settings.secrets import plain
from orders.settings.table import PROPERTIES

FILE = "orders.toml"


def home_of(environment: Mapping[str, str]) -> Path:
    """The directory where the settings file and the data directory are looked for; relative: to the working one."""
    home = Path(environment.get("ORDERS_HOME", ""))
    with suppress(OSError):
        if home.is_dir():
            return home
    raise UsageError(f"ORDERS_HOME: {plain(str(home))} is not a directory that this user can enter")


def from_file(environment: Mapping[str, str]) -> Source:
    """What the settings file gives; nothing where none is named and none is there. Raises `UsageError`."""
    named = environment.get("ORDERS_SETTINGS_FILE", "")
    path = absolute(Path(named) if named else home_of(environment) / FILE)
    source = Source(path.parent)
    shown = plain(str(path))
    content = _read(path, shown, must_be=bool(named))
    if not isinstance(content.get(PROPERTIES, {}), dict):
        raise UsageError(f"{shown}: {PROPERTIES} must be a table, [{PROPERTIES}]")
    for name, value in _flat(content, ()):
        label = f"{shown}: {plain(name)}"
        key = _keys().get(name) or _refuse_unknown(name, label)
        source.take(key, Given(_text(value, label) if key.is_property else value, shown, label, typed=True))
    return source


def _read(path: Path, shown: str, *, must_be: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        if must_be:
            raise UsageError(f"ORDERS_SETTINGS_FILE: there is no file {shown}") from None
        return {}
    except OSError as error:
        raise UsageError(f"the settings file {shown} cannot be read ({error.strerror})") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{shown} is not valid TOML: {plain(str(error))}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{shown} is not UTF-8 text: save it as UTF-8") from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"{shown} is not valid TOML: a number is too long, or brackets are nested too deeply"
        ) from None


def _flat(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Keys and values; in the table of Kafka properties, a dotted name without quotes is as good as one with them."""
    for key, value in table.items():
        if isinstance(value, dict) and (path or key == PROPERTIES):
            yield from _flat(value, (*path, key))
        else:
            yield (properties.shown(".".join((*path[1:], key))) if path else key), value


@cache
def _keys() -> Mapping[str, Key]:
    """What each key of the file gives."""
    return {name_of(key): key for key in keys(properties.known())}


def name_of(key: Key) -> str:
    """The key of the file that gives this."""
    name = key.name + "_file" * key.in_file
    return properties.shown(name) if key.is_property else name


def _text(value: Any, label: str) -> str:
    """The value of a Kafka property, as the client takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    # Of a number of thousands of digits Python makes no text.
    if isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    raise UsageError(f"{label} must be text, a whole number, true or false")


def _refuse_unknown(name: str, label: str) -> Key:
    wanted = name if name.startswith(PROPERTIES) else name.lower().replace("-", "_")
    pool = list(map(name_of, keys(properties.givable())))
    raise UsageError(f"{label} is not a setting{hint(wanted, pool)}; `orders run --help` lists them")
