"""What `orders run` leaves in its data directory for the other commands and for its own next start."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orders.errors import UsageError
from orders.settings import Settings, option

FILE = "state.json"
SAME_SECONDS = 2.0
"""How far two readings of one process's creation time may lie apart: the clock may have been set between them."""


class Process(Struct, frozen=True):
    """A process that was started; `created` in seconds since the epoch. Pid and creation time together name it."""

    kind: str
    pid: int
    created: float


class State(Struct, frozen=True):
    """A running system. The connection string holds no password; an embedded PostgreSQL's is in a file."""

    processes: tuple[Process, ...] = ()
    http_url: str = ""
    kafka_bootstrap: str = ""
    postgres_dsn: str = ""
    postgres_password_file: str = ""
    memory_path: str = ""


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


def completed(settings: Settings, *needed: str) -> Settings:
    """Settings with the addresses in `needed` that were not given taken from the system that runs.

    Raises `UsageError` when nothing runs there.
    """
    missing = [name for name in needed if not getattr(settings, name)]
    if not missing:
        return settings
    found = load(settings.data)
    if not alive(found.processes):
        asked = " and ".join(map(option, missing))
        raise UsageError(f"nothing runs in {settings.data}: start it with `orders run`, or give {asked}")
    return replace(settings, **{name: address(found, name) for name in missing})


def address(found: State, name: str) -> str:
    """One address of a running system; the embedded PostgreSQL's password comes from its file."""
    if name == "postgres_dsn" and found.postgres_password_file:
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - only where PostgreSQL is asked

        return make_conninfo(found.postgres_dsn, password=Path(found.postgres_password_file).read_text().strip())
    return str(getattr(found, name))
