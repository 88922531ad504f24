"""What one running system holds of its machine: the data directory, the HTTP address, room for the memory."""

import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orders.errors import StartError

SHM = Path("/dev/shm")  # noqa: S108 - the kernel's own; our directory in it is made anew and closed to others
PREFIX = f"orders-{os.getuid()}-"


@contextmanager
def claimed(data: Path) -> Iterator[None]:
    """Holds the data directory for this process alone, and makes it where there is none. Raises `StartError`."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"the data directory {data} cannot be used ({error.strerror}): choose --data-dir") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode().strip()
        os.close(lock)
        raise StartError(f"{data} is in use by process {pid}: stop that one first, or choose --data-dir") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        os.close(lock)


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket, which the serve processes share. Raises `StartError`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        resolved = not isinstance(error, socket.gaierror)
        why = os.strerror(error.errno or 0) if resolved else error.strerror  # the plain words, not Python's addition
        raise StartError(f"HTTP cannot use {host}:{port} ({why}): choose another with --http-port") from None


def url_of(http: socket.socket) -> str:
    """Where the socket answers, seen from this machine."""
    address, port, *_ = http.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - names them, binds nothing
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def memory_directory(data: Path, needed: int) -> Iterator[Path]:
    """A new directory for the shared memory: in RAM where `needed` bytes are free there, else in the data directory.

    Takes away those that nobody holds any more, whoever of us left them.
    """
    for base in (SHM, data):
        remove_abandoned(base)
    base = SHM if has_room(SHM, needed) else data
    path, handle = held_directory(base)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def held_directory(base: Path) -> tuple[Path, int]:
    """A new directory and the handle that holds it."""
    while True:
        path = base / f"{PREFIX}{secrets.token_hex(6)}"
        path.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists():  # else another start found it before it was held
                return path, handle
            os.close(handle)


def has_room(base: Path, needed: int) -> bool:
    return base.is_dir() and os.access(base, os.W_OK) and shutil.disk_usage(base).free >= needed


def remove_abandoned(base: Path) -> None:
    """Removes memories whose holder is gone: the kernel let go of its lock, in whatever PID namespace it was."""
    for path in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(handle)
