"""The names that this service answers to: a page whose name leads here by DNS rebinding is not among them.

Addresses always are: a page cannot be given one for a name.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

ANY = "*"
LOCAL = "localhost"
_PORT = re.compile(r":[0-9]*$", re.ASCII)


def knows(names: Iterable[str]) -> Callable[[bytes], bool]:
    """Whether a Host that is well formed is an address, `localhost` or one of `names`, whatever its port; `*`: any."""
    known = {LOCAL, *(name.lower().rstrip(".") for name in names)}
    if ANY in known:
        return lambda _: True

    def check(host: bytes) -> bool:
        name = _PORT.sub("", host.decode("latin-1")).lower()
        return not name or name.rstrip(".") in known or is_address(name)

    return check


def is_address(name: str) -> bool:
    """An IPv4 address, or an IPv6 one in brackets."""
    kind, bare = (IPv6Address, name[1:-1]) if name.startswith("[") and name.endswith("]") else (IPv4Address, name)
    try:
        kind(bare)
    except ValueError:
        return False
    return True
