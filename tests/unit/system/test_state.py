"""The state file: what another command finds of a running system, and what it must not hold."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from orders.errors import UsageError
from orders.settings import Settings, load, public
from orders.system import state
from orders.system.state import Process, State, alive, joined, process_of, require

OURS = process_of("run", os.getpid())


def test_what_is_saved_is_found_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    saved = State((OURS,), "http://127.0.0.1:1", {"kafka_topic": "orders"}, "")
    state.save(tmp_path, saved)
    assert state.load(tmp_path) == saved
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    state.forget(tmp_path)
    state.forget(tmp_path)
    assert state.load(tmp_path) == State()


@given(st.binary(max_size=60))
def test_a_state_that_cannot_be_read_counts_as_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / "state.json").write_bytes(content)
    assert state.load(folder).processes == ()


def test_a_pid_that_belongs_to_another_process_by_now_is_not_alive() -> None:
    assert alive([OURS]) == [OURS]
    assert alive([Process("run", os.getpid(), OURS.created - 60)]) == []
    assert alive([process_of("run", 2**22 + 1)]) == []


def test_a_command_that_joins_takes_what_is_not_given_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("se'cret\n")
    running = {"kafka_topic": "theirs", "http_port": 1, "postgres_dsn": "postgresql://orders@127.0.0.1:5/orders"}
    state.save(tmp_path, State((OURS,), "", running, str(tmp_path / "password")))
    settings = joined({"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_HTTP_PORT": "2"}, {})
    assert (settings.kafka_topic, settings.http_port) == ("theirs", 2)
    assert conninfo_to_dict(settings.postgres_dsn)["password"] == "se'cret"
    assert joined({"ORDERS_DATA_DIR": str(tmp_path)}, {"kafka_topic": "ours"}).kafka_topic == "ours"


def test_the_settings_of_a_system_that_is_gone_are_not_taken(tmp_path: Path) -> None:
    state.save(tmp_path, State((Process("run", 2**22 + 1, 0.0),), "", {"kafka_topic": "theirs"}, ""))
    assert joined({"ORDERS_DATA_DIR": str(tmp_path)}, {}).kafka_topic == "orders"


def test_what_is_needed_and_nowhere_to_be_found_is_named() -> None:
    with pytest.raises(UsageError, match=r"start it with `orders run`, or give --kafka-bootstrap and --memory-path$"):
        require(Settings(postgres_dsn="x"), "postgres_dsn", "kafka_bootstrap", "memory_path")


def running(data: Path, **variables: str) -> None:
    """A system that runs with these variables."""
    settings = load({"ORDERS_DATA_DIR": str(data)} | {f"ORDERS_{name}": value for name, value in variables.items()})
    state.save(data, State((OURS,), "", public(settings), ""))


def test_the_state_holds_no_secret(tmp_path: Path) -> None:
    running(tmp_path, POSTGRES_DSN="host=db password=hunter2", KAFKA_SASL_PASSWORD="hunter2", KAFKA_SASL_USERNAME="us")
    assert "hunter2" not in (tmp_path / "state.json").read_text()
    assert "sasl.username" in (tmp_path / "state.json").read_text()


def test_a_command_that_lacks_the_running_systems_kafka_secrets_is_told_what_to_give(tmp_path: Path) -> None:
    running(
        tmp_path, KAFKA_BOOTSTRAP="b:1", KAFKA_SASL_PASSWORD="hunter2", KAFKA_SSL_KEY_PEM="x", KAFKA_CLIENT_RACK="a"
    )
    data = {"ORDERS_DATA_DIR": str(tmp_path)}
    settings = joined(data, {})
    assert settings.kafka_properties == {"client.rack": "a"}
    require(settings, "data_dir")
    with pytest.raises(UsageError) as error:
        require(settings, "kafka_bootstrap")
    assert str(error.value) == (
        "the running system does not tell sasl.password and ssl.key.pem of its Kafka: give this command "
        "ORDERS_KAFKA_SASL_PASSWORD_FILE and ORDERS_KAFKA_SSL_KEY_PEM_FILE too"
    )
    given = {"ORDERS_KAFKA_SASL_PASSWORD": "hunter2", "ORDERS_KAFKA_SSL_KEY_PEM": "x"}
    require(joined(data | given, {}), "kafka_bootstrap")
    require(joined(data, {"kafka_bootstrap": "others:1"}), "kafka_bootstrap")


def test_the_secrets_of_a_system_that_is_gone_are_not_asked_for(tmp_path: Path) -> None:
    settings = load(
        {"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_KAFKA_SASL_PASSWORD": "x", "ORDERS_KAFKA_BOOTSTRAP": "b"}
    )
    state.save(tmp_path, State((Process("run", 2**22 + 1, 0.0),), "", public(settings), ""))
    require(joined({"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_KAFKA_BOOTSTRAP": "b"}, {}), "kafka_bootstrap")
