"""What the machine gives: the data directory, room on disks and in memory, open files, the HTTP port and names."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from ipaddress import ip_address
from pathlib import Path

from orders import ownership
from orders.doctor.check import GB, Case, Check, failed, ok, size, skipped, warning
from orders.embedded import account, jars, kafka
from orders.errors import StartError
from orders.http.hosts import ANY, LOCAL
from orders.settings import Settings
from orders.system import machine
from orders.system.capacity import allow_files, files_of, require_disk, require_files, require_memory
from orders.system.claims import OWNED, bind

NAME = re.compile(r"[a-z0-9_.-]+(?::[0-9]*)?", re.ASCII | re.IGNORECASE)
"""What a Host may be beside an address."""
DISK_SCARCE = 2 * GB
"""Bytes under which embedded services still start, and may soon have no room."""


def look(case: Case) -> Iterator[Check]:
    """All that a start asks of the machine; a system that runs has it already."""
    data, embedded = case.settings.data, case.embedded_postgres or case.embedded_kafka
    yield data_directory(data, next((process.pid for process in case.running if process.kind == "run"), None))
    yield data_versions(data) if embedded else skipped("data versions", "PostgreSQL and Kafka are given")
    yield disk(data, embedded=embedded)
    yield memory(needed=embedded and not case.running)
    if case.running:
        yield ok("shared memory", f"in {case.settings.memory_path}, of the system that runs")
        yield ok("HTTP port", f"{case.left.http_url} is the system that runs")
    else:
        ram = machine.available_memory()
        yield shared_memory(case.settings, room(machine.SHM), ram, machine.free_bytes(data))
        yield http_port(case.settings)
    yield http_names(case.settings)
    yield open_files(case.settings, embedded=embedded)


def required(name: str, require: Callable[[], None]) -> Check | None:
    """What keeps `orders run` from starting, in its own words."""
    try:
        require()
    except StartError as error:
        return failed(name, str(error))
    return None


# ---- the data directory ----


def data_directory(data: Path, running: int | None) -> Check:
    """Whether a start could use it; `running` is the process id of the system that does, if it is known."""
    if user := running or holder(data):
        return ok("data directory", f"{data} is in use by a system that runs (process {user})")
    if data.exists() and not data.is_dir():
        return failed("data directory", f"{data} is a file", "choose another with --data-dir")
    if foreign := [each for each in OWNED if owner(data / each) not in {None, *account.owners()}]:
        return failed(
            "data directory",
            f"{data}/{foreign[0]} belongs to another user (number {owner(data / foreign[0])})",
            "start as that user, give the directory to this one with `sudo chown -R`, or choose --data-dir",
        )
    nearest = next(each for each in (data, *data.parents) if each.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        return failed(
            "data directory",
            f"{nearest} cannot be written by this user",
            "change its permissions or its owner, or choose another with --data-dir",
        )
    return ok("data directory", f"{data} can be written" if data.exists() else f"{data} can be made")


def holder(data: Path) -> int | None:
    """The process that holds the directory's lock, also while it only starts."""
    lock = data / ownership.LOCK
    with suppress(OSError, ValueError):
        pid = int(lock.read_text())
        return pid if ownership.belongs(pid, lock) else None
    return None


def owner(path: Path) -> int | None:
    """The number of the user to whom a file belongs; None where there is none to be seen."""
    with suppress(OSError):
        return path.stat().st_uid
    return None


def data_versions(data: Path) -> Check:
    """Whether embedded services can read what those of an earlier release left."""
    made = {"PostgreSQL": stamp(data / "postgres/data/PG_VERSION"), "Kafka": stamp(data / "kafka/version")}
    ours = {"PostgreSQL": release(embedded_postgres())[:1], "Kafka": release(kafka.version(jars.pinned()))}
    if made["PostgreSQL"] not in ([], ours["PostgreSQL"]):
        return unreadable("PostgreSQL", made, ours)
    if made["Kafka"] > ours["Kafka"]:
        return unreadable("Kafka", made, ours)
    there = [f"{name} {shown(number)}" for name, number in made.items() if number]
    return ok("data versions", f"of {' and '.join(there)}, as ours" if there else "there is no data yet")


def unreadable(name: str, made: dict[str, list[int]], ours: dict[str, list[int]]) -> Check:
    return failed(
        "data versions",
        f"the data was made by {name} {shown(made[name])}, and ours is {shown(ours[name])}, which cannot read it",
        "start the release of orders that made it, or choose another directory with --data-dir",
    )


def stamp(file: Path) -> list[int]:
    """The version that a service left in its data; none where it left none."""
    with suppress(OSError, ValueError):
        return release(file.read_text())
    return []


def release(text: str) -> list[int]:
    """Major and minor number."""
    return [int(number) for number in re.findall(r"\d+", text)[:2]]


def shown(number: list[int]) -> str:
    return ".".join(map(str, number))


def embedded_postgres() -> str:
    """The version of the package; none where it is not installed."""
    with suppress(PackageNotFoundError):
        return version_of("embedded-postgres")
    return ""


# ---- room ----


def disk(data: Path, *, embedded: bool) -> Check:
    """Room for the data of embedded services; without them the directory holds next to nothing."""
    free = machine.free_bytes(data)
    found = ok("disk", f"{size(free)} free for {data}")
    if not embedded or free >= DISK_SCARCE:
        return found
    scarce = warning("disk", found.found, "make room there, or choose another directory with --data-dir")
    return required("disk", lambda: require_disk(data)) or scarce


def memory(*, needed: bool) -> Check:
    """Memory that is left, of the machine or of the container."""
    found = ok("memory", f"{size(machine.available_memory())} can be given")
    return (required("memory", require_memory) or found) if needed else found


def shared_memory(settings: Settings, shm: int, ram: int, on_disk: int) -> Check:
    """Where orders in memory will lie: in `/dev/shm`, else in the data directory, else nowhere; rooms in bytes."""
    needed = 2 * settings.memory_bytes  # the file's largest size
    found = f"it may grow to {size(needed)}; {machine.SHM} has {size(shm)} free, RAM {size(ram)}"
    if shm >= needed and ram >= settings.memory_bytes:
        return ok("shared memory", found)
    advice = "make room there (for a container --shm-size), or give a smaller --memory-bytes"
    if on_disk < needed:
        return failed("shared memory", f"{found}, and the data directory's disk {size(on_disk)}", advice)
    return warning("shared memory", f"{found}: it will be in the data directory", advice)


def room(folder: Path) -> int:
    """Bytes that we may write in a folder."""
    return machine.free_bytes(folder) if folder.is_dir() and os.access(folder, os.W_OK) else 0


def open_files(settings: Settings, *, embedded: bool) -> Check:
    """How many connections a serve process may hold, and whether embedded services have enough."""
    if embedded and (lacking := required("open files", require_files)):
        return lacking
    wanted = files_of(settings)
    most = allow_files(wanted)
    if most == wanted:
        return ok("open files", f"enough for the {settings.http_connections} connections of a serve process")
    left = max(settings.http_connections - (wanted - most), 0)
    found = f"{most} for a process: a serve process may hold {left} of {settings.http_connections} HTTP connections"
    advice = f"raise the limit: `ulimit -n {wanted}`, or LimitNOFILE= of its unit; or lower http_connections"
    return warning("open files", found, advice)


def http_port(settings: Settings) -> Check:
    """Whether a server can listen where it is to."""
    host, port = settings.http_host, settings.http_port
    found = ok("HTTP port", f"{host}:{port} is free" if port else f"any free one of {host} will be taken")
    return required("HTTP port", lambda: bind(host, port).close()) or found


def http_names(settings: Settings) -> Check:
    """Whether clients elsewhere can use a name: HTTP answers 421 to every name that it was not given."""
    names = [name for name in settings.hosts if name != LOCAL and not is_ip(name)]
    if ANY in names:
        return ok("HTTP names", "HTTP answers to any name")
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        return warning(
            "HTTP names",
            f"{wrong[0]!a} in ORDERS_HTTP_HOSTS is not a host name: no request matches it",
            "give names alone, without a scheme, a path or a `*`, others than ASCII as xn--…; a port does not matter",
        )
    if names:
        return ok("HTTP names", f"HTTP answers to {', '.join(names)}, to localhost and to addresses")
    if is_loopback(settings.http_host):
        return ok("HTTP names", "HTTP is for this machine alone and answers to localhost and to addresses")
    return warning(
        "HTTP names",
        f"HTTP listens on {settings.http_host} for other machines and has no name: it answers 421 to any but localhost",
        "list the names by which clients call it in ORDERS_HTTP_HOSTS, with commas between (of a Service, of a proxy)",
    )


def is_ip(host: str) -> bool:
    """Whether this is an IPv4 or an IPv6 address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches what listens there."""
    return host == LOCAL or (is_ip(host) and ip_address(host).is_loopback)
