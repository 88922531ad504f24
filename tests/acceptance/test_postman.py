"""The Postman collection against the whole system."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.services import open_folder
from support.system import ROOT, running

FOLDER = ROOT / "tests" / "postman"
COLLECTION = FOLDER / "orders.postman_collection.json"
NEWMAN = FOLDER / "node_modules" / ".bin" / "newman"


@pytest.mark.system
def test_every_call_passes_and_passes_again_on_the_orders_of_the_first_run() -> None:
    """Takes 10 s: a start of everything, and two runs of newman."""
    if not NEWMAN.exists():
        pytest.fail("newman is not installed: run `npm ci` in tests/postman, or `make test-all`", pytrace=False)
    with open_folder() as folder, running(folder / "data") as system:
        runs = [newman(system.url, folder / f"report-{number}.json") for number in (1, 2)]
        assert runs == [[call["name"] for call in calls(collection())]] * 2


def newman(url: str, report: Path) -> list[str]:
    """Runs the collection against a service; the names of the calls whose tests ran. Fails with newman's output."""
    options = ["--reporters", "cli,json", "--reporter-json-export", str(report), "--color", "off"]
    done = subprocess.run(
        [str(NEWMAN), "run", str(COLLECTION), "--env-var", f"baseUrl={url}", *options],
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    if done.returncode:
        pytest.fail(done.stdout.decode(), pytrace=False)
    executions = json.loads(report.read_bytes())["run"]["executions"]
    return [each["item"]["name"] for each in executions if each["assertions"]]


def collection() -> Any:
    return json.loads(COLLECTION.read_bytes())


def calls(folder: Any) -> Iterator[Any]:
    """The calls of a folder and of the folders in it, in their order."""
    for item in folder["item"]:
        if "request" in item:
            yield item
        else:
            yield from calls(item)
