"""`ORDERS_LOG_FORMAT=json`: whatever a process writes is one JSON object a line, with an action of docs/logs.md."""

import json
import os
import re
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orders.embedded.postgres import PostgresService
from support.services import MakeTopic, open_folder
from support.system import ROOT, System, left_of, orders, running
from support.waiting import wait_for

pytestmark = pytest.mark.system  # takes long


JSON = {"ORDERS_LOG_FORMAT": "json"}
ACTIONS = set(re.findall(r"(?m)^\| `([a-z_]+)` \| [a-z ]+ \|", (ROOT / "docs/logs.md").read_text()))


def events(text: str) -> list[dict[str, Any]]:
    """What was written, each line an event; a last line that is still being written is left out."""
    found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    assert {event["action"] for event in found} <= ACTIONS
    assert all(event["time"] and event["level"] and event["process"] for event in found)
    return found


OUTAGES = {
    "dependency_unavailable": "dependency_available",
    "keeper_waits": "keeper_continues",
    "consumption_paused": "consumption_resumed",
}
"""What begins an outage of PostgreSQL, and what ends it."""


def of(system: System, action: str, **fields: object) -> list[dict[str, Any]]:
    """The events of an action with these fields."""
    wanted = {"action": action, **fields}.items()
    return [event for event in events(system.said) if wanted <= event.items()]


def kill(system: System, kind: str) -> None:
    os.kill(system.pids(kind)[0], signal.SIGKILL)


def test_everything_that_a_system_on_embedded_services_writes_is_json() -> None:
    """Its start, a killed ingest and a killed PostgreSQL, their return, and its stop.

    Takes over 10 s: a start of PostgreSQL and Kafka, and one more of PostgreSQL.
    """
    with open_folder() as folder, running(folder / "data", variables=JSON) as system:
        steps = [event["text"] for event in of(system, "step")]
        assert {"starting Kafka", "PostgreSQL answers", "ready"} <= set(steps)
        (started,) = of(system, "started")
        assert started["http"] == system.url
        assert system.request("GET", "/livez")[0] == 200

        kill(system, "ingest")
        wait_for(lambda: of(system, "process_restarted", kind="ingest"), "another ingest", 10)
        kill(system, "postgres")
        wait_for(lambda: of(system, "process_restarted", kind="postgres"), "PostgreSQL again", 30)
        ended = [(event["kind"], event["how"]) for event in of(system, "process_ended")]
        assert ended == [("ingest", "signal SIGKILL"), ("postgres", "signal SIGKILL")]
        wait_for(lambda: system.status()["ready"], "readiness", 30)
        assert system.stop() < 10
        assert left_of(system.data) == []
        assert events(system.said)[-1]["text"] == "stopped"
        assert " at 0x" not in system.said


def test_each_process_that_logs_an_outage_logs_its_end_once(
    own_postgres: PostgresService, kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    """With how long it lasted, though nobody asks for anything any more.

    Takes over 10 s: PostgreSQL stops, and each process has to notice.
    """
    addresses = {"postgres-dsn": own_postgres.dsn, "kafka-bootstrap": kafka_bootstrap, "kafka-topic": make_topic()}
    options = [word for name, value in addresses.items() for word in (f"--{name}", value)]
    with open_folder() as folder, running(folder / "data", options, JSON) as system:
        own_postgres.stop()
        wait_for(lambda: system.request("GET", "/orders/unknown")[0] == 503, "an outage that HTTP meets")
        begun = {("serve", "dependency_available"), ("keep", "keeper_continues"), ("ingest:0", "consumption_resumed")}
        wait_for(lambda: begun <= outages(system), "each has noticed", 20)
        own_postgres.start()
        for process, action in outages(system):
            (over,) = wait_for(partial(of, system, action, process=process), f"{action} of {process}", 20)
            assert 0 < over["seconds"] < 60
        wait_for(lambda: system.status()["ready"], "readiness", 30)
        assert all(len(of(system, action, process=process)) == 1 for process, action in outages(system))


def outages(system: System) -> set[tuple[str, str]]:
    """Which processes have logged the beginning of an outage, and how its end is called."""
    return {(event["process"], OUTAGES[event["action"]]) for event in events(system.said) if event["action"] in OUTAGES}


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("run", "--log-format", "json", "--http-port", "none"), {}, "--http-port must be"),
        (("serve", "--bogus"), JSON, "No such option"),
        (("ingest", "--log-format=json"), {"ORDERS_BOGUS": "1"}, "ORDERS_BOGUS"),
        (("keep", "--kafka-bootstrap", "127.0.0.1:1"), JSON, "nothing runs in"),
        (("run", "--kafka-bootstrap", "127.0.0.1:1"), JSON | {"ORDERS_KAFKA_DEBUG": "bogus"}, "ORDERS_KAFKA_DEBUG"),
        (("run", "--data-dir", "/proc/nowhere"), JSON, "/proc/nowhere"),
    ],
)
def test_a_process_that_cannot_start_says_so_in_json(
    tmp_path: Path, words: Sequence[str], variables: dict[str, str], said: str
) -> None:
    """Also where settings are wrong, and where the command line is."""
    done = orders(tmp_path, *words, variables=variables)
    assert done.stdout == b""
    (event,) = events(done.stderr.decode())
    assert (event["action"], event["process"]) == ("ended", words[0])
    assert done.returncode == event["status"] > 0
    assert said in event["reason"]


def test_the_format_in_the_settings_file_counts_where_another_setting_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text('log_format = "json"\n')
    variables = {"ORDERS_SETTINGS_FILE": str(tmp_path / "orders.toml"), "ORDERS_HTTP_PORT": "none"}
    (event,) = events(orders(tmp_path, "run", variables=variables).stderr.decode())
    assert "ORDERS_HTTP_PORT" in event["reason"]


def test_other_commands_stay_sentences(tmp_path: Path) -> None:
    """Their standard error is for a person, whatever the log of the processes looks like."""
    done = orders(tmp_path, "status", "--bogus", variables=JSON)
    assert b"No such option" in done.stderr
    assert not done.stderr.startswith(b"{")
