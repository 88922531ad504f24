"""What one look found, and for what system everything is looked at."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct

from orders import settings
from orders.settings import Settings
from orders.system import state
from orders.system.state import StartedProcess, SystemState

MB, GB = 2**20, 2**30
MANY_GB = 10
"""So many that their tenths say nothing."""


class Check(Struct, frozen=True):
    """`found` and `advice` are a sentence each, without personal data or secrets."""

    name: Annotated[str, Meta(description="what was checked")]
    state: Annotated[
        Literal["ok", "warning", "failed", "skipped"],
        Meta(description="`failed` has to be fixed; `skipped` could not be checked, or nothing depends on it"),
    ]
    found: Annotated[str, Meta(description="what it is like, or why it could not be checked")]
    advice: Annotated[str, Meta(description="what to do; empty where nothing is to be done")] = ""


class Checks(Struct, frozen=True):
    """All that was checked."""

    ok: Annotated[bool, Meta(description="whether no check failed")]
    checks: Annotated[list[Check], Meta(description="each check, in the order in which they were made")]


def checks_of(found: Iterable[Check]) -> Checks:
    checks = list(found)
    return Checks(all(each.state != "failed" for each in checks), checks)


def ok(name: str, found: str) -> Check:
    return Check(name, "ok", found)


def warning(name: str, found: str, advice: str) -> Check:
    """The system runs so, and something may go wrong that need not."""
    return Check(name, "warning", found, advice)


def failed(name: str, found: str, advice: str = "") -> Check:
    """The system does not start so, or does not do its work; `found` may hold the next step itself."""
    return Check(name, "failed", found, advice)


def skipped(name: str, found: str, advice: str = "") -> Check:
    """It is unknown, or nothing depends on it; `found` says why."""
    return Check(name, "skipped", found, advice)


def size(count: int) -> str:
    """Bytes for a person."""
    return f"{count // GB} GB" if count >= MANY_GB * GB else f"{count // MB} MB"


class Case(NamedTuple):
    """The settings of a start, joined with those of the system that runs in the data directory, if one does."""

    settings: Settings
    alone: Settings
    left: SystemState
    running: list[StartedProcess]

    @property
    def embedded_postgres(self) -> bool:
        return self._is_ours("postgres", self.alone.postgres_dsn)

    @property
    def embedded_kafka(self) -> bool:
        return self._is_ours("kafka", self.alone.kafka_bootstrap)

    def _is_ours(self, kind: str, given: str) -> bool:
        started = {process.kind for process in self.left.processes}
        return not given and (not self.running or kind in started)


def case(environment: Mapping[str, str], options: Mapping[str, Any]) -> Case:
    """What a command with these options is about. Raises `UsageError`."""
    alone = settings.load(environment, options)
    left = state.load(alone.data)
    return Case(state.joined(environment, options), alone, left, state.alive(alone.data, left))
