"""The system's PostgreSQL in place of the wheel's: the modules here run other modules' tests on it, unchanged."""

from collections.abc import Iterator

import pytest

from orders.embedded.postgres import PostgresService
from support import installed
from support.servers import Secured, secured
from support.services import FAST, open_folder
from support.shared import Shared


@pytest.fixture(scope="session")
def postgres(shared_services: Shared) -> PostgresService:
    """The system's, for the whole run."""
    binaries = installed.required()
    return shared_services.service("the-systems-postgres", lambda folder: PostgresService(folder, FAST, binaries))


@pytest.fixture(scope="module")
def server() -> Iterator[Secured]:
    """A PostgreSQL whose roles are the module's own, with TLS."""
    with open_folder() as folder, secured(folder) as server:
        yield server
