"""The names that this service answers to: a page whose name leads here by DNS rebinding is not among them.

Addresses always are: a page cannot be given one for a name. A name that is not is reported to the client, and once a
day in the log.
"""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from time import time

import structlog

from orders.timing import Clock

log = structlog.get_logger()

ANY = "*"
LOCAL = "localhost"
_PORT = re.compile(r":[0-9]*$", re.ASCII)

LONGEST = 253
"""Characters of a host name that are shown: no name of DNS has more (RFC 1035, 2.3.4)."""
MOST = 100
"""Unknown names that a process logs in a day."""
DAY_SECONDS = 86_400.0
SEEN_SUFFIX = ".unknown-hosts"
"""At the end of the name of the directory, beside the shared memory, with a file for each name that was logged."""


def knows(names: Iterable[str]) -> Callable[[bytes], bool]:
    """Whether a Host that is well formed is an address, `localhost` or one of `names`, whatever its port; `*`: any."""
    known = {LOCAL, *(without_port(name).lower().rstrip(".") for name in names)}
    if ANY in known:
        return lambda _: True

    def check(host: bytes) -> bool:
        name = without_port(host.decode("latin-1")).lower()
        return not name or name.rstrip(".") in known or is_address(name)

    return check


def without_port(host: str) -> str:
    """The name or address of a Host."""
    return _PORT.sub("", host)


def is_address(name: str) -> bool:
    """An IPv4 address, or an IPv6 one in brackets."""
    kind, bare = (IPv6Address, name[1:-1]) if name.startswith("[") and name.endswith("]") else (IPv4Address, name)
    try:
        kind(bare)
    except ValueError:
        return False
    return True


def sentence(host: bytes) -> str:
    """What to do about an unknown Host: bounded in length, in printable ASCII but for the dots of a cut."""
    name = without_port(host.decode("latin-1"))
    shown = ascii(name[:LONGEST]) + ("…" if len(name) > LONGEST else "")
    return f"Unknown host name {shown}: add it to ORDERS_HTTP_HOSTS"


class Unknown:
    """Logs each unknown name once a day, by one of the serve processes that share a memory, up to `MOST` for each.

    `memory` is the path of the shared memory; without it a process knows only what it logged itself. The clock is the
    wall clock, by which the processes compare.
    """

    def __init__(self, memory: Path | None = None, clock: Clock = time) -> None:
        self._files = None if memory is None else Path(f"{memory}{SEEN_SUFFIX}")
        self._clock = clock
        self._seen: dict[str, float] = {}

    def report(self, host: bytes) -> None:
        """Logs a Host unless it was logged, or too many were."""
        reason, now = sentence(host), self._clock()
        key = reason.lower()
        self._forget(now)
        if key in self._seen or len(self._seen) >= MOST:
            return
        self._seen[key] = now
        if self._note(key, now):
            log.warning("unknown_host", reason=reason)
        if len(self._seen) == MOST:
            log.warning("unknown_hosts_many", names=MOST)

    def _forget(self, now: float) -> None:
        """Removes what is older than a day; also what a clock that was set back made younger than now."""
        for key in [key for key, at in self._seen.items() if not 0 <= now - at < DAY_SECONDS]:
            del self._seen[key]

    def _note(self, key: str, now: float) -> bool:
        """Whether no other process has logged it; where no file can be made, it is logged by each."""
        if self._files is None:
            return True
        try:
            self._files.mkdir(mode=0o700, exist_ok=True)
            self._remove_old(self._files, now)
            file = self._files / sha256(key.encode()).hexdigest()
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.utime(file, (now, now))
        except FileExistsError:
            return False
        except OSError:
            return True
        return True

    def _remove_old(self, files: Path, now: float) -> None:
        for file in files.iterdir():
            with suppress(OSError):
                if now - file.stat().st_mtime >= DAY_SECONDS:
                    file.unlink()
