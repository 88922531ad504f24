"""What `orders run` leaves in its data directory for the other commands and for its own next start."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from orders import settings
from orders.errors import UsageError
from orders.settings import Settings, property_variable

FILE = "state.json"
SAME_SECONDS = 2.0
"""How far two readings of one process's creation time may lie apart: the clock may have been set between them."""


class Process(Struct, frozen=True):
    """A process that was started; `created` in seconds since the epoch. Pid and creation time together name it."""

    kind: str
    pid: int
    created: float


class State(Struct, frozen=True):
    """A running system. `settings` are those of `settings.public`; an embedded PostgreSQL's password is in a file."""

    processes: tuple[Process, ...] = ()
    http_url: str = ""
    settings: dict[str, Any] = {}
    postgres_password_file: str = ""


def save(data: Path, state: State) -> None:
    """Replaces the state at once, readable by its owner alone."""
    handle, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=data)  # made with mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    Path(name).replace(data / FILE)


def load(data: Path) -> State:
    """The state as it was left; an empty one where there is none or it cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((data / FILE).read_bytes(), type=State)
    return State()


def forget(data: Path) -> None:
    (data / FILE).unlink(missing_ok=True)


def alive(processes: Iterable[Process]) -> list[Process]:
    """Those that still run: the pid exists and belongs to the same process."""
    import psutil  # noqa: PLC0415 - only where processes are looked at: `orders get` does without

    def is_same(process: Process) -> bool:
        with suppress(psutil.Error):
            found = psutil.Process(process.pid)
            same = abs(found.create_time() - process.created) < SAME_SECONDS
            return same and found.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in processes if is_same(process)]


def process_of(kind: str, pid: int) -> Process:
    """Names a process that was just started; one that is gone already gets no creation time."""
    import psutil  # noqa: PLC0415 - as above

    with suppress(psutil.Error):
        return Process(kind, pid, psutil.Process(pid).create_time())
    return Process(kind, pid, 0.0)


def joined(environment: Mapping[str, str], options: Mapping[str, Any]) -> Settings:
    """Settings of a command that joins a running system: what is not given is as it has it. Raises `UsageError`."""
    return settings.load(environment, options, running(environment, options))


def running(environment: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the system that runs in the data directory, for `settings.load`; none if nothing runs there."""
    found = load(settings.load(environment, options).data)
    return found.settings | with_password(found) if alive(found.processes) else {}


def with_password(found: State) -> dict[str, str]:
    """How to reach an embedded PostgreSQL."""
    if not found.postgres_password_file:
        return {}
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - only where PostgreSQL is asked

    password = Path(found.postgres_password_file).read_text().strip()
    return {"postgres_dsn": make_conninfo(found.settings["postgres_dsn"], password=password)}


def require(given: Settings, *names: str) -> None:
    """Raises `UsageError` when settings are missing: they were not given, and no system that runs tells them."""
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
    if kept and given.kafka_bootstrap == found.settings.get("kafka_bootstrap") and alive(found.processes):
        names, variables = " and ".join(kept), " and ".join(f"{property_variable(name)}_FILE" for name in kept)
        raise UsageError(f"the running system does not tell {names} of its Kafka: give this command {variables} too")
