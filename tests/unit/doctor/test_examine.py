"""The order of the checks, and what becomes of those that hang or break."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from orders.doctor import examine
from orders.doctor.check import Check, ok
from orders.doctor.examine import Examination
from orders.errors import StartError


def test_what_was_found_before_a_hang_is_kept_and_the_hang_is_given_up_in_time() -> None:
    never = Event()

    def hanging() -> Iterator[Check]:
        yield ok("first", "found")
        never.wait()

    began = time.monotonic()
    found = list(Examination("thing", hanging, 0.2).checks())
    assert time.monotonic() - began < 5
    assert [(check.name, check.state) for check in found] == [("first", "ok"), ("thing", "failed")]
    never.set()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StartError("no room: make some"), "no room: make some"),
        (ValueError("secret"), "the look failed (ValueError at "),
    ],
)
def test_an_error_is_a_failed_check_and_a_foreign_ones_text_stays_out(error: Exception, words: str) -> None:
    def broken() -> Iterator[Check]:
        yield ok("first", "found")
        raise error

    (_, found) = Examination("thing", broken, 10).checks()
    assert found.state == "failed"
    assert found.found.startswith(words)
    assert "secret" not in found.found


def test_settings_that_cannot_be_read_fail_with_their_sentence_and_end_the_looks(tmp_path: Path) -> None:
    found = {check.name: check for check in examine.examine({"ORDERS_HOME": str(tmp_path), "ORDERS_HTP_PORT": "1"}, {})}
    assert found["settings"].state == "failed"
    assert "ORDERS_HTTP_PORT" in found["settings"].found
    assert found["the rest"].state == "skipped"


def test_settings_name_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text("http_port = 1\n")
    environment = {"ORDERS_HOME": str(tmp_path), "ORDERS_KAFKA_GROUP": "g"}
    found = examine.given(environment, {"data_dir": str(tmp_path)})
    assert found.found == f"given by --data-dir, {tmp_path}/orders.toml, ORDERS_KAFKA_GROUP"
    assert examine.given({"ORDERS_HOME": "/"}, {}).found == "all have their defaults"


def test_without_a_system_and_addresses_what_cannot_be_asked_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))  # whether this user has the jars already is none of the test's
    environment = {"ORDERS_HOME": str(tmp_path), "ORDERS_HTTP_PORT": "0"}
    found = {check.name: check.state for check in examine.examine(environment, {})}
    skipped = {"PostgreSQL", "Kafka", "positions", "lag", "system"}
    assert {name for name, state in found.items() if state == "skipped"} == skipped
    assert found["Java"] == found["data directory"] == "ok"
    assert found["jars"] == "warning"
