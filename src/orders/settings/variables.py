"""Settings from environment variables."""

from collections.abc import Mapping
from functools import cache

from orders.errors import UsageError
from orders.settings import properties
from orders.settings.given import Given, Key, Source, hint, keys
from orders.settings.links import service_links
from orders.settings.secrets import plain
from orders.settings.table import PREFIX, SPECIAL, variable


def from_variables(environment: Mapping[str, str]) -> Source:
    """What the variables give. An empty one counts as unset. Raises `UsageError`, also for unknown ones."""
    links = service_links(environment)
    ours = {n: v for n, v in environment.items() if v and n.startswith(PREFIX) and n not in SPECIAL and n not in links}
    _refuse_unknown(sorted(ours.keys() - _keys().keys()))
    source = Source()
    for name in sorted(ours):
        source.take(_keys()[name], Given(ours[name], name, name))
    return source


def variable_of(key: Key) -> str:
    """The variable that gives this."""
    return (properties.variable if key.is_property else variable)(key.name) + "_FILE" * key.in_file


@cache
def _keys() -> Mapping[str, Key]:
    """What each variable gives."""
    return {variable_of(key): key for key in keys(properties.known())}


def _refuse_unknown(names: list[str]) -> None:
    if not names:
        return
    good = [*map(variable_of, keys(properties.givable())), *SPECIAL]
    pool = [name.removeprefix(PREFIX) for name in good]
    unknown = [plain(name) + hint(name.removeprefix(PREFIX).upper(), pool, PREFIX) for name in names]
    are = "is not a setting" if len(names) == 1 else "are not settings"
    raise UsageError(f"{' and '.join(unknown)} {are}; `orders run --help` lists them")
