"""`./orders` in a fresh clone: finds a Python, makes .venv, and says in one sentence what is missing."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.system import ROOT

NAME = "мой заказ 'копия' $HOME"
TOOLS = "sh", "dirname", "readlink", "cmp"
IN_A_HURRY = re.compile(r"^(?:click|msgspec)==.*?(?=^\S)", re.DOTALL | re.MULTILINE)
"""What `--help` needs of the lock."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The parts of the tree that a start needs, under a path with spaces, quotes and Cyrillic letters."""
    folder = tmp_path / NAME
    for part in ("src", "tools", "requirements"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "orders", folder / "orders")
    return folder


@pytest.fixture
def few_packages(clone: Path) -> None:
    """Cuts the lock down to two packages, so that an installation takes seconds."""
    lock = clone / "requirements" / "run.txt"
    lock.write_text("".join(IN_A_HURRY.findall(lock.read_text())))


def start(clone: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`./orders` from another directory."""
    return subprocess.run(
        [clone / "orders", *arguments],
        cwd="/",
        env=None if path is None else {"PATH": str(path)},
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
        program = folder / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return folder


def test_without_a_python_one_sentence_says_what_to_install(clone: Path, tmp_path: Path) -> None:
    too_old = {"python3": "exit 1"}
    refused = start(clone, "--help", path=programs(tmp_path / "bin", too_old, ["apt-get"]))
    assert refused.returncode == 1
    assert refused.stderr == (
        "orders needs Python 3.11, 3.12, 3.13 or 3.14 with its venv module; "
        "install it: sudo apt-get install python3 python3-venv\n"
    )


def test_a_python_without_venv_is_named_with_its_package(clone: Path, tmp_path: Path) -> None:
    # Debian ships Python without ensurepip.
    split = {"python3": 'case "$2" in *ensurepip*) exit 1;; *print*) echo python3.12-venv;; esac'}
    refused = start(clone, "--help", path=programs(tmp_path / "bin", split, ["apt-get"]))
    assert refused.returncode == 1
    assert refused.stderr.endswith("install it: sudo apt-get install python3.12-venv\n")
    assert refused.stderr.count("\n") == 1


def test_a_ready_environment_is_used_as_it_is(clone: Path, tmp_path: Path) -> None:
    # Nothing but the comparison of the lock stands between the script and the service; also through a link.
    venv = clone / ".venv"
    (venv / "bin").mkdir(parents=True)
    shutil.copy(clone / "requirements" / "run.txt", venv / "run.txt")
    python = venv / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$ORDERS_DATA_DIR|$*"\n')
    python.chmod(0o755)
    (tmp_path / "link").symlink_to(clone / "orders")
    ran = subprocess.run([tmp_path / "link", "get", "a b"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{clone}/.orders|-m orders get a b\n"


def test_a_path_that_cannot_hold_an_environment_is_one_sentence(clone: Path) -> None:
    refused = start(clone.rename(clone.with_name("a:b")), "--help")
    assert refused.returncode == 1
    assert refused.stderr.startswith("orders cannot live in a directory with ':' in its name: ")


@pytest.mark.system
@pytest.mark.usefixtures("few_packages")
def test_two_first_starts_at_once_share_one_installation(clone: Path) -> None:
    command = [str(clone / "orders"), "--version"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert {output for output, _ in told} == {"orders 0.1.0\n"}
    assert sum("Installing Python packages into .venv" in errors for _, errors in told) == 1

    # The same tree elsewhere, and a lock that changed.
    moved = clone.rename(clone.with_name("moved on"))
    assert start(moved, "--version").stderr == ""
    lock = moved / "requirements" / "run.txt"
    lock.write_text(f"# changed\n{lock.read_text()}")
    assert "Installing" in start(moved, "--version").stderr
    assert start(moved, "--version").stderr == ""


@pytest.mark.system
@pytest.mark.usefixtures("few_packages")
def test_a_package_that_differs_from_its_hash_is_refused_with_pips_own_words(clone: Path) -> None:
    lock = clone / "requirements" / "run.txt"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    refused = start(clone, "--version")
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert refused.stderr.endswith("The Python packages could not be installed; pip's last lines are above.\n")
    assert "Installing" in start(clone, "--version").stderr  # and is not taken for done
