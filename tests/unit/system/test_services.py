"""The embedded services of a start: what is shown while they start, and what the next start remembers."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import StartError, UsageError
from orders.settings import Settings
from orders.system.services import Services, remember, remembered, waiting_text
from orders.system.shutdown import StopSignal
from orders.system.steps import Steps

UP = SimpleNamespace(kind="postgres", doing="", seconds=9.0)
FIRST = SimpleNamespace(kind="postgres", doing="making a PostgreSQL cluster", seconds=0.4)
AGAIN = SimpleNamespace(kind="kafka", doing="starting Kafka", seconds=1.6)


def services(settings: Settings) -> Services:
    return Services(settings, Steps(StopSignal()), StopSignal(), print)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (Settings(), ["postgres", "kafka"]),
        (Settings(kafka_bootstrap="kafka:9092"), ["postgres"]),
        (Settings(postgres_dsn="host=db"), ["kafka"]),
        (Settings(postgres_dsn="host=db", kafka_bootstrap="kafka:9092"), []),
    ],
)
def test_a_service_whose_address_is_given_is_not_started(settings: Settings, kinds: list[str]) -> None:
    assert [each.kind for each in services(settings).kept] == kinds


def test_a_role_of_serve_without_a_server_of_ones_own_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^ORDERS_POSTGRES_DSN_SERVE is for a PostgreSQL of your own: name it in "):
        services(Settings(postgres_dsn_serve="user=serves"))
    services(Settings(postgres_dsn_serve="user=serves", postgres_dsn="host=db"))


@pytest.mark.parametrize("name", ["security.protocol", "sasl.username", "ssl.ca.location"])
def test_security_without_brokers_of_ones_own_is_refused(name: str) -> None:
    # The embedded Kafka would never answer a client that speaks TLS.
    variable = f"ORDERS_KAFKA_{name.upper().replace('.', '_')}"
    with pytest.raises(UsageError, match=f"^{variable} is for a Kafka of your own: .* ORDERS_KAFKA_BOOTSTRAP"):
        services(Settings(kafka_properties={"client.id": "x", name: "y"}))
    services(Settings(kafka_properties={name: "y"}, kafka_bootstrap="kafka:9092"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(kafka_bootstrap="kafka:9092"), "give ORDERS_POSTGRES_DSN a server"),
        (Settings(postgres_dsn="host=db"), "give ORDERS_KAFKA_BOOTSTRAP a broker"),
    ],
)
def test_where_the_extra_is_not_installed_the_address_is_asked_for(
    settings: Settings, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services(settings).require_programs()
    for module in ("java", "postgres"):
        monkeypatch.setattr(f"orders.embedded.{module}.find_spec", lambda _: None)
    with pytest.raises(StartError, match=told):
        services(settings).require_programs()


def test_what_is_starting_is_shown_with_its_seconds_and_those_of_the_last_time() -> None:
    lines = waiting_text([UP, FIRST, AGAIN], {"kafka": 2.1}).splitlines()  # type: ignore[list-item]  # stand-ins
    assert lines == ["         making a PostgreSQL cluster: 0 s", "         starting Kafka: 2 s (last time 2 s)"]


def test_the_seconds_of_a_start_are_remembered(tmp_path: Path) -> None:
    assert remembered(tmp_path) == {}
    remember(tmp_path, {"kafka": 2.1})
    assert remembered(tmp_path) == {"kafka": 2.1}


@given(st.binary(max_size=40))
def test_seconds_that_cannot_be_read_are_forgotten(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "starts.json").write_bytes(content)
    assert all(isinstance(seconds, float) for seconds in remembered(folder).values())


def test_a_full_disk_does_not_keep_a_start_from_going_on(tmp_path: Path) -> None:
    remember(tmp_path / "missing", {"kafka": 2.1})
