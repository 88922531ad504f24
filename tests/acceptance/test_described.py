"""The service against its own description: Schemathesis with all its checks, on the real services."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine
from support.services import MakeTopic
from support.system import ROOT

PHASES = ("examples", "coverage", "fuzzing", "stateful")
OPTIONS = ("--checks", "all", "--phases", ",".join(PHASES), "--mode", "all", "--report", "json")
HOOKS = {"SCHEMATHESIS_HOOKS": "support.schemathesis_hooks", "PYTHONPATH": str(ROOT / "tests"), "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def machine(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Machine]:
    with Machine(tmp_path, postgres_dsn, kafka_bootstrap, make_topic(), ingests=1) as made:
        yield made


@pytest.mark.parametrize(
    ("cases", "examples", "seed"),
    [
        pytest.param(500, 4, 1, marks=pytest.mark.system),
        pytest.param(
            10_000,
            2_000,
            random.randrange(2**32),
            id="10000",
            marks=[pytest.mark.faults, pytest.mark.timeout(3600)],
        ),
    ],
)
def test_what_is_described_is_what_happens(
    machine: Machine, tmp_path: Path, cases: int, examples: int, seed: int
) -> None:
    """What is valid is taken, what is not is refused, every answer is one that is told of, and a saved order is there.

    `examples` is how many cases of each operation are made at most, so that there are `cases` in all.

    Takes over 10 s: 500 requests, one after the other.
    """
    report, posted = tmp_path / "report.json", tmp_path / "posted.json"
    sys.stdout.write(f"--seed {seed}\n")
    options = ["--max-examples", str(examples), "--seed", str(seed), "--report-json-path", str(report)]
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", f"{machine.url}/openapi.json", *OPTIONS, *options],
        cwd=tmp_path,
        env=os.environ | HOOKS | {"POSTED": str(posted)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    told = done.stdout.decode()
    if done.returncode:
        pytest.fail(told, pytrace=False)
    found = json.loads(report.read_bytes())
    assert {name: found["phases"][name]["status"] for name in PHASES} == dict.fromkeys(PHASES, "success")
    assert found["test_cases"]["generated"] >= cases
    statuses = json.loads(posted.read_bytes())
    sys.stdout.write(f"{found['test_cases']['generated']} cases; POSTs by phase: {statuses}\n")
    assert statuses["coverage"]["201"] > statuses["coverage"].get("409", 0), "orders of the coverage phase are new"
    links = re.search(r"API Links: +(\d+) covered", told)
    assert links, told
    assert int(links[1]) > 0
