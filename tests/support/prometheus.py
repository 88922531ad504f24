"""A real Prometheus on loopback, with the alert rules, that scrapes one address every second."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from support.alerts import RULES
from support.machine import free_port
from support.programs import program
from support.waiting import wait_for

PACKAGE = "install Debian's package prometheus"


class Prometheus:
    """What its HTTP interface says."""

    def __init__(self, url: str) -> None:
        self._url = url

    def is_ready(self) -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{self._url}/-/ready").status_code == 200
        return False

    def query(self, expression: str) -> list[float]:
        """The values of an expression now, without those that are no number. Raises AssertionError for an error."""
        answer = httpx2.get(f"{self._url}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        values = [float(each["value"][1]) for each in answer["data"]["result"]]
        return [value for value in values if value == value]  # noqa: PLR0124 - NaN is not itself

    def rules(self) -> list[dict[str, Any]]:
        """The rules as they were last evaluated."""
        groups = httpx2.get(f"{self._url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def scraping(url: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `url` as job "orders", with its storage in `folder`."""
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "orders", "static_configs": [{"targets": [urlsplit(url).netloc]}]}],
    }
    file, address = folder / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(configuration))
    command = [program("prometheus", PACKAGE), f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    options = [f"--web.listen-address={address}", "--log.level=error"]
    with subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL) as process:
        try:
            prometheus = Prometheus(f"http://{address}")
            wait_for(prometheus.is_ready, "Prometheus is ready", 30)
            yield prometheus
        finally:
            process.kill()
