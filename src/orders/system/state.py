"""What `orders run` leaves in its data directory for the other commands and for its own next start."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from orders import ownership, settings
from orders.errors import StartError, UsageError
from orders.settings import Settings, property_variable

FILE = "state.json"
SERVICES = ("kafka", "postgres")
ADDRESS = ("http_host", "http_port")


class StartedProcess(Struct, frozen=True):
    """A process that was started; no other that has its pid later has its `birth` (`ownership.birth`)."""

    kind: str
    pid: int
    birth: str = ""


class SystemState(Struct, frozen=True):
    """A running system. `settings` are those of `settings.public`.

    An embedded PostgreSQL's password is in a file, which is named as in the data directory: that may be moved.
    `started_at` is on the clock of `timing.monotonic`; 0 and an empty `version` are of an earlier release.
    """

    processes: tuple[StartedProcess, ...] = ()
    http_url: str = ""
    settings: dict[str, Any] = {}
    postgres_password_file: str = ""
    version: str = ""
    started_at: float = 0.0


def save(data: Path, state: SystemState) -> None:
    """Replaces the state at once, readable by its owner alone."""
    handle, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=data)  # made with mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    Path(name).replace(data / FILE)


def load(data: Path) -> SystemState:
    """The state as it was left; an empty one where there is none or it cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((data / FILE).read_bytes(), type=SystemState)
    return SystemState()


def forget(data: Path) -> None:
    (data / FILE).unlink(missing_ok=True)


def alive(data: Path, state: SystemState) -> list[StartedProcess]:
    """Those of its processes that run and belong to the data directory.

    A state that was copied names those of the directory that it was copied from: none of them is ours.
    """
    return [each for each in state.processes if ownership.belongs(each.pid, _claim(data, each.kind))]


def foreign(data: Path, state: SystemState) -> list[StartedProcess]:
    """Those of its processes that run and belong to another directory, of which this one is a copy."""
    ours = alive(data, state)
    return [
        each for each in state.processes if each not in ours and each.birth and ownership.birth(each.pid) == each.birth
    ]


def _claim(data: Path, kind: str) -> Path:
    return data / kind / ownership.CLAIM if kind in SERVICES else data / ownership.LOCK


def process_of(kind: str, pid: int) -> StartedProcess:
    """Names a process that was just started; one that is gone already has no birth."""
    return StartedProcess(kind, pid, ownership.birth(pid))


def joined(environment: Mapping[str, str], options: Mapping[str, Any]) -> Settings:
    """Settings of a command that joins a running system: what is not given is as it has it. Raises `UsageError`."""
    return settings.load(environment, options, running(environment, options))


def running(environment: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the system that runs in the data directory, for `settings.load`; none if nothing runs there."""
    data = settings.load(environment, options).data
    found = load(data)
    return found.settings | with_password(data, found) if alive(data, found) else {}


def addressed(environment: Mapping[str, str], options: Mapping[str, Any]) -> Settings:
    """The same as `joined` for who asks HTTP alone: it needs no password, and no library to put it in its place.

    Raises `StartError` where nothing runs and no address was given: what answers at the default one may be another's.
    """
    data = settings.load(environment, options).data
    found = load(data)
    if alive(data, found):
        theirs = {name: found.settings[name] for name in ADDRESS if name in found.settings}
        return settings.load(environment, options, theirs)
    if all(row.origin == settings.DEFAULT for row in settings.explain(environment, options) if row.name in ADDRESS):
        raise StartError(
            f"nothing runs in {data}: start it with `orders run`, or say where it answers with --http-port"
        )
    return settings.load(environment, options)


def url(given: Settings) -> str:
    """Where the running system answers; empty where none runs, or another address than its own was given."""
    found = load(given.data)
    asked = {name: getattr(given, name) for name in ADDRESS}
    is_theirs = all(found.settings.get(name) == value for name, value in asked.items())
    return found.http_url if is_theirs and alive(given.data, found) else ""


def with_password(data: Path, found: SystemState) -> dict[str, str]:
    """How to reach an embedded PostgreSQL. Raises `UsageError` where its password cannot be read."""
    if not found.postgres_password_file:
        return {}
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - only where PostgreSQL is asked

    file = data / found.postgres_password_file
    try:
        password = file.read_text().strip()
    except OSError as error:
        raise UsageError(
            f"PostgreSQL's password cannot be read ({error.strerror}: {file}): give ORDERS_POSTGRES_DSN"
        ) from None
    return {"postgres_dsn": make_conninfo(found.settings["postgres_dsn"], password=password)}


def require(given: Settings, *names: str) -> None:
    """Raises `UsageError` when settings are missing: they were not given, and no running system reports them."""
    missing = [name for name in names if not getattr(given, name)]
    if missing:
        asked = " and ".join(map(settings.option, missing))
        raise UsageError(f"nothing runs in {given.data}: start it with `orders run`, or give {asked}")
    if "kafka_bootstrap" in names:
        _require_kafka_secrets(given)


def _require_kafka_secrets(given: Settings) -> None:
    """Raises `UsageError` when the system that runs logs in to its Kafka with secrets that only it has."""
    found = load(given.data)
    theirs = found.settings.get("kafka_properties", {})
    kept = [name for name, text in theirs.items() if not text and name not in given.kafka_properties]
    if kept and given.kafka_bootstrap == found.settings.get("kafka_bootstrap") and alive(given.data, found):
        names, variables = " and ".join(kept), " and ".join(f"{property_variable(name)}_FILE" for name in kept)
        raise UsageError(f"the running system does not report {names} of its Kafka: give this command {variables} too")
