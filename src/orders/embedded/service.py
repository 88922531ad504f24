"""What PostgreSQL and Kafka have in common: a directory, one process, start and stop."""

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from orders.embedded import Progress, Silent
from orders.embedded.causes import cause
from orders.embedded.process import ServiceKind, ServiceProcess
from orders.errors import StartError


class EmbeddedService(ABC):
    """A service whose files, ports and process belong to one directory; nobody else may enter it."""

    def __init__(self, kind: ServiceKind, directory: Path) -> None:
        self._kind = kind
        self._directory = directory.absolute()
        self._process = ServiceProcess(kind, self._directory)

    @property
    def pid(self) -> int | None:
        """The service's process id, None when it does not run; right in any process of the machine."""
        return self._process.pid

    @property
    def ending(self) -> str:
        """How it ended, as its guard saw it; to be asked where it is not running any more."""
        return self._process.ending

    def running(self) -> bool:
        """Whether it runs, as far as it was started by this object; False after it ended by itself."""
        return self._process.running()

    def start(self, report: Progress | None = None) -> None:
        """Starts it, after ending what an earlier start left; the first start takes longer.

        Anyone who calls this has the directory to themselves. Raises `StartError`; nothing runs then.
        """
        report = report or Silent()
        try:
            self._prepare(report)
            self._start(report)
        except subprocess.TimeoutExpired as error:
            self.stop()
            late = f"{Path(error.cmd[0]).name} took longer than {error.timeout:.0f} s"
            raise StartError(f"{self._kind.name} cannot be started: {late}: is the machine busy?") from error
        except (OSError, subprocess.SubprocessError) as error:
            self.stop()
            what = (
                f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
            )
            words, advice = cause(what.splitlines(), self._directory)
            raise StartError(f"{self._kind.name} cannot be started: {words}: {advice}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it and waits for its end, for the kind's grace and little more; harmless when it does not run."""
        self._process.stop()

    def _prepare(self, report: Progress) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)  # orders are personal data
        left = self._process.end_leftover()
        if left:
            report.step(f"ended a {self._kind.name} that an earlier start left (process {left})")

    @abstractmethod
    def _start(self, report: Progress) -> None:
        """Makes what is missing and starts the process."""
