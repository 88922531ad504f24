"""What `orders run` leaves in its data directory for the other commands and for its own next start."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = "state.json"
SAME_SECONDS = 2.0
"""How far two readings of one process's creation time may lie apart: the clock may have been set between them."""


class Process(Struct, frozen=True):
    """A process that was started; `created` in seconds since the epoch. Pid and creation time together name it."""

    kind: str
    pid: int
    created: float


class State(Struct, frozen=True):
    """A running system. The connection string holds no password."""

    processes: tuple[Process, ...] = ()
    http_url: str = ""
    kafka_bootstrap: str = ""
    postgres_dsn: str = ""
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
