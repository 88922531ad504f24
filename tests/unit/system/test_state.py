"""The state file: what another command finds of a running system, and what it must not hold."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from orders import ownership
from orders.errors import UsageError
from orders.settings import Settings, load, public
from orders.system import state
from orders.system.claims import claimed
from orders.system.state import StartedProcess, SystemState, alive, foreign, joined, process_of, require

OURS = process_of("run", os.getpid())


def test_what_is_saved_is_found_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    saved = SystemState((OURS,), "http://127.0.0.1:1", {"kafka_topic": "orders"}, "")
    state.save(tmp_path, saved)
    assert state.load(tmp_path) == saved
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    state.forget(tmp_path)
    state.forget(tmp_path)
    assert state.load(tmp_path) == SystemState()


@given(st.binary(max_size=60))
def test_a_state_that_cannot_be_read_counts_as_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / "state.json").write_bytes(content)
    assert state.load(folder).processes == ()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A data directory that the test's own process holds."""
    with claimed(tmp_path / "data"):
        yield tmp_path / "data"


def test_a_process_is_alive_where_it_holds_the_directory_and_nowhere_else(held: Path, tmp_path: Path) -> None:
    """Neither a pid in a file proves that, nor the path: a copy has both."""
    found = SystemState((OURS, StartedProcess("serve", 2**22 + 1)))
    assert alive(held, found) == [OURS]
    assert foreign(held, found) == []
    copy = shutil.copytree(held, tmp_path / "copy")
    assert alive(copy, found) == []
    assert foreign(copy, found) == [OURS]
    assert foreign(copy, SystemState((StartedProcess("run", os.getpid(), "another boot 1"),))) == [], (
        "a pid that is another's by now"
    )


def test_a_directory_that_is_moved_stays_that_of_its_processes(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with claimed(place) as claim:
        assert not claim.is_moved()
        moved = place.rename(tmp_path / "moved")
        assert alive(moved, SystemState((OURS,))) == [OURS]
        assert claim.is_moved()
        place.mkdir()
        assert claim.is_moved(), "another one in its place"
        place.rmdir()
        moved.rename(place)
        assert not claim.is_moved()


def test_the_birth_of_a_process_does_not_move_with_the_clock() -> None:
    """It is in ticks since the boot, where the system counts them."""
    assert ownership.birth(os.getpid()) == ownership.birth(os.getpid())
    assert ownership.birth(2**22 + 1) == ""
    if ownership.BOOT.exists():
        boot, ticks = ownership.birth(os.getpid()).split()
        assert boot == ownership.BOOT.read_text().strip()
        assert int(ticks) / os.sysconf("SC_CLK_TCK") < float(Path("/proc/uptime").read_text().split()[0])


def test_a_command_that_joins_takes_what_is_not_given_from_the_system(held: Path) -> None:
    (held / "password").write_text("se'cret\n")
    running = {"kafka_topic": "theirs", "http_port": 1, "postgres_dsn": "postgresql://orders@127.0.0.1:5/orders"}
    state.save(held, SystemState((OURS,), "", running, "password"))
    settings = joined({"ORDERS_DATA_DIR": str(held), "ORDERS_HTTP_PORT": "2"}, {})
    assert (settings.kafka_topic, settings.http_port) == ("theirs", 2)
    assert conninfo_to_dict(settings.postgres_dsn)["password"] == "se'cret"
    assert joined({"ORDERS_DATA_DIR": str(held)}, {"kafka_topic": "ours"}).kafka_topic == "ours"


def test_a_password_that_cannot_be_read_is_one_sentence(held: Path) -> None:
    running = {"postgres_dsn": "postgresql://orders@127.0.0.1:5/orders"}
    state.save(held, SystemState((OURS,), "", running, "postgres/password"))
    with pytest.raises(UsageError, match=r"cannot be read \(No such file or directory: .*: give ORDERS_POSTGRES_DSN$"):
        joined({"ORDERS_DATA_DIR": str(held)}, {})


def test_the_settings_of_a_system_that_is_gone_are_not_taken(tmp_path: Path) -> None:
    state.save(tmp_path, SystemState((StartedProcess("run", 2**22 + 1),), "", {"kafka_topic": "theirs"}, ""))
    assert joined({"ORDERS_DATA_DIR": str(tmp_path)}, {}).kafka_topic == "orders"


def test_what_is_needed_and_nowhere_to_be_found_is_named() -> None:
    with pytest.raises(UsageError, match=r"start it with `orders run`, or give --kafka-bootstrap and --memory-path$"):
        require(Settings(postgres_dsn="x"), "postgres_dsn", "kafka_bootstrap", "memory_path")


def running(data: Path, **variables: str) -> None:
    """A system that runs with these variables."""
    settings = load({"ORDERS_DATA_DIR": str(data)} | {f"ORDERS_{name}": value for name, value in variables.items()})
    state.save(data, SystemState((OURS,), "", public(settings), ""))


def test_the_state_holds_no_secret(tmp_path: Path) -> None:
    running(tmp_path, POSTGRES_DSN="host=db password=hunter2", KAFKA_SASL_PASSWORD="hunter2", KAFKA_SASL_USERNAME="us")
    assert "hunter2" not in (tmp_path / "state.json").read_text()
    assert "sasl.username" in (tmp_path / "state.json").read_text()


def test_a_command_that_lacks_the_running_systems_kafka_secrets_is_reported_what_to_give(held: Path) -> None:
    running(held, KAFKA_BOOTSTRAP="b:1", KAFKA_SASL_PASSWORD="hunter2", KAFKA_SSL_KEY_PEM="x", KAFKA_CLIENT_RACK="a")
    data = {"ORDERS_DATA_DIR": str(held)}
    settings = joined(data, {})
    assert settings.kafka_properties == {"client.rack": "a"}
    require(settings, "data_dir")
    with pytest.raises(UsageError) as error:
        require(settings, "kafka_bootstrap")
    assert str(error.value) == (
        "the running system does not report sasl.password and ssl.key.pem of its Kafka: give this command "
        "ORDERS_KAFKA_SASL_PASSWORD_FILE and ORDERS_KAFKA_SSL_KEY_PEM_FILE too"
    )
    given = {"ORDERS_KAFKA_SASL_PASSWORD": "hunter2", "ORDERS_KAFKA_SSL_KEY_PEM": "x"}
    require(joined(data | given, {}), "kafka_bootstrap")
    require(joined(data, {"kafka_bootstrap": "others:1"}), "kafka_bootstrap")


def test_the_secrets_of_a_system_that_is_gone_are_not_asked_for(tmp_path: Path) -> None:
    settings = load(
        {"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_KAFKA_SASL_PASSWORD": "x", "ORDERS_KAFKA_BOOTSTRAP": "b"}
    )
    state.save(tmp_path, SystemState((StartedProcess("run", 2**22 + 1),), "", public(settings), ""))
    require(joined({"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_KAFKA_BOOTSTRAP": "b"}, {}), "kafka_bootstrap")
