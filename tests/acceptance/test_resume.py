"""`orders resume` on a running system: what comes next is waited for and said."""

import json

import pytest

from support.services import open_folder
from support.system import System, orders, running
from support.waiting import wait_for

pytestmark = pytest.mark.system  # takes long


LIMIT = ["--dead-letter-window", "8", "--dead-letter-percent", "50"]


def is_stopped(system: System) -> bool:
    return "dead letters" in system.request("GET", "/readyz")[1]["parts"]["assignment"]["reason"]


def resume(system: System, addresses: list[str], *words: str) -> tuple[int, list[str]]:
    """Exit status and lines."""
    at = addresses.index("--postgres-dsn")
    done = orders(system.data, "resume", *addresses[at : at + 2], *words)
    return done.returncode, done.stdout.decode().splitlines()


def test_a_partition_that_stops_again_is_reported_and_one_that_is_read_is_too(addresses: list[str]) -> None:
    """12 records of one partition are wrong, 4 of the last 8 stop it: twice more, unless they do not count."""
    topic = addresses[addresses.index("--kafka-topic") + 1]
    wrong = b'{"order_uid":"a"}\n' * 12
    with open_folder() as folder, running(folder / "data", [*addresses, *LIMIT]) as system:
        assert orders(system.data, "send", "-", "--as-is", given=wrong).returncode == 0
        wait_for(lambda: is_stopped(system), "the stop", deadline=20)
        status, (first, again) = resume(system, addresses, "--all")
        assert status == 1
        partition = first.partition("partition ")[2].split()[0]
        assert first == f"{topic} continues: partition {partition} at 4"
        assert again.startswith(f"{topic}/{partition} stopped again at 8: 4 of the last 8 records of ")
        status, lines = resume(system, addresses, "--partition", partition, "--records", "4", "--json")
        (known,) = json.loads(lines[0])
        assert (status, known["state"], known["position"], known["end_offset"]) == (0, "reading", 12, 12)
