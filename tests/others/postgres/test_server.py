"""What the modules here run on: a fixture of the session's own is kept by pytest, whatever stands behind it."""

import psycopg
import pytest

from orders.embedded.postgres import PostgresService
from support import installed

pytestmark = [pytest.mark.others, pytest.mark.system]


def test_it_is_the_systems_postgresql(postgres: PostgresService, postgres_dsn: str) -> None:
    major = int(installed.required().parts[-2])
    for dsn in (postgres.dsn, postgres_dsn):
        with psycopg.connect(dsn) as connection:
            assert connection.info.server_version // 10_000 == major
