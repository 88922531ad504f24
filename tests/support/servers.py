"""PostgreSQL servers of a test's own: a plain one, and one that takes nobody in without TLS and a password."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from orders.embedded.postgres import PostgresService
from support import installed
from support.certificates import Authority
from support.services import FAST

ONLY_TLS = "hostssl all all 127.0.0.1/32 scram-sha-256\n"


class Server(Protocol):
    """A PostgreSQL whose roles are a test's own."""

    def dsn(self, database: str = "orders", **changed: str) -> str:
        """A connection string; a superuser's, unless `changed`."""


class Plain:
    """A server on loopback, without TLS."""

    def __init__(self, service: PostgresService) -> None:
        self._service = service

    def dsn(self, database: str = "orders", **changed: str) -> str:
        return make_conninfo(self._service.dsn_of(database), **changed)


class Secured:
    """The system's PostgreSQL, since the wheel's has no TLS; its certificate names 127.0.0.1 and nobody else.

    `authority` is the file of who signed it.
    """

    def __init__(self, service: PostgresService, authority: Path) -> None:
        self.service = service
        self.authority = authority

    def dsn(self, database: str = "orders", **changed: str) -> str:
        """The same for `verify-full` with channel binding."""
        strict = {"sslmode": "verify-full", "sslrootcert": str(self.authority), "channel_binding": "require"}
        return make_conninfo(self.service.dsn_of(database), **(strict | changed))


@contextmanager
def secured(folder: Path) -> Iterator[Secured]:
    """Starts one under `folder`, which all may enter."""
    certificates, data = folder / "authority", folder / "postgres"
    certificates.mkdir()
    authority = Authority(certificates)
    issued = authority.issue("server")
    data.mkdir()
    # They become PostgreSQL's user's with the directory.
    file, key = (each.rename(data / each.name) for each in (issued.file, issued.key))
    tls = {"ssl": "on", "ssl_cert_file": str(file), "ssl_key_file": str(key)}
    service = PostgresService(data, FAST | tls, installed.required())
    service.start()
    try:
        (data / "data/pg_hba.conf").write_text(ONLY_TLS)
        with psycopg.connect(service.dsn, autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
        yield Secured(service, authority.file)
    finally:
        service.stop()
