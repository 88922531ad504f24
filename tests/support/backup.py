"""An older copy of a service's data, which is put back under it."""

import secrets
import subprocess

from orders.embedded.service import Service


class Backup:
    """A copy of a data directory, whole, taken while its service is stopped: a PostgreSQL makes no new timeline."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._data = service._directory / "data"
        self._copy = self._data.with_name(secrets.token_hex(4))
        service.stop()
        subprocess.run(["cp", "-a", self._data, self._copy], check=True, timeout=60)  # its owner is the service's user
        service.start()

    def put_back(self) -> None:
        self._service.stop()
        self._data.rename(self._data.with_name(f"{self._copy.name}-newer"))
        self._copy.rename(self._data)
        self._service.start()
