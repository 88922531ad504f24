"""Settings from all places. Order of precedence: option, variable, file, the system that runs, default.

The system that runs is asked by commands that join one.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from orders.errors import UsageError
from orders.settings import properties
from orders.settings.file import from_file, home_of
from orders.settings.given import Given, Key, Source
from orders.settings.table import (
    DEFAULTS,
    PREFIX,
    PROPERTIES,
    SECRETS,
    SIMPLE,
    Settings,
    allowed,
    kinds,
    masked,
    option,
    variable,
)
from orders.settings.variables import from_variables

DEFAULT = "default"
RUNNING = "the running system"


def load(
    environment: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    running: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from options, variables, the settings file, and those of a system that runs.

    An empty variable counts as unset. Paths come out absolute. Raises `UsageError` that names where a value came
    from and what it may be; the value itself is never in it.
    """
    return _settings(_found(environment, options, running))


class Effective(Struct, frozen=True):
    """A setting, its value and where that comes from."""

    name: Annotated[str, Meta(description="its name, as in the settings file")]
    value: Annotated[Any, Meta(description="its value in its own type; secrets in it are masked")]
    origin: Annotated[str, Meta(description="where the value comes from, in words for a person")]
    secret: Annotated[bool, Meta(description="whether the value may hold a secret")]
    variable: Annotated[str, Meta(description="its environment variable")]


def explain(
    environment: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    running: Mapping[str, Any] | None = None,
) -> list[Effective]:
    """What `load` gives, and where each value came from. Raises `UsageError`."""
    found = _found(environment, options, running)
    settings = _settings(found)
    hidden = masked(PROPERTIES, settings.kafka_properties)
    rows = [
        Effective(n, masked(n, getattr(settings, n)), found.settings[n].origin, n in SECRETS, variable(n))
        for n in SIMPLE
    ]
    return rows + [
        Effective(properties.shown(n), hidden[n], given.origin, properties.is_secret(n), properties.variable(n))
        for n, given in sorted(found.properties.items())
    ]


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give another process these settings, wherever it runs and whatever files there are."""
    simple = asdict(settings) | {"data_dir": settings.data}
    return {
        "ORDERS_SETTINGS_FILE": os.devnull,
        **{variable(name): str(simple[name]) for name in SIMPLE if simple[name] != ""},
        **{properties.variable(name): value for name, value in settings.kafka_properties.items()},
    }


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process of ours takes over from its parent: `environment` has the rest."""
    return {name: value for name, value in environment.items() if not name.startswith(PREFIX)}


def public(settings: Settings) -> dict[str, Any]:
    """The settings as they may be written down, for `load` to take as `running`. Secret properties are empty."""
    shown = {name: "" if properties.is_secret(name) else text for name, text in settings.kafka_properties.items()}
    return {name: masked(name, value) for name, value in asdict(settings).items()} | {PROPERTIES: shown}


def log_format(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """The setting of that name by itself, from a command line's words, variables or the file: others may be wrong."""
    name, given = option("log_format"), [environment.get(variable("log_format"), "")]
    given += [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    given += [value for word, value in pairwise(words) if word == name]
    if not any(given):
        with suppress(UsageError):
            given += [str(each.value) for key, each in from_file(environment).settings.items() if key == "log_format"]
    return next((value for value in reversed(given) if value), str(DEFAULTS["log_format"]))


# ---- the last word ----


def _found(
    environment: Mapping[str, str], options: Mapping[str, Any] | None, running: Mapping[str, Any] | None
) -> Source:
    """The value that has the last word for each setting and property."""
    system = _from_running(running or {})
    ours = (from_file(environment), from_variables(environment), _from_options(options or {}))
    if any("postgres_dsn" in source.settings for source in ours):
        system.settings.pop("postgres_dsn_serve", None)  # it leads to that system's own database
    found = Source()
    for source in (system, *ours):
        found.settings |= source.settings
    found.settings |= _defaults(environment, [name for name in SIMPLE if name not in found.settings])
    theirs = system.settings.get("kafka_bootstrap")
    # Its properties lead to its own brokers: a password is not for others.
    near = theirs is not None and theirs.value == found.settings["kafka_bootstrap"].value
    for source in (*([system] if near else []), *ours):
        found.properties |= source.properties
    return found


def _defaults(environment: Mapping[str, str], names: list[str]) -> dict[str, Given]:
    source = Source(home_of(environment) if "data_dir" in names else Path())
    for name in names:
        source.take(Key(name), Given(DEFAULTS[name], DEFAULT, name))
    return source.settings


def _from_options(options: Mapping[str, Any]) -> Source:
    source = Source()
    for name, value in options.items():
        if value is not None:
            source.take(Key(name), Given(value, option(name), option(name)))
    return source


def _from_running(running: Mapping[str, Any]) -> Source:
    """What it has that we know; it may be of another version."""
    source = Source()
    for name, value in running.items():
        if name in SIMPLE:
            source.take(Key(name), Given(value, RUNNING, f"{RUNNING}: {name}"))
    for name, text in running.get(PROPERTIES, {}).items():
        if name in properties.known():
            source.take(Key(name, is_property=True), Given(text, RUNNING, f"{RUNNING}: {properties.shown(name)}"))
    return source


def _settings(found: Source) -> Settings:
    simple = {name: _fitting(name, given) for name, given in found.settings.items()}
    if simple["dead_letters_topic"] == simple["kafka_topic"]:
        raise UsageError(f"{found.settings['dead_letters_topic'].label} must not be the topic of the orders")
    return Settings(**simple, kafka_properties={name: given.value for name, given in sorted(found.properties.items())})


def _fitting(name: str, given: Given) -> Any:
    try:
        return msgspec.convert(given.value, kinds()[name], strict=given.typed)
    except msgspec.ValidationError:
        raise UsageError(f"{given.label} must be {allowed(name)}") from None
