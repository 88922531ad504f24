"""An older copy of a service's data, which is put back under it."""

import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from orders.embedded.service import EmbeddedService


def copy_at_rest(service: EmbeddedService, copies: Mapping[Path, Path]) -> None:
    """Copies files and folders of a service while it is stopped; their owner is the service's user, and stays it."""
    service.stop()
    for source, copy in copies.items():
        subprocess.run(["cp", "-a", source, copy], check=True, timeout=60)
    service.start()


class Backup:
    """A copy of a data directory, whole, taken while its service is stopped: a PostgreSQL makes no new timeline."""

    def __init__(self, service: EmbeddedService) -> None:
        self._service = service
        self._data = service._directory / "data"
        self._copy = self._data.with_name(secrets.token_hex(4))
        copy_at_rest(service, {self._data: self._copy})

    def put_back(self) -> None:
        self._service.stop()
        self._data.rename(self._data.with_name(f"{self._copy.name}-newer"))
        self._copy.rename(self._data)
        self._service.start()
