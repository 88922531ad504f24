"""Free loopback ports, remembered in a file, so that addresses stay the same from start to start where they can."""

import socket
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"


def remembered(file: Path, count: int) -> list[int]:
    """`count` ports that are free now: those of `file` if they are, else others, which are kept there."""
    ports = _read(file)
    if len(ports) != count or not all(map(is_free, ports)):
        ports = free(count)
        file.write_text(" ".join(map(str, ports)) + "\n")
    return ports


def _read(file: Path) -> list[int]:
    try:
        return [int(word) for word in file.read_text().split()]
    except (FileNotFoundError, ValueError):
        return []


def free(count: int) -> list[int]:
    """Different ports that nobody listens on; somebody may be faster than the caller."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen on the port; asks too, for macOS lets two listen on one."""
    if is_open(port):
        return False
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
        return True


def is_open(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as asked:
        asked.settimeout(1)
        try:
            return asked.connect_ex((LOOPBACK, port)) == 0
        except OverflowError:
            return False
