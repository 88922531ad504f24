"""The kinds of process, put together: `serve`, `ingest` and `keep`, each until a signal asks it to stop.

Each imports what it stands on when it runs: no process holds the libraries of another.
"""

import gc
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from orders import logs
from orders.memory.shared import Memory
from orders.settings import Settings
from orders.system.capacity import allow_files, files_of
from orders.system.claims import bind
from orders.system.shutdown import StopSignal, end_with
from orders.system.state import require

log = structlog.get_logger()

COLLECTIONS = (50_000, 20, 100)
"""When Python's collector of cycles looks at young, older and old objects."""


def serve(settings: Settings, socket_fd: int | None, parent_fd: int | None) -> None:
    """Answers HTTP on the socket that is handed over, or on one of its own. Raises `OrdersError`."""
    from orders.api.serve import serve as serve_http

    settings = settings.serving
    begin("serve", settings, parent_fd, "postgres_dsn", "kafka_bootstrap", "memory_path")
    given = bind(settings.http_host, settings.http_port) if socket_fd is None else socket.socket(fileno=socket_fd)
    wanted = files_of(settings)
    if (most := allow_files(wanted)) < wanted:
        log.warning("few_files", may_be_open=most, wanted=wanted)
    with given:
        until_stopped(lambda stop: serve_http(settings, [given], stop))


def ingest(settings: Settings, number: int, parent_fd: int | None) -> None:
    """Takes orders from Kafka into PostgreSQL and memory. Raises `OrdersError`."""
    from orders.ingest.run import ingest as take

    begin(f"ingest:{number}", settings, parent_fd, "postgres_dsn", "kafka_bootstrap", "memory_path")
    collect_seldom()
    until_stopped(lambda stop: take(settings, number, stop))


def keep(settings: Settings, parent_fd: int | None) -> None:
    """Keeps memory true, and makes its file where there is none. Raises `OrdersError`."""
    from orders.dead_letters.copies import copying
    from orders.memory.keeper import keep as keep_memory
    from orders.postgres.indexes import building

    needed = ("kafka_bootstrap",) if settings.dead_letters_topic else ()
    begin("keep", settings, parent_fd, "postgres_dsn", "memory_path", *needed)
    if not Path(settings.memory_path).exists():
        Memory.create(Path(settings.memory_path), settings.memory_bytes).close()
    collect_seldom()

    def work(stop: StopSignal) -> None:
        with copying(settings, stop), building(settings, stop):
            keep_memory(settings, stop)

    until_stopped(work)


def begin(process: str, settings: Settings, parent_fd: int | None, *needed: str) -> None:
    """Ties this process to its parent and sets up its logs. Raises `UsageError` when a needed setting is missing."""
    end_with(parent_fd)
    logs.configure(process, settings.log_level, settings.log_format)
    require(settings, *needed)


def until_stopped(work: Callable[[StopSignal], None]) -> None:
    """Works until a signal asks to stop, then ends by that signal."""
    stop = StopSignal()
    stop.listen()
    work(stop)
    logs.flush()
    stop.obey()


def collect_seldom() -> None:
    """A batch makes thousands of objects without cycles, which end with it: to look through them cost a twentieth."""
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
