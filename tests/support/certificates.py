"""Certificates of a company that signs for itself, made by the program openssl."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

COMMANDS = (
    "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=company",
    "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=mirror",
    "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
)


class Authority:
    """A company's own certificate, and one of 127.0.0.1 that it signed. Skips the test where openssl is missing."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is missing, which makes certificates")
        (folder / "names").write_text("subjectAltName = IP:127.0.0.1\n")
        for command in COMMANDS:
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
        self._folder = folder

    @property
    def file(self) -> Path:
        """What a user of the company is to trust."""
        return self._folder / "ca.pem"

    def server_context(self) -> ssl.SSLContext:
        """TLS as a server of the company's speaks it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        return context
