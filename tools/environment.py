"""Makes .venv, or brings it in step with the locked requirements; started by the script `environment` beside it.

Only the standard library is at hand here. Nothing is built from source: a build would fetch what is not locked.
"""

import errno
import fcntl
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = ("-I", "-u", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-user")
WHEELS = ("--only-binary", ":all:", "--require-hashes")
LOG = VENV / "pip.log"
NETWORK = "is there a network, a proxy to name in HTTPS_PROXY, or another package index to name in PIP_INDEX_URL?"
CAUSES = {
    "DO NOT MATCH THE HASHES": "one differs from what was pinned by its SHA-256: use another package index",
    r"No space left on device": f"the disk of {ROOT} is full: make room there",
    r"CERTIFICATE_VERIFY_FAILED": "the package index is not trusted: name your CA's file in SSL_CERT_FILE",
    r"Tunnel connection failed|[Cc]annot connect to proxy|ProxyError": "the proxy refuses: correct HTTPS_PROXY",
    r"[Ff]ailed to (establish a new connection|resolve)|timed? ?out": f"the package index cannot be reached: {NETWORK}",
    r"No matching distribution": f"there is none for this Python ({platform.python_version()}, {platform.machine()})",
}
"""What in pip's words tells why a package could not be had, and what helps."""


def main(kinds: list[str]) -> None:
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        raise SystemExit("orders needs a Linux with glibc (Kafka's client has no build for others): not Alpine")
    if os.pathsep in str(ROOT):
        raise SystemExit(f"orders cannot live in a directory with {os.pathsep!r} in its name: {ROOT}")
    try:
        bring_in_step(kinds)
    except OSError as error:
        raise SystemExit(f"orders cannot write its Python packages: {what_helps(error)}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"orders could not make {VENV}: {' '.join(error.cmd)} failed") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def what_helps(error: OSError) -> str:
    where = f"{error.strerror}: {error.filename or VENV}"
    if error.errno == errno.ENOSPC:
        return f"{where}: make room there"
    return (
        f'{where}: make the clone yours (`sudo chown -R "$(id -un)" {shlex.quote(str(ROOT))}`), or clone it elsewhere'
    )


def bring_in_step(kinds: list[str]) -> None:
    lock = os.open(ROOT / "requirements", os.O_RDONLY)
    hold(lock)
    behind = [kind for kind in kinds if not in_step(kind)]
    if not behind:
        return
    with Line() as line:
        if not usable():
            line.show(Elapsed("making .venv"))
            make()
        for kind in behind:
            install(kind, line)


def hold(lock: int) -> None:
    """Of two that start at once one works, the other finds it done."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another start that installs the Python packages", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def lock_file(kind: str) -> Path:
    return ROOT / "requirements" / f"{kind}.txt"


def stamp(kind: str) -> Path:
    """A copy of what was installed: there only when the installation was completed."""
    return VENV / f"{kind}.txt"


def usable() -> bool:
    """Whether .venv was completed once and its Python still is the one that it was made with."""
    if not (stamp("run").exists() and os.access(PYTHON, os.X_OK)):
        return False
    return subprocess.run([PYTHON, "-I", "-c", "import orders"], capture_output=True, check=False).returncode == 0


def in_step(kind: str) -> bool:
    return usable() and stamp(kind).exists() and stamp(kind).read_bytes() == lock_file(kind).read_bytes()


def packages_folder() -> Path:
    return next((VENV / "lib").glob("python3.*/site-packages"))


def make() -> None:
    """An empty .venv that imports the service from its sources (a relative path, so that the tree may move)."""
    venv.create(VENV, clear=True, symlinks=True, with_pip=True)
    source = os.path.relpath(ROOT / "src", packages_folder())
    (packages_folder() / "orders.pth").write_text(f"{source}\n", encoding="ascii")


# ---- pip ----


def install(kind: str, line: "Line") -> None:
    stamp(kind).unlink(missing_ok=True)
    counts = Counts(len(re.findall(r"^\S+==", lock_file(kind).read_text(encoding="utf-8"), re.MULTILINE)))
    line.show(counts)
    command = [str(PYTHON), *PIP, *WHEELS, "-r", str(lock_file(kind))]
    with (
        LOG.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        ) as pip,
    ):
        for words in iter(pip.stdout.readline, b"") if pip.stdout else ():
            log.write(words.decode(errors="replace"))
            counts.hear(words)
    if pip.returncode:
        raise SystemExit(
            f"The Python packages could not be installed: {why(LOG.read_text(encoding='utf-8'))} (see {LOG})"
        )
    shutil.copyfile(lock_file(kind), stamp(kind))


def environment() -> dict[str, str]:
    """Ours; what SSL_CERT_FILE names is told to older pips in their own way."""
    own, known = os.environ.get("SSL_CERT_FILE"), os.environ.get("REQUESTS_CA_BUNDLE")
    return os.environ | ({"REQUESTS_CA_BUNDLE": own} if own and not known else {})


def why(words: str) -> str:
    """The cause that pip's words tell, else its last error."""
    for pattern, cause in CAUSES.items():
        if re.search(pattern, words):
            return cause
    errors = [line for line in words.splitlines() if line.startswith("ERROR")] or words.splitlines()[-1:]
    return "".join(errors[-1:]) or "pip says nothing"


# ---- what is shown ----


class Elapsed:
    """Something that takes a while."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{self._text}, {time.monotonic() - self._began:.0f} s"


class Counts:
    """How many of `total` packages pip has fetched, then put into .venv."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._began = time.monotonic()
        self._fetched = 0
        self._there = -1
        """Packages that were there when pip began to put others beside them; -1: it has not begun."""

    def hear(self, words: bytes) -> None:
        """A line of pip's."""
        if words.startswith(b"Collecting "):
            self._fetched += 1
        elif words.startswith((b"Ignoring ", b"Requirement already satisfied: ")):
            self._total -= 1
        elif words.startswith(b"Installing collected packages"):
            self._began = time.monotonic()
            self._there = self._installed()

    def _installed(self) -> int:
        return sum(1 for _ in packages_folder().glob("*.dist-info"))

    def __str__(self) -> str:
        unpacking = self._there >= 0
        done = self._installed() - self._there if unpacking else self._fetched
        rate = done / max(time.monotonic() - self._began, 0.1)
        left = f", {rate:.0f}/s, {max(self._total - done, 0) / rate:.0f} s left" if rate else ""
        return f"{done} of {self._total} {'unpacked' if unpacking else 'fetched'}{left}"


class Line:
    """Says that the packages are being installed: on a terminal how far, elsewhere at the beginning and the end."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown: object = ""
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        print("Installing Python packages into .venv", end="" if self._terminal else "\n", file=sys.stderr, flush=True)
        if self._terminal:
            self._ticker.start()
        return self

    def show(self, what: object) -> None:
        """Shows the text of something from now on, as it changes."""
        self._shown = what

    def _tick(self) -> None:
        while not self._over.wait(0.2):
            text = f"Installing Python packages: {self._shown}"[: shutil.get_terminal_size().columns - 1]
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        if self._terminal:
            self._ticker.join()
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if kind is None:
            print(f"Installed Python packages into .venv, {time.monotonic() - self._began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
