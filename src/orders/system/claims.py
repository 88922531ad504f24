"""What one running system holds of its machine alone: the data directory and the HTTP address."""

import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orders import ownership
from orders.embedded import account
from orders.errors import StartError
from orders.os_users import name_of
from orders.ownership import LOCK
from orders.system.machine import port_owner
from orders.system.probe import http_url

OWNED = (LOCK, "state.json", "postgres", "kafka")
"""What in a data directory belongs to anyone who made it; the directory itself may be a volume of root's."""
ELSEWHERE = "choose another with --data-dir"


# ---- the data directory ----


class Claim:
    """A data directory that is held. `member` is a handle for our processes to inherit: by it they belong to it."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock = _locked(data)
        self._directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        self.member = ownership.member(data / LOCK)

    def is_moved(self) -> bool:
        """Whether another directory, or none, is by now where this one was."""
        ours = os.fstat(self._directory)
        try:
            there = self._data.stat()
        except FileNotFoundError:
            return True
        except OSError:  # of a disk that does not answer, say: nothing is known
            return False
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def close(self) -> None:
        """Lets it go."""
        for handle in (self.member, self._directory, self._lock):
            os.close(handle)


@contextmanager
def claimed(data: Path) -> Iterator[Claim]:
    """Holds the data directory for this process alone, and makes it where there is none. Raises `StartError`."""
    try:
        claim = Claim(data)
    except OSError as error:
        raise StartError(f"the data directory {data} cannot be used ({_why(error, data)}): {ELSEWHERE}") from None
    try:
        yield claim
    finally:
        claim.close()


def _locked(data: Path) -> int:
    _refuse_foreign(data)
    data.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(data / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _hold(lock, data)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _hold(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode().strip()  # nothing in the moment before the other wrote it
        who = f"process {pid}" if pid else "another process"
        raise StartError(f"{data} is in use by {who}: stop that one first, or {ELSEWHERE}") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())


def _refuse_foreign(data: Path) -> None:
    """What another user made would be closed to us, or, were we root, be taken away from that user."""
    for each in OWNED:
        with suppress(FileNotFoundError, NotADirectoryError):
            owner = (data / each).stat().st_uid
            if owner not in account.owners():
                raise StartError(f"{data} was made by the user {name_of(owner)}: {_way_out(data, name_of(owner))}")


def _way_out(data: Path, owner: str) -> str:
    if os.geteuid() == 0:
        return f"start as {owner} (`sudo -u {owner} ./orders run`), for root would lock {owner} out, or {ELSEWHERE}"
    return f"take it over with `sudo chown -R {name_of(os.geteuid())} {shlex.quote(str(data))}`, or {ELSEWHERE}"


def _why(error: OSError, data: Path) -> str:
    """The plain words, and whose it is where that is the reason."""
    if isinstance(error, FileExistsError):
        return "it is not a directory"
    words = error.strerror or str(error)
    with suppress(OSError):
        if isinstance(error, PermissionError) and (owner := data.stat().st_uid) != os.geteuid():
            return f"{words}; it belongs to the user {name_of(owner)}"
    return words


# ---- the HTTP address ----


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket, which the serve processes share. Raises `StartError`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        raise StartError(f"HTTP cannot use {host}:{port}: {_trouble(error, host, port)}") from None


def _trouble(error: OSError | UnicodeError, host: str, port: int) -> str:
    other_host = "choose another with --http-host (127.0.0.1: this machine alone, 0.0.0.0: all its addresses)"
    if isinstance(error, (UnicodeError, socket.gaierror)):
        return f"no address is known for that name, {other_host}"
    match error.errno:
        case errno.EADDRINUSE:
            return _taken(host, port)
        case errno.EADDRNOTAVAIL:
            return f"that is not an address of this machine, {other_host}"
        case errno.EACCES:
            return "low ports are root's, choose another with --http-port"
    return f"{os.strerror(error.errno or 0)}, choose others with --http-host and --http-port"


def _taken(host: str, port: int) -> str:
    other_port = "choose another with --http-port (0: any free one)"
    owner = port_owner(host, port)
    if owner is None:
        look = f"sudo ss -ltnp 'sport = :{port}'" if sys.platform == "linux" else f"sudo lsof -nP -iTCP:{port}"
        return f"another program listens there and the machine does not show us which, see `{look}` or {other_port}"
    where = f" of the data directory {owner.data_dir}" if owner.data_dir else ""
    again = "another " if owner.name == "orders run" else ""
    return f"{again}{owner.name} (process {owner.pid}){where} listens there, stop it or {other_port}"


def url_of(http: socket.socket) -> str:
    """Where the socket answers, seen from this machine."""
    address, port, *_ = http.getsockname()
    return http_url(address, port)
