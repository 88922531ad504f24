"""`orders run` started in another way than the tests' own: from a clone, in a namespace, under a limit."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from support.system import START_SECONDS, System, environment, left_of


class Started(System):
    """A system that some command starts; `data` is where its data will be."""

    def __init__(self, command: Sequence[str | Path], data: Path, variables: Mapping[str, str]) -> None:
        self.data = data
        self.output = data.parent / f"{data.name}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd="/",
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def started(command: Sequence[str | Path], data: Path, variables: Mapping[str, str] | None = None) -> Iterator[Started]:
    """A system that is up; whatever is left of it in the end is killed."""
    system = Started(command, data, environment(data) if variables is None else variables)
    try:
        system.wait_until_started()
        yield system
    finally:
        system.process.kill()
        system.process.wait()
        for process in left_of(data):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def refused(command: Sequence[str | Path], data: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A start that is to fail; asserts that it says why in one sentence, after the lines of what was begun."""
    done = subprocess.run(
        command,
        cwd="/",
        env=environment(data) | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode > 0, done
    assert done.stderr.startswith("orders: "), done
    assert done.stderr.count("\n") == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    return done
