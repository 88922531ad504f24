"""Stands between us and an embedded service, so that the service ends when we do, even by kill -9.

Run as a script by its path, isolated, with nothing but the standard library:
`guard.py PIPE CLAIM SIGNAL GRACE UID PIDFILE -- COMMAND…`. PIPE is the read end of a pipe whose other end only we hold.
At its end of file, and then only, the service gets SIGNAL, and SIGKILL after GRACE seconds. CLAIM is a handle by which
both belong to their directory; -1: none. UID and the group of that number are taken on by the service; -1: ours.
PIDFILE holds the guard's and the service's process id while both run.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """Runs the service until it ends; its exit status is ours."""
    pipe, claim, stop, grace, uid = (int(word) for word in arguments[:5])
    file, command = Path(arguments[5]), arguments[7:]
    # Handlers, for an ignored signal would stay ignored in the service.
    for ours in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ours, lambda *_: None)
    service = _start(command, uid, stop, claim)
    _write(file, f"{os.getpid()} {service.pid}\n")
    ended = Event()
    Thread(target=_end_with_us, args=(pipe, service, stop, grace, ended), daemon=True).start()
    status = service.wait()
    ended.set()
    file.unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


def _start(command: Sequence[str], uid: int, stop: int, claim: int) -> subprocess.Popen[bytes]:
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def end_with_guard() -> None:
        if prctl:
            prctl(PR_SET_PDEATHSIG, stop)

    user = {"user": uid, "group": uid, "extra_groups": []} if uid >= 0 else {}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return] # the keywords of a user come or do not
        command,
        process_group=0,
        pass_fds=[claim] if claim >= 0 else [],
        preexec_fn=end_with_guard,  # noqa: PLW1509 - the guard has no thread yet
        **user,
    )


def _write(file: Path, text: str) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def _end_with_us(pipe: int, service: subprocess.Popen[bytes], stop: int, grace: int, ended: Event) -> None:
    try:
        while os.read(pipe, 1):
            pass
    except OSError as error:
        # Not by sys.stderr: Python aborts at its end if a thread holds that buffer.
        os.write(2, f"The guard cannot watch its pipe: {error.strerror}.\n".encode())
    finally:  # also where reading fails: nobody would end the service later
        service.send_signal(stop)
        if not ended.wait(grace):
            service.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
