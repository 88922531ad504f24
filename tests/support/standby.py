"""A PostgreSQL that follows another one, and takes over once it is told to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders.embedded.postgres import PostgresService
from support.backup import copy_at_rest
from support.proxy import Network
from support.services import FAST
from support.waiting import wait_for

REACHED = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"


class Standby:
    """A copy of `primary`, taken while that is stopped, that follows it by streaming through `network`."""

    def __init__(self, folder: Path, primary: PostgresService, network: Network) -> None:
        self._primary = primary
        told = {name: str(value) for name, value in conninfo_to_dict(primary.dsn, port=network.port).items()}
        del told["dbname"]
        self._service = PostgresService(folder, FAST | {"primary_conninfo": make_conninfo(**told)})
        copy_at_rest(primary, {primary._directory / name: folder / name for name in ("data", "password")})
        signal = folder / "data" / "standby.signal"
        signal.touch()
        owner = signal.parent.stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        self._service.start()

    @property
    def dsn(self) -> str:
        """Connection URL of it alone."""
        return self._service.dsn

    @property
    def either(self) -> str:
        """Connection URL of the two: whichever takes writes (PostgreSQL manual, 34.1.1.3)."""
        both, port = conninfo_to_dict(self._primary.dsn), conninfo_to_dict(self.dsn)["port"]
        hosts = {"host": f"{both['host']},{both['host']}", "port": f"{both['port']},{port}"}
        return make_conninfo(self._primary.dsn, **hosts, target_session_attrs="read-write")

    def catch_up(self) -> None:
        """Until it has all that the other one has now."""
        with psycopg.connect(self._primary.dsn) as primary, psycopg.connect(self.dsn, autocommit=True) as here:
            ((end,),) = primary.execute("select pg_current_wal_lsn()::text").fetchall()
            wait_for(lambda: here.execute(REACHED, (end,)).fetchall() == [(True,)], "the standby follows", 20)

    def take_over(self) -> None:
        """Makes it take writes, with what it has."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            assert connection.execute("select pg_promote()").fetchall() == [(True,)]

    def stop(self) -> None:
        self._service.stop()


@contextmanager
def followed(folder: Path, primary: PostgresService) -> Iterator[tuple[Standby, Network]]:
    """A standby of a primary, and the network between the two."""
    place = conninfo_to_dict(primary.dsn)
    with Network(str(place["host"]), int(str(place["port"]))) as network:
        standby = Standby(folder, primary, network)
        try:
            yield standby, network
        finally:
            standby.stop()
