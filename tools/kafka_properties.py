"""Writes `src/orders/settings/kafka-properties.txt`: the names of librdkafka's properties, as the installed one tells.

Run by hand after `make lock` brought another confluent-kafka: `python tools/kafka_properties.py`.
"""

import ctypes
import re
import tempfile
from pathlib import Path

import confluent_kafka
from confluent_kafka import cimpl

LIST = Path(__file__).parents[1] / "src/orders/settings/kafka-properties.txt"
ROW = re.compile(r"^([a-z][a-z0-9._]*) +\| +([*CP]) +\| *(.*?) *\|(?:.*\| Alias for `([^`]+)`)?", re.MULTILINE)


def listing() -> str:
    """A line for each property: name; C for consumers, P for producers, * for all; whose alias it is; its range."""
    found: dict[str, str] = {}
    for name, kind, extent, alias_of in ROW.findall(described()):
        found.setdefault(name, f"{name} {kind} {alias_of or '-'} {extent}".rstrip())
    head = (
        f"# librdkafka {confluent_kafka.libversion()[0]} as {Path(__file__).name} found it: name, kind, alias of, range"
    )
    return "\n".join([head, *(found[name] for name in sorted(found)), ""])


def described() -> str:
    """What librdkafka itself writes of its properties; the Python library does not pass this on."""
    library, libc = ctypes.CDLL(cimpl.__file__), ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    with tempfile.NamedTemporaryFile() as file:
        handle = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
        library.rd_kafka_conf_properties_show(handle)
        libc.fclose(handle)
        return Path(file.name).read_text()


if __name__ == "__main__":
    LIST.write_text(listing())
    print(f"{len(listing().splitlines()) - 1} properties")
