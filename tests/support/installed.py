"""The system's own PostgreSQL: the oldest release that the documentation names, where the distribution has that one."""

import os
import subprocess
from pathlib import Path

import pytest

from orders.postgres.connection import OLDEST

SYSTEM = Path("/usr/lib/postgresql")
"""Where Debian and its relatives keep each major version, in a folder of its number."""
HOW = f"install PostgreSQL {OLDEST} or later from the system's packages: apt-get install postgresql"


def newest() -> Path | None:
    """The folder with the programs of the newest release that is there and not too old; None where there is none."""
    found = {int(each.parts[-3]): each.parent for each in SYSTEM.glob("*/bin/initdb") if each.parts[-3].isdecimal()}
    newest = max(found, default=0)
    return found[newest] if newest >= OLDEST else None


def required() -> Path:
    """The same; skips the test where there is none, and fails it in CI."""
    if binaries := newest():
        return binaries
    if os.environ.get("CI"):
        pytest.fail(HOW)
    pytest.skip(HOW)


def told() -> str:
    """Which one the tests run on, in words."""
    if binaries := newest():
        version = subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        return f"the system's PostgreSQL: {version.strip()}, in {binaries}"
    return f"the system's PostgreSQL: none; {HOW}"
