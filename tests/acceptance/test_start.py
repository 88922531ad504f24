"""The first ten minutes: whatever is wrong with a machine is one sentence with the next step, and no traceback."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from orders.postgres.migrations import migrate
from support.disk import disk, fill
from support.services import open_folder
from support.starting import refused, started
from support.system import System, environment, left_of
from support.waiting import wait_for

RUN = (sys.executable, "-m", "orders", "run")


def limited(limit: str) -> list[str]:
    """`orders run` under a limit of the shell's."""
    return ["sh", "-c", f"{limit} && exec {sys.executable} -m orders run"]


# ---- what it is told ----


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ORDERS_HTTP_PROT", "1", "ORDERS_HTTP_PORT"),
        ("ORDERS_HTTP_PORT", "many", "ORDERS_HTTP_PORT"),
        ("ORDERS_HTTP_HOST", "192.0.2.1", "not an address of this machine"),
        ("ORDERS_KAFKA_SECURITY_PROTOCOL", "SSL", "ORDERS_KAFKA_BOOTSTRAP"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence_that_names_what_may(
    tmp_path: Path, name: str, value: str, told: str
) -> None:
    assert told in refused(RUN, tmp_path, **{name: value}).stderr


# ---- what it finds ----


def test_a_port_of_another_system_names_its_data_directory(system: System, tmp_path: Path) -> None:
    port = urlsplit(system.url).port
    told = refused([*RUN, "--http-port", str(port)], tmp_path).stderr
    assert f"another orders run (process {system.process.pid}) of the data directory {system.data} listens" in told


def test_a_file_in_place_of_the_data_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "(it is not a directory): choose another with --data-dir" in refused(RUN, tmp_path / "file").stderr


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (
            "insert into migrations values ('9999_later.sql', 'x')",
            "which this release does not know: install a newer release",
        ),
        ("update migrations set sha256 = 'x' where name like '0001%'", "differs from the one that was applied"),
    ],
)
def test_another_schema_is_left_alone(postgres_dsn: str, tmp_path: Path, statement: str, why: str) -> None:
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(statement)
    given = ["--postgres-dsn", postgres_dsn, "--kafka-bootstrap", "127.0.0.1:1"]
    assert why in refused([*RUN, *given], tmp_path).stderr


def test_jars_that_cannot_be_fetched_are_one_sentence(tmp_path: Path) -> None:
    # A mirror that is not there: nothing outside of this machine is asked.
    variables = {
        "M2_REPO": str(tmp_path / "m2"),
        "MVNW_REPOURL": "http://127.0.0.1:1/maven2",
        "NO_PROXY": "127.0.0.1",
    }
    told = refused([*RUN, "--postgres-dsn", "host=127.0.0.1 port=1"], tmp_path / "data", **variables)
    assert told.stderr.startswith("orders: Kafka's jars cannot be fetched: 127.0.0.1:1 cannot be reached")
    assert "of Kafka's jars once, 45 MB, into " in told.stdout


# ---- what the machine lacks ----


def test_too_little_memory_for_java_is_one_sentence(tmp_path: Path) -> None:
    given = " --postgres-dsn 'host=127.0.0.1 port=1'"
    command = limited("ulimit -v 1000000")
    command[-1] += given
    assert "there is too little memory (`ulimit -v`" in refused(command, tmp_path).stderr


def test_too_few_open_files_are_one_sentence(tmp_path: Path) -> None:
    assert "raise the limit (`ulimit -n`)" in refused(limited("ulimit -n 40"), tmp_path).stderr


def test_memory_that_has_room_nowhere_names_the_setting(addresses: list[str], tmp_path: Path) -> None:
    told = refused([*RUN, *addresses, "--memory-bytes", str(2**40)], tmp_path).stderr
    assert "or give a smaller --memory-bytes" in told


@pytest.mark.root
def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_written() -> None:
    with open_folder() as folder, disk(folder, "size=200m,mode=711") as place:
        assert re.search(r"has 1\d\d MB free, ", refused(RUN, place / "data").stderr)
        assert [path.name for path in place.rglob("*")] == ["data", "lock"]


@pytest.mark.root
@pytest.mark.parametrize("step", ["making a PostgreSQL cluster", "starting PostgreSQL", "starting Kafka"])
def test_a_disk_that_fills_during_a_start_is_one_sentence(step: str) -> None:
    with open_folder() as folder, disk(folder, "size=360m,mode=711") as place:
        # Our own output goes elsewhere.
        process = subprocess.Popen(
            RUN,
            env=environment(place / "data"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout
            wait_for(lambda: step in process.stdout.readline(), step)  # type: ignore[union-attr]  # it is a pipe
            fill(place)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert errors.startswith("orders: "), errors
        assert errors.count("\n") == 1, errors
        assert "make room" in errors, errors
        assert left_of(place / "data") == []


@pytest.mark.root
def test_a_disk_that_cannot_be_written_is_one_sentence() -> None:
    with open_folder() as folder, disk(folder, "size=400m,ro") as place:
        told = refused(RUN, place / "data").stderr
        assert "cannot be used (Read-only file system): choose another with --data-dir" in told


@pytest.mark.root
@pytest.mark.skipif("shutil.which('unshare') is None", reason="unshare is missing")
def test_a_container_with_a_tiny_shared_memory_starts_and_says_where_memory_is() -> None:
    # Docker's --shm-size; PostgreSQL and our own memory both use /dev/shm where they can.
    assert shutil.which("unshare")
    with open_folder(Path(tempfile.gettempdir())) as folder:
        small = f"mount -t tmpfs -o size=1m none /dev/shm && exec {sys.executable} -m orders run"
        with started(["unshare", "--mount", "sh", "-c", small], folder / "data") as system:
            assert f"MB in {folder}/data/orders-0-" in system.said
            assert "(on disk: it may grow to 512 MB, and /dev/shm has 1 MB free)" in system.said
            assert system.request("GET", "/orders/none")[0] == 404
            system.stop()
