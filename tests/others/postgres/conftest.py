"""The system's PostgreSQL in place of the wheel's: the modules here run other modules' tests on it, unchanged."""

from collections.abc import Iterator

import pytest

from orders.embedded.postgres import PostgresService
from support import installed
from support.services import FAST, open_folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresService]:
    """A PostgreSQL for the whole session."""
    with open_folder() as folder:
        service = PostgresService(folder / "postgres", FAST, installed.required())
        service.start()
        yield service
        service.stop()
