"""A wall clock that steps while a system runs: /proc/stat tells another time of the boot then (`btime`)."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orders import sample
from support.services import open_folder
from support.system import ROOT, System, environment, running

pytestmark = pytest.mark.root

SECONDS = 60.0


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with open_folder() as folder, running(folder / "data") as made:
        yield made


def stepped(folder: Path, seconds: int) -> Path:
    """What the kernel tells once the wall clock was set by so many seconds."""
    copy = folder / "stat"
    told = Path("/proc/stat").read_text()
    copy.write_text(
        re.sub(r"^btime (\d+)$", lambda found: f"btime {int(found[1]) + seconds}", told, flags=re.MULTILINE)
    )
    return copy


def after(stat: Path, system: System, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A command in a mount namespace of its own, where /proc/stat is that."""
    inside = f'mount --bind "{stat}" /proc/stat && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside, "sh", *command],
        cwd=ROOT,
        env=environment(system.data),
        input=given,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )


@pytest.mark.parametrize("seconds", [60, -3])
def test_commands_find_the_system_after_the_clock_was_set(system: System, tmp_path: Path, seconds: int) -> None:
    """And the test is one: the library that tells when a process began tells another time then."""
    stat = stepped(tmp_path, seconds)
    begun = f"import psutil; print(psutil.Process({os.getpid()}).create_time())"
    moved = float(after(stat, system, sys.executable, "-c", begun).stdout) - psutil.Process().create_time()
    assert abs(moved - seconds) < 1
    (order,) = sample.samples(1, seconds + 100)
    for command in (["status"], ["send", "-"], ["verify"]):
        done = after(stat, system, sys.executable, "-m", "orders", *command, given=order)
        assert done.returncode == 0, (command, done)
        assert b"nothing runs" not in done.stdout + done.stderr
