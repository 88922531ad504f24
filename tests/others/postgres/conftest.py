"""The system's PostgreSQL in place of the wheel's: the modules here run other modules' tests on it, unchanged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import installed
from support.servers import Secured, secured
from support.services import open_folder


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder of the system's PostgreSQL; `postgres` and all that stands on it follow."""
    return installed.required()


@pytest.fixture(scope="module")
def server() -> Iterator[Secured]:
    """A PostgreSQL whose roles are the module's own, with TLS."""
    with open_folder() as folder, secured(folder) as server:
        yield server
