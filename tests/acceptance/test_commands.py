"""The commands on a running system, as one would type them; shared by the tests, which leave it running."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from orders import __version__
from orders.embedded.kafka import KafkaService
from orders.kafka.topic import TopicView
from orders.sample import samples
from support.services import open_folder
from support.system import ROOT, System, environment, orders, running
from support.waiting import wait_for


def doctor(system: System, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status and checks by name."""
    done = orders(system.data, "doctor", "--json", *options)
    assert done.stderr == b""
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def option_of(system: System, name: str) -> list[str]:
    """An option as the system was started with."""
    words = system.process.args
    assert isinstance(words, list)
    at = words.index(name)
    return [str(word) for word in words[at : at + 2]]


def password_of(system: System) -> str:
    password = conninfo_to_dict(option_of(system, "--postgres-dsn")[1])["password"]
    assert isinstance(password, str)
    return password


def test_doctor_finds_a_running_system_fit_and_its_own_port_and_directory_are_no_trouble(system: System) -> None:
    wait_for(lambda: system.status()["ready"], "readiness", deadline=20)
    status, found = doctor(system, *option_of(system, "--postgres-dsn"))
    assert status == 0, found
    assert {name for name, check in found.items() if check["state"] != "ok"} <= {
        *("embedded", "jars", "Java", "data versions"),  # skipped: both services are given
        *("packages", "durability", "disk"),  # as the machine and the tests' PostgreSQL are
    }
    assert found["HTTP port"]["found"] == f"{system.url} is the system that runs"
    assert str(system.process.pid) in found["data directory"]["found"]
    assert found["ready: restore"]["state"] == found["positions"]["state"] == found["schema"]["state"] == "ok"


def test_doctor_skips_a_postgresql_whose_password_only_the_system_has(system: System) -> None:
    status, found = doctor(system)
    assert (status, found["PostgreSQL"]["state"]) == (0, "skipped")
    assert found["ready: postgres"]["state"] == "ok"


def test_doctor_for_a_person_has_a_line_for_each_check_and_the_numbers_last(system: System) -> None:
    done = orders(system.data, "doctor", *option_of(system, "--postgres-dsn"))
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("✓ ok       Python ")
    assert " ok" in lines[-1]
    assert "\x1b" not in done.stdout.decode()
    assert password_of(system) not in done.stdout.decode()


def test_send_counts_for_programs(system: System) -> None:
    lines = b"\n".join([*samples(3, seed=99), b"no JSON"])
    sent = orders(system.data, "send", "--json", "--as-is", "-", given=lines)
    topic = option_of(system, "--kafka-topic")[1]
    counted = {"topic": topic, "sent": 4, "keyless": 1, "invalid": 0, "first": [], "complete": True}
    unsent = {"refused": 0, "first_refused": [], "unknown": 0, "error": "", "wait": None}
    assert (sent.returncode, json.loads(sent.stdout), sent.stderr) == (0, counted | unsent, b"")


def test_send_waits_until_all_is_stored_and_says_what_became_of_it(system: System) -> None:
    """Every order can be read then; what became a dead letter is counted, and exit status 1."""
    dsn = option_of(system, "--postgres-dsn")
    them = list(samples(50, seed=98))
    done = orders(system.data, "send", "-", "--wait", *dsn, given=b"\n".join(them))
    assert (done.returncode, done.stderr.decode().splitlines()) == (0, ["50 sent to Kafka", "50 stored"])
    for order in them:
        assert system.request("GET", f"/orders/{json.loads(order)['order_uid']}")[0] == 200
    mixed = b"\n".join([*samples(2, seed=97), b"no JSON"])
    told = orders(system.data, "send", "-", "--wait", "--as-is", "--json", *dsn, given=mixed)
    waited = {"stored": 2, "dead_letters": 1, "skipped": 0, "pending": 0, "reasons": []}
    assert (told.returncode, json.loads(told.stdout)["wait"]) == (1, waited)


def test_send_waits_for_nothing_it_cannot_see_and_then_sends_nothing(system: System) -> None:
    """The password of PostgreSQL is the running system's alone."""
    done = orders(system.data, "send", "-", "--wait", given=next(iter(samples(1, seed=96))))
    assert done.returncode == 1
    assert done.stderr.decode().startswith("orders: --wait needs PostgreSQL, and nothing was sent: ")


def test_send_names_what_is_too_large_and_sends_the_rest(system: System) -> None:
    """Kafka's client says its own limit; the topic's needs no change."""
    first, last = samples(2, seed=95)
    large = b'{"order_uid":"large","x":"' + b"x" * 1_048_600 + b'"}'
    done = orders(system.data, "send", "-", "--as-is", given=b"\n".join([first, large, last]))
    limit = "larger than the 1048588 bytes that Kafka's client sends at most"
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "2 sent to Kafka",
        "1 not sent, too large:",
        f"  line 2: {len(large) + 5} bytes with its key: {limit}",
        "sent is not yet stored: an ingest stores it from Kafka, and --wait waits for that",
    ]


def test_status_tells_all_that_there_is_for_programs_and_for_a_person(system: System) -> None:
    """What only PostgreSQL knows needs its password, which is the running system's alone."""
    dsn = option_of(system, "--postgres-dsn")
    orders(system.data, "send", "-", "--wait", *dsn, given=b"\n".join(samples(20, seed=94)))
    found = json.loads(orders(system.data, "status", "--json", *dsn).stdout)
    assert (found["version"], found["ready"], found["lag"], found["unknown"]) == (__version__, True, 0, {})
    assert found["uptime_seconds"] > 0
    assert found["data_dir"] == str(system.data)
    assert found["orders"]["stored"] >= 20
    assert not found["orders"]["estimated"]
    assert found["orders"]["in_memory"] >= 20
    assert 0 < found["memory"]["used_bytes"] < found["memory"]["limit_bytes"]
    assert [each["partition"] for each in found["partitions"]] == [0, 1, 2, 3]
    assert sum(each["position"] for each in found["partitions"]) >= 20
    assert found["dead_letters"]["open"] >= 0
    person = orders(system.data, "status")
    lines = dict(line.split(maxsplit=1) for line in person.stdout.decode().splitlines()[:11])
    assert (person.returncode, lines["ready"], lines["data"]) == (0, "yes", str(system.data))
    assert "only the running system knows PostgreSQL's password: give ORDERS_POSTGRES_DSN" in lines["orders"]
    assert "in memory" in lines["orders"]
    assert "0 of 0" not in person.stdout.decode()


def test_status_asks_an_address_that_is_given_where_nothing_runs(system: System, tmp_path: Path) -> None:
    """As on another machine: processes and uptime are not known there."""
    host, port = system.address
    given = {"ORDERS_HTTP_HOST": host, "ORDERS_HTTP_PORT": str(port)}
    done = orders(tmp_path, "status", "--json", variables=given)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ready"], found["version"]) == (0, True, __version__)
    assert (found["processes"], found["http"]) == ([], {"url": system.url, "answers": True})
    assert {"uptime_seconds", "orders.stored", "dead_letters.open"} <= set(found["unknown"])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    nobody = orders(tmp_path, "status", variables={"ORDERS_HTTP_PORT": str(free)})
    assert nobody.returncode == 1
    assert f"no (nothing answers at http://127.0.0.1:{free})" in nobody.stdout.decode()


def test_ctrl_c_sums_up_what_was_sent(system: System) -> None:
    """The command then ends by its signal."""
    kafka = {"bootstrap.servers": option_of(system, "--kafka-bootstrap")[1]}
    view = TopicView(kafka, option_of(system, "--kafka-topic")[1])
    before = sum(view.look().ends.values())
    command = [sys.executable, "-m", "orders", "send", "-", "--as-is"]
    with subprocess.Popen(
        command, env=environment(system.data), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"\n".join(samples(2, seed=93)) + b"\n")
        process.stdin.flush()
        wait_for(lambda: sum(view.look().ends.values()) == before + 2, "both in Kafka", deadline=20)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode().splitlines()
    assert process.returncode == -signal.SIGINT
    assert said[:2] == ["2 sent to Kafka", "the rest was not sent: interrupted"]


def test_ctrl_c_while_a_pipe_is_open_tells_what_is_stored_by_then(system: System) -> None:
    """With --wait: what GET serves already is not called pending."""
    sent = list(samples(2, seed=92))
    uids = [json.loads(each)["order_uid"] for each in sent]
    command = [sys.executable, "-m", "orders", "send", "-", "--wait", *option_of(system, "--postgres-dsn")]
    with subprocess.Popen(
        command,
        env=environment(system.data),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"\n".join(sent) + b"\n")
        process.stdin.flush()
        wait_for(lambda: all(system.request("GET", f"/orders/{uid}")[0] == 200 for uid in uids), "both", deadline=20)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode().splitlines()
    assert process.returncode == -signal.SIGINT
    assert said[:2] == ["2 sent to Kafka", "the rest was not sent: interrupted"]
    assert "2 stored" in said


def test_config_shows_what_the_running_system_has_and_no_secret(system: System) -> None:
    shown = orders(system.data, "config", "--json", "--batch-records", "77")
    found: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(shown.stdout)}
    assert found["kafka_topic"]["value"] == option_of(system, "--kafka-topic")[1]
    assert found["kafka_topic"]["origin"] == "the running system"
    assert (found["batch_records"]["value"], found["batch_records"]["origin"]) == (77, "--batch-records")
    person = orders(system.data, "config").stdout.decode()
    assert "kafka_topic" in person
    assert password_of(system) not in person + shown.stdout.decode()


def test_topics_create_joins_the_running_system(system: System) -> None:
    # Its topic was made with the tests' defaults, which are fit.
    done = orders(system.data, "topics", "create", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["created"], found["topic"]) == (0, False, option_of(system, "--kafka-topic")[1])


def test_a_topic_made_by_the_command_is_one_that_a_system_starts_on(kafka: KafkaService, addresses: list[str]) -> None:
    at = addresses.index("--kafka-topic") + 1
    topic = f"{addresses[at]}-made"
    named = ["--kafka-bootstrap", kafka.bootstrap, "--kafka-topic", topic]
    with open_folder() as folder:
        made = orders(folder / "data", "topics", "create", *named)
        assert made.returncode == 0, made.stderr
        with running(folder / "data", [*addresses[:at], topic, *addresses[at + 1 :]]) as system:
            wait_for(lambda: system.status()["ready"], "readiness", deadline=20)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topic])[topic].result(10)


def test_doctor_knows_a_system_whose_ingest_was_stopped(system: System) -> None:
    """It is there and does nothing, which its own word on the board tells after a while; `orders run` would end it.

    Takes over 10 s: that while (`memory.notices.GONE_SECONDS`).
    """
    (run,), (ingest,) = system.pids("run"), system.pids("ingest")
    for pid in (run, ingest):
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: stopped(system) == "no ingest has reported for 10 s", "no ingest that answers", deadline=30)
    finally:
        for pid in (ingest, run):
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: system.status()["ready"], "readiness", deadline=30)


def stopped(system: System) -> str:
    status, found = doctor(system)
    return found["ready: assignment"]["found"] if status == 1 else ""


def test_a_command_that_joins_nothing_says_how_to_start_it(tmp_path: Path) -> None:
    for command in (("topics", "create"), ("send", "-")):
        done = orders(tmp_path, *command, given=b"")
        assert done.returncode == 2
        assert done.stderr.decode().startswith(f"orders: nothing runs in {tmp_path}: start it with `orders run`, or ")


def test_the_completion_script_is_what_bash_takes(tmp_path: Path) -> None:
    script = orders(tmp_path, "completion", "bash")
    assert script.returncode == 0
    subprocess.run(["bash", "-n"], input=script.stdout, check=True)


def test_send_from_an_input_that_is_closed_is_one_sentence(system: System) -> None:
    shell = ["sh", "-c", '"$0" -m orders send - <&-', sys.executable]
    done = subprocess.run(shell, env=environment(system.data), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"orders: standard input is closed: name a file\n")


def test_send_to_nobody_fails_at_once_and_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orders", "send", "-", "--kafka-bootstrap", "127.0.0.1:1"]
    done = subprocess.run(command, env=environment(tmp_path), input=b"{}", capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "orders: Kafka cannot be reached at 127.0.0.1:1 (Connect to 127.0.0.1:1 failed: Connection refused): "
        "start it, or correct its address\n"
    )
