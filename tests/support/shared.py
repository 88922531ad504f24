"""Services that all workers of a run use: the first that asks starts one, and ends it once nobody uses it any more."""

import fcntl
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from orders.embedded.service import EmbeddedService

S = TypeVar("S", bound=EmbeddedService)


class Shared:
    """What one worker has of them; `folder` is the same for all workers of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._leave = ExitStack()

    def service(self, name: str, make: Callable[[Path], S]) -> S:
        """The service of that name, which runs; `make` gives one that was not started, its data in a directory."""
        with held(self.folder / f"{name}.lock", fcntl.LOCK_EX):
            if (running := self._running(name, make)) is not None:
                self._leave.enter_context(held(self.folder / f"{name}.users", fcntl.LOCK_SH))
                return running
            home = self.folder / f"{name}-{secrets.token_hex(4)}"
            service = make(home)
            service.start()
            self._known(name).write_text(json.dumps([str(home), plain(service)]), "utf-8")
            self._leave.callback(self._end, name, service)
            return service

    def _running(self, name: str, make: Callable[[Path], S]) -> S | None:
        """The one that another worker started; None where there is none, or it ended with its worker."""
        if not self._known(name).exists():
            return None
        home, learnt = json.loads(self._known(name).read_text("utf-8"))
        service = make(Path(home))
        vars(service).update(learnt)
        return service if service.pid is not None else None

    def _known(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _end(self, name: str, service: EmbeddedService) -> None:
        with held(self.folder / f"{name}.lock", fcntl.LOCK_EX):
            self._known(name).unlink(missing_ok=True)  # who comes from now on starts another
        with held(self.folder / f"{name}.users", fcntl.LOCK_EX):
            service.stop()

    def leave(self) -> None:
        """Ends what was started here; waits until the other workers have left it."""
        self._leave.close()


def plain(service: EmbeddedService) -> dict[str, str | int]:
    """What a service learnt as it was started: ports, a password."""
    return {name: value for name, value in vars(service).items() if isinstance(value, str | int)}


@contextmanager
def held(file: Path, way: int) -> Iterator[None]:
    """A lock on a file, exclusive or shared."""
    with file.open("a") as opened:
        fcntl.flock(opened, way)
        yield
