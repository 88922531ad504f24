"""Makes .venv, or brings it in step with the locked requirements; started by the script `environment` beside it.

Only the standard library is at hand here. Nothing is built from source: a build would fetch what is not locked.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-user", "--only-binary", ":all:")
LOG_LINES = 25


def main(kinds: list[str]) -> None:
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        raise SystemExit("orders needs a Linux with glibc (Kafka's client has no build for others): not Alpine")
    if os.pathsep in str(ROOT):
        raise SystemExit(f"orders cannot live in a directory with {os.pathsep!r} in its name: {ROOT}")
    try:
        bring_in_step(kinds)
    except OSError as error:
        raise SystemExit(f"orders cannot write its Python packages: {error.strerror}: {error.filename}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"orders could not make {VENV}: {' '.join(error.cmd)} failed") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def bring_in_step(kinds: list[str]) -> None:
    lock = os.open(ROOT / "requirements", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # of two that start at once one works, the other finds it done
    behind = [kind for kind in kinds if not in_step(kind)]
    if not behind:
        return
    started = time.monotonic()
    print("Installing Python packages into .venv …", end="", file=sys.stderr, flush=True)
    if not usable():
        make()
    for kind in behind:
        install(kind)
    print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)


def lock_file(kind: str) -> Path:
    return ROOT / "requirements" / f"{kind}.txt"


def stamp(kind: str) -> Path:
    """A copy of what was installed: there only when the installation was completed."""
    return VENV / f"{kind}.txt"


def usable() -> bool:
    """Whether .venv was completed once and its Python still exists."""
    return os.access(PYTHON, os.X_OK) and stamp("run").exists()


def in_step(kind: str) -> bool:
    return usable() and stamp(kind).exists() and stamp(kind).read_bytes() == lock_file(kind).read_bytes()


def make() -> None:
    """An empty .venv that imports the service from its sources (a relative path, so that the tree may move)."""
    venv.create(VENV, clear=True, symlinks=True, with_pip=True)
    packages = next((VENV / "lib").glob("python3.*/site-packages"))
    source = os.path.relpath(ROOT / "src", packages)
    (packages / "orders.pth").write_text(f"{source}\n", encoding="ascii")


def install(kind: str) -> None:
    stamp(kind).unlink(missing_ok=True)
    command = [str(PYTHON), *PIP, "--require-hashes", "-r", str(lock_file(kind))]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        tail = done.stdout.decode(errors="replace").splitlines()[-LOG_LINES:]
        raise SystemExit(
            "\n".join(["", *tail, "The Python packages could not be installed; pip's last lines are above."])
        )
    shutil.copyfile(lock_file(kind), stamp(kind))


if __name__ == "__main__":
    main(sys.argv[1:])
