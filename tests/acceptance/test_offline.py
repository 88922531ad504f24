"""Where the network is narrow: a first start with a company's mirror alone, and a later one with nothing at all."""

import json
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from orders.embedded import Silent, jars
from orders.embedded.maven import Maven
from support.services import open_folder
from support.starting import Started, started
from support.system import environment

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


def first_start() -> Path:
    """Sees to it that the user's cache has all jars."""
    jars.provide(jars.pinned(), jars.local_repository(), Silent(), lambda: Maven().fetch)
    return jars.local_repository()


@pytest.mark.system
def test_a_company_with_a_mirror_alone_can_start() -> None:
    """The mirror is what another start of this user fetched; every other way out is a proxy that is not there.

    Takes over 10 s: all jars are fetched, and everything starts.
    """
    handler = partial(Quiet, directory=str(first_start()))
    with open_folder() as folder, ThreadingHTTPServer(("127.0.0.1", 0), handler) as mirror:
        thread = Thread(target=mirror.serve_forever, args=(0.05,))
        thread.start()
        variables = environment(folder / "data") | {
            "MVNW_REPOURL": f"http://127.0.0.1:{mirror.server_address[1]}",
            "M2_REPO": str(folder / "m2"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:1"),
        }
        try:
            with started([sys.executable, "-m", "orders", "run"], folder / "data", variables) as system:
                assert f"fetching 46 of Kafka's jars once, 45 MB, into {folder}/m2" in system.said
                assert system.request("POST", "/orders", ORIGINAL.read_bytes())[0] == 201
                assert system.request("GET", f"/orders/{UID}")[0] == 200
                system.stop()
        finally:
            mirror.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.mark.root
def test_without_a_network_the_whole_system_starts_and_serves() -> None:
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not on this machine")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a network namespace is forbidden here")
    first_start()
    order = ORIGINAL.read_bytes()
    command = ["unshare", "--net", "sh", "-c", ALONE.format(sys.executable)]
    with open_folder() as folder, started(command, folder / "data") as system:
        assert inside(system, "POST", "/orders", order)[0] == 201
        assert inside(system, "GET", f"/orders/{UID}") == (200, {"order": {"id": 1} | json.loads(order)})
        assert "fetching" not in system.said
        assert system.stop() < 10
