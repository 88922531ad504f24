"""A PostgreSQL that asks for TLS and SCRAM: what does not fit is one sentence with the next step, without secrets."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support.certificates import Authority
from support.servers import Secured
from support.services import open_folder
from support.system import orders

pytestmark = [pytest.mark.others, pytest.mark.system]

SECRET = "hush-hush"
STRANGER = "the stranger's"
WRONG_PASSWORD = (
    'password authentication failed for user "orders": correct the user or the password in the connection string'
)
WRONG_CA = (
    "SSL error: certificate verify failed: "
    "name the CA that signed the server's certificate as sslrootcert in the connection string"
)
WRONG_NAME = (
    'server certificate for "127.0.0.1" (and 1 other name) does not match host name "localhost": '
    "connect by a name that the server's certificate has: correct host in the connection string"
)
NO_TLS = (
    'no pg_hba.conf entry for host "127.0.0.1", user "orders", database "orders", no encryption: '
    "the server wants TLS: add sslmode=verify-full and sslrootcert to the connection string"
)
NO_FILE = (
    'root certificate file "/nowhere.pem" does not exist: '
    "name a file with the CA's certificate as sslrootcert in the connection string"
)
REFUSED = [
    pytest.param({"sslrootcert": STRANGER}, WRONG_CA, id="another CA"),
    pytest.param({"sslrootcert": "/nowhere.pem"}, NO_FILE, id="no CA"),
    pytest.param({"host": "localhost", "hostaddr": "127.0.0.1"}, WRONG_NAME, id="another name"),
    pytest.param({}, WRONG_PASSWORD, id="another password"),
    # libpq tries again without TLS, and is refused for that.
    pytest.param({"sslmode": "prefer", "channel_binding": "prefer"}, WRONG_PASSWORD, id="tried twice"),
    pytest.param({"sslmode": "disable", "channel_binding": "disable"}, NO_TLS, id="no TLS"),
]
"""What is changed in a connection string that fits, and what is said of it."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Path:
    """The file of a CA that did not sign the server's certificate."""
    (folder / "stranger").mkdir()
    return Authority(folder / "stranger").file


def given(folder: Path, dsn: str) -> dict[str, str]:
    """Settings with a connection string that stands in a file."""
    path = folder / "dsn"
    path.write_text(f"{dsn}\n")
    return {"ORDERS_POSTGRES_DSN_FILE": str(path), "ORDERS_KAFKA_BOOTSTRAP": "127.0.0.1:1"}


def test_it_is_verified_and_bound_and_the_owner_migrates_by_it(server: Secured, folder: Path) -> None:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
        assert row == (True, "TLSv1.3")
    done = orders(folder / "data", "migrate", variables=given(folder, server.dsn()))
    assert done.returncode == 0, done


@pytest.mark.parametrize(("changed", "told"), REFUSED)
def test_what_does_not_fit_is_one_sentence_with_the_next_step(
    server: Secured, stranger: Path, folder: Path, changed: dict[str, str], told: str
) -> None:
    there = {name: value.replace(STRANGER, str(stranger)) for name, value in changed.items()}
    variables = given(folder, server.dsn(**{"password": SECRET, **there}))
    for command in ("migrate", "run"):
        done = orders(folder / "data", command, variables=variables)
        assert (done.returncode, done.stderr.decode()) == (1, f"orders: no connection to PostgreSQL: {told}\n")
        assert SECRET.encode() not in done.stdout


def test_the_doctor_says_the_same_and_no_command_shows_the_password(server: Secured, folder: Path) -> None:
    variables = given(folder, server.dsn(password=SECRET))
    doctor = orders(folder / "data", "doctor", "--json", variables=variables)
    checks = {each["name"]: each for each in json.loads(doctor.stdout)["checks"]}
    assert checks["PostgreSQL"]["state"] == "failed"
    assert checks["PostgreSQL"]["found"] == f"no connection to PostgreSQL: {WRONG_PASSWORD}"
    for shown in (doctor, *(orders(folder / "data", each, variables=variables) for each in ("config", "status"))):
        assert SECRET.encode() not in shown.stdout + shown.stderr
