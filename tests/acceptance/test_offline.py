"""After the first start no network is needed: the whole system in a network namespace that has nothing but `lo`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orders.embedded import Silent, jars
from orders.embedded.maven import Maven
from support.services import open_folder
from support.starting import Started, started

ORIGINAL = Path(__file__).resolve().parents[2] / "src" / "orders" / "original.json"
UID = "b563feg7bdg3286ttjr67siej"
ALONE = 'test -z "$(ip route)" && ip link set lo up && exec {} -m orders run'
REQUEST = """\
import sys, http.client
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
connection.request(sys.argv[2], sys.argv[3], sys.stdin.buffer.read() or None)
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def inside(system: Started, method: str, path: str, body: bytes = b"") -> tuple[int, object]:
    """A request from within the namespace; status and decoded body."""
    ask = [sys.executable, "-c", REQUEST, urlsplit(system.url).netloc, method, path]
    enter = ["nsenter", f"--net=/proc/{system.process.pid}/ns/net"]
    answer = subprocess.run([*enter, *ask], input=body, capture_output=True, check=True, timeout=30)
    status, _, text = answer.stdout.decode().partition(" ")
    return int(status), json.loads(text)


@pytest.mark.system
@pytest.mark.skipif("os.getuid() != 0 or sys.platform != 'linux'", reason="only root makes a network namespace")
def test_without_a_network_the_whole_system_starts_and_serves() -> None:
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not on this machine")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a network namespace is forbidden here")
    jars.provide(jars.pinned(), jars.local_repository(), Silent(), lambda: Maven().fetch)  # the first start
    order = ORIGINAL.read_bytes()
    command = ["unshare", "--net", "sh", "-c", ALONE.format(sys.executable)]
    with open_folder() as folder, started(command, folder / "data") as system:
        assert inside(system, "POST", "/orders", order)[0] == 201
        assert inside(system, "GET", f"/orders/{UID}") == (200, {"order": {"id": 1} | json.loads(order)})
        assert "fetching" not in system.said
        assert system.stop() < 10
