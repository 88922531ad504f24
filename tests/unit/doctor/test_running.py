"""What the system that runs says of itself, as checks."""

from pathlib import Path

from orders.doctor import running
from orders.doctor.check import Case
from orders.readiness import ReadinessPart, Ready
from orders.settings import Settings
from orders.system.state import StartedProcess, SystemState

RUN, SERVE = StartedProcess("run", 1), StartedProcess("serve", 2)


def test_each_part_of_readyz_is_a_check_with_its_reason() -> None:
    parts = {"kafka": ReadinessPart(ok=True), "lag": ReadinessPart(ok=False, reason="more than 10 messages behind")}
    assert [(c.name, c.state, c.found) for c in running.parts(Ready(parts=parts))] == [
        ("ready: kafka", "ok", "yes"),
        ("ready: lag", "failed", "more than 10 messages behind"),
    ]


def test_a_process_that_ended_is_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    left = SystemState((RUN, SERVE), "http://127.0.0.1:1")
    found = next(iter(running.look(Case(settings, settings, left, [RUN]))))
    assert (found.state, found.found) == ("failed", "serve ended")
    whole = next(iter(running.look(Case(settings, settings, left, [RUN, SERVE]))))
    assert whole.found == "2 processes run: run, serve"


def test_what_is_embedded_is_known_with_and_without_a_running_system() -> None:
    bare, given = Settings(), Settings(kafka_bootstrap="k:1", postgres_dsn="postgresql://p")
    kafka = StartedProcess("kafka", 3)
    assert Case(bare, bare, SystemState(), []).embedded_kafka
    assert not Case(given, given, SystemState(), []).embedded_postgres
    assert Case(given, bare, SystemState((RUN, kafka)), [RUN]).embedded_kafka
    assert not Case(given, bare, SystemState((RUN, kafka)), [RUN]).embedded_postgres, (
        "it was given to the one that runs"
    )
