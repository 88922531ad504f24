"""As whom PostgreSQL runs: it refuses root, and root's directories are often closed to everybody else."""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orders.errors import StartError

REACH = 'test -r "$0" && test -x "$0" && test -w "$1" && exec "$0" --version'
RUN_SECONDS = 120
NOBODY = 65534
"""The number that it has on Linux, also in an image that lists no users."""


class Account(NamedTuple):
    """The owner of the files, the user of the process (-1: ours), and a command that goes before its own."""

    owner: int
    uid: int
    prefix: Sequence[str] = ()

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its output is text."""
        user = {} if self.uid < 0 else {"user": self.uid, "group": self.uid, "extra_groups": []}
        return subprocess.run(  # type: ignore[call-overload,no-any-return] # the keywords of a user come or do not
            [*self.prefix, *command],
            env=os.environ | environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
            **user,
        )

    def own(self, directory: Path) -> None:
        """Makes the directory and all that is in it the owner's."""
        if directory.stat().st_uid == self.owner:
            return
        for folder, folders, names in os.walk(directory):
            for name in (*folders, *names):
                os.chown(Path(folder, name), self.owner, self.owner, follow_symlinks=False)
        os.chown(directory, self.owner, self.owner)


def choose(program: Path, directory: Path) -> Account:
    """An account that can run the program and write to the directory, which becomes its own.

    Ours, unless we are root. Raises `StartError` when there is none.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), -1)
    for account in _candidates():
        if _reaches(account, program, directory):
            return account
    raise StartError(
        "PostgreSQL refuses to run as root, and no other user can reach it: run this as an ordinary user, or from a "
        f"directory that all may enter (needed are {program.parent} and {directory})"
    )


def owners() -> frozenset[int]:
    """The users to whom what an embedded service keeps may belong; another user's must be left alone."""
    return frozenset({0, _nobody()} if os.geteuid() == 0 else {os.geteuid()})


def _nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return NOBODY


def _candidates() -> list[Account]:
    """Least privileges first: `nobody`; nobody who may enter root's directories; root under another name."""
    nobody = _nobody()
    enters = ("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", "--pdeathsig=INT")
    # Without the secure bit access(2), by which initdb looks for its programs, does without the right.
    permissions = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup", "--")
    renamed = ("unshare", "--user", f"--map-user={nobody}", f"--map-group={nobody}", "--")
    return [Account(nobody, nobody), Account(nobody, -1, (*enters, *permissions)), Account(0, -1, renamed)]


def _reaches(account: Account, program: Path, directory: Path) -> bool:
    try:
        account.own(directory)
        return account.run(["/bin/sh", "-c", REACH, program, directory], {}).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
