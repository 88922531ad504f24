"""`./orders` in a fresh clone: finds a Python, makes .venv, and says in one sentence what is missing."""

import importlib.util
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from support.certificates import Authority
from support.services import open_folder
from support.starting import started
from support.system import ROOT, calls, left_of

NAME = "мой заказ 'копия' $HOME"
TOOLS = "sh", "dirname", "readlink", "cmp"
IN_A_HURRY = re.compile(r"^(?:click|msgspec)==.*?(?=^\S)", re.DOTALL | re.MULTILINE)
"""What `--help` needs of the lock."""
FURTHER = ("3.11", "3.12", "3.13", "3.14")
NO_INDEX = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_RETRIES": "1", "NO_PROXY": "*", "no_proxy": "*"}
"""No package index but the one that a test names."""


def copied(folder: Path) -> Path:
    """The parts of the tree that a start needs."""
    for part in ("src", "tools", "requirements"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "orders", folder / "orders")
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone under a path with spaces, quotes and Cyrillic letters."""
    return copied(tmp_path / NAME)


@pytest.fixture
def few_packages(clone: Path) -> None:
    """Cuts the lock down to two packages, so that an installation takes seconds."""
    lock = clone / "requirements" / "run.txt"
    lock.write_text("".join(IN_A_HURRY.findall(lock.read_text())))


def ours() -> dict[str, str]:
    """The environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}


def start(clone: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`./orders` from another directory; `variables` in place of those of the test."""
    return subprocess.run(
        [clone / "orders", *arguments],
        cwd="/",
        env=ours() if variables is None else variables,
        capture_output=True,
        text=True,
        check=False,
    )


def programs(folder: Path, pythons: Mapping[str, str], more: Sequence[str] = ()) -> Path:
    """A PATH with what the script needs, and with Pythons that are shell scripts."""
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, body in [*pythons.items(), *((name, "") for name in more)]:
        write_script(folder / name, body)
    return folder


def write_script(program: Path, body: str) -> None:
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


# ---- what is missing ----


def test_without_a_python_one_sentence_says_what_to_install(clone: Path, tmp_path: Path) -> None:
    too_old = {"python3": "exit 1"}
    refused = start(clone, "--help", variables={"PATH": str(programs(tmp_path / "bin", too_old, ["apt-get"]))})
    assert refused.returncode == 1
    assert refused.stderr == (
        "orders needs Python 3.11, 3.12, 3.13 or 3.14 with its venv module; "
        "install it: sudo apt-get install python3 python3-venv\n"
    )


def test_a_python_without_venv_is_named_with_its_package(clone: Path, tmp_path: Path) -> None:
    # Debian ships Python without ensurepip.
    split = {"python3": 'case "$3" in *ensurepip*) exit 1;; *print*) echo python3.12-venv;; esac'}
    refused = start(clone, "--help", variables={"PATH": str(programs(tmp_path / "bin", split, ["apt-get"]))})
    assert refused.returncode == 1
    assert refused.stderr.endswith("install it: sudo apt-get install python3.12-venv\n")
    assert refused.stderr.count("\n") == 1


def test_a_path_that_cannot_hold_an_environment_is_one_sentence(clone: Path) -> None:
    refused = start(clone.rename(clone.with_name("a:b")), "--help")
    assert refused.returncode == 1
    assert refused.stderr.startswith("orders cannot live in a directory with ':' in its name: ")


def test_a_clone_that_cannot_be_written_says_how_to_make_it_ours(clone: Path) -> None:
    (clone / ".venv").touch()
    refused = start(clone, "--help")
    assert refused.returncode == 1
    assert refused.stderr.endswith(
        f': make the clone yours (`sudo chown -R "$(id -un)" {shlex.quote(str(clone))}`), or clone it elsewhere\n'
    )
    assert refused.stderr.splitlines()[-1].startswith("orders cannot write its Python packages: ")


# ---- an environment that is there ----


@pytest.mark.parametrize("home", ["", "/usr"])
def test_modules_of_another_python_are_not_taken(tmp_path: Path, home: str) -> None:
    """Whatever the user's shell says of Python, to the first process and to those that it starts."""
    for module in ("click", "json", "msgspec", "psutil", "structlog", "venv"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('another one')\n")
    leaking = ours() | {"PYTHONPATH": str(tmp_path), "PYTHONHOME": home}
    done = start(ROOT, "sample", "1", variables=leaking)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["order_uid"]


def ready(clone: Path, body: str) -> None:
    """A finished .venv whose Python is a shell script."""
    venv = clone / ".venv"
    (venv / "bin").mkdir(parents=True)
    shutil.copy(clone / "requirements" / "run.txt", venv / "run.txt")
    write_script(venv / "bin" / "python", body)


@pytest.mark.parametrize("home", ["", "/srv/orders"])
def test_a_ready_environment_is_used_as_it_is(clone: Path, tmp_path: Path, home: str) -> None:
    # Nothing but a look at it stands between the script and the service; also through a link.
    ready(clone, 'echo "$ORDERS_HOME|$*"')
    (tmp_path / "link").symlink_to(clone / "orders")
    variables = ours() | ({"ORDERS_HOME": home} if home else {})
    ran = subprocess.run([tmp_path / "link", "get", "a b"], env=variables, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{home or clone}|-I -m orders get a b\n"


def test_an_environment_whose_python_became_another_is_recreated(clone: Path, tmp_path: Path) -> None:
    # The system was upgraded: what .venv/bin/python leads to finds no packages any more.
    ready(clone, "exit 1")
    path = programs(tmp_path / "bin", {"python3": 'case "$*" in *environment.py*) echo "recreated";; esac'})
    assert start(clone, "--version", variables={"PATH": str(path)}).stdout == "recreated\n"


# ---- how far an installation is, and why it fails ----


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module `tools/environment.py`, with a .venv of the test's own."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "tools" / "environment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    (tmp_path / "lib" / "python3.11" / "site-packages" / "pip-1.dist-info").mkdir(parents=True)
    return module


def test_an_installation_shows_packages_rate_and_remaining_time(
    environment: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [100.0]
    monkeypatch.setattr(environment.time, "monotonic", lambda: now[0])
    counts = environment.Counts(5)
    assert str(counts) == "0 of 5 fetched"
    for line in (b"Ignoring a: markers", b"Collecting b==1", b"  Downloading b", b"Collecting c==1"):
        counts.hear(line)
    now[0] += 2
    assert str(counts) == "2 of 4 fetched, 1/s, 2 s left"
    counts.hear(b"Installing collected packages: b, c, d, e")
    now[0] += 1
    (tmp_path / "lib" / "python3.11" / "site-packages" / "b-1.dist-info").mkdir()
    assert str(counts) == "1 of 4 unpacked, 1/s, 3 s left"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "differs from what was pinned"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "make room there"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...", "SSL_CERT_FILE"),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 ...", "HTTPS_PROXY"),
        (
            "WARNING: Retrying ... Failed to establish a new connection\nERROR: No matching distribution",
            "PIP_INDEX_URL",
        ),
        ("WARNING: Retrying ... [Errno -3] Failed to resolve\nERROR: No matching distribution", "PIP_INDEX_URL"),
        ("ERROR: No matching distribution found for uvloop==0.23.0", "there is none for this Python (3."),
        ("WARNING: x\nERROR: one\nERROR: what nobody foresaw\n", "ERROR: what nobody foresaw"),
        ("it says this\n", "it says this"),
        ("", "pip says nothing"),
    ],
)
def test_why_pip_failed_is_reported_with_what_helps(environment: Any, words: str, told: str) -> None:
    assert told in environment.why(words)


def test_older_pips_are_reported_of_the_certificates_too(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    monkeypatch.setenv("SSL_CERT_FILE", "/company.pem")
    assert environment.environment()["REQUESTS_CA_BUNDLE"] == "/company.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/chosen.pem")
    assert environment.environment()["REQUESTS_CA_BUNDLE"] == "/chosen.pem"


# ---- real installations ----


@pytest.mark.system
@pytest.mark.usefixtures("few_packages")
def test_two_first_starts_at_once_share_one_installation(clone: Path) -> None:
    command = [str(clone / "orders"), "--version"]
    both = [
        subprocess.Popen(command, env=ours(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert {output for output, _ in told} == {"orders 0.1.0\n"}
    worked, waited = sorted((errors for _, errors in told), key=lambda errors: "Installing" not in errors)
    assert re.fullmatch(
        r"Installing Python packages into \.venv\nInstalled Python packages into \.venv, \d+ s\n", worked
    )
    assert waited in ("", "Waiting for another start that installs the Python packages\n")

    # The same tree elsewhere, a lock that changed, and a Python that finds its packages no more.
    moved = clone.rename(clone.with_name("moved on"))
    assert start(moved, "--version").stderr == ""
    lock = moved / "requirements" / "run.txt"
    lock.write_text(f"# changed\n{lock.read_text()}")
    assert "Installing" in start(moved, "--version").stderr
    assert start(moved, "--version").stderr == ""
    (packages,) = (moved / ".venv" / "lib").iterdir()
    packages.rename(packages.with_name("python3.9"))
    healed = start(moved, "--version")
    assert (healed.stdout, "Installing" in healed.stderr) == ("orders 0.1.0\n", True)


@pytest.mark.system
@pytest.mark.usefixtures("few_packages")
def test_a_terminal_shows_how_far_it_is_and_is_clean_after_it(clone: Path) -> None:
    ours_end, theirs = pty.openpty()
    with subprocess.Popen([clone / "orders", "--version"], env=ours(), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = read_all(ours_end)
    assert process.returncode == 0
    assert "\r\033[KInstalling Python packages: making .venv, 1 s" in shown
    assert re.search(r"\r\033\[KInstalling Python packages: \d of 2 (fetched|unpacked)", shown)
    assert re.search(r"\r\033\[KInstalled Python packages into \.venv, \d+ s\r\norders 0\.1\.0\r\n$", shown)


def read_all(terminal: int) -> str:
    """What is written to a terminal until nobody holds its other end."""
    written = b""
    try:
        while chunk := os.read(terminal, 4096):
            written += chunk
    except OSError:  # how Linux says that it is over
        return written.decode()
    finally:
        os.close(terminal)
    return written.decode()


def one_sentence(refused: subprocess.CompletedProcess[str]) -> str:
    """What an installation that failed says after its first line."""
    assert refused.returncode == 1
    first, sentence = refused.stderr.splitlines()
    assert first == "Installing Python packages into .venv"
    assert sentence.startswith("The Python packages could not be installed: ")
    assert sentence.endswith("/.venv/pip.log)")
    return sentence


@pytest.mark.system
@pytest.mark.usefixtures("few_packages")
def test_a_package_that_differs_from_its_hash_is_refused_with_pips_words_in_a_file(clone: Path) -> None:
    lock = clone / "requirements" / "run.txt"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    assert "differs from what was pinned by its SHA-256" in one_sentence(start(clone, "--version"))
    assert "DO NOT MATCH THE HASHES" in (clone / ".venv" / "pip.log").read_text()
    assert "Installing" in start(clone, "--version").stderr  # and is not taken for done


class Empty(BaseHTTPRequestHandler):
    """A package index that has nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.mark.system
@pytest.mark.usefixtures("few_packages")
def test_an_index_that_is_unavailable_and_one_that_only_the_company_trusts(clone: Path, tmp_path: Path) -> None:
    """Takes 10 s: three installations, in one of which pip asks an index that is not there, and asks again."""
    away = start(clone, "--version", variables=ours() | NO_INDEX | {"PIP_INDEX_URL": "http://127.0.0.1:1/simple"})
    assert "the package index cannot be reached: is there a network, a proxy to name in HTTPS_PROXY" in one_sentence(
        away
    )

    authority, index = Authority(tmp_path), HTTPServer(("127.0.0.1", 0), Empty)
    index.socket = authority.server_context().wrap_socket(index.socket, server_side=True)
    thread = Thread(target=index.serve_forever, args=(0.05,))
    thread.start()
    named = {"PIP_INDEX_URL": f"https://127.0.0.1:{index.server_address[1]}/simple"}
    unset = dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR"), "")
    try:
        unknown = start(clone, "--version", variables=ours() | NO_INDEX | unset | named)
        trusted = start(
            clone, "--version", variables=ours() | NO_INDEX | unset | named | {"SSL_CERT_FILE": str(authority.file)}
        )
    finally:
        index.shutdown()
        thread.join()
        index.server_close()
    assert "the package index is not trusted: name your CA's file in SSL_CERT_FILE" in one_sentence(unknown)
    assert "there is none for this Python" in one_sentence(trusted)


# ---- the whole system from a clone ----


def interpreter(version: str) -> Path | None:
    """A Python of that version that can make environments: on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    on_path = shutil.which(f"python{version}")
    of_pyenv = sorted(pyenv.glob(f"{version}.*/bin/python")) if os.access(pyenv, os.R_OK | os.X_OK) else []
    for found in [*([Path(on_path)] if on_path else []), *of_pyenv]:
        asked = subprocess.run(
            [found, "-c", "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout == f"{version}\n":
            return found
    return None


@pytest.mark.system
@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", FURTHER)
def test_each_python_runs_the_whole_system_from_a_clone_whose_path_is_not_ascii(version: str) -> None:
    """All of the lock is installed; .venv, PostgreSQL's and Kafka's data lie under that path, and the locale is C.

    Takes 20 s: the installation, and a start of everything.
    """
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} with venv here")
    with open_folder() as folder:
        clone, bin_folder = copied(folder / "мой заказ 'копия'"), folder / "bin"
        bin_folder.mkdir()
        write_script(bin_folder / "python3.14", f'exec "{python}" "$@"')  # the first that is looked for
        variables = ours() | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "ORDERS_HTTP_PORT": "0",
            "LC_ALL": "C",
        }
        made = start(clone, "--version", variables=variables)
        assert made.stdout == "orders 0.1.0\n", made
        assert next((clone / ".venv" / "lib").iterdir()).name == f"python{version}"
        with started([clone / "orders", "run"], clone / ".orders", variables) as system:
            post, get = calls(system.said)
            order = post[post.index("-d") + 1].encode()
            assert system.request("POST", "/orders", order)[0] == 201
            assert system.request("GET", f"/orders/{get[-1].rpartition('/')[2]}") == (
                200,
                {"order": {"id": 1} | json.loads(order)},
            )
            assert system.stop() < 10
            assert system.process.returncode == -signal.SIGTERM
            assert left_of(clone / ".orders") == []
            assert "Traceback" not in system.said
