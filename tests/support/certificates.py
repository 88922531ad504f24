"""Certificates of a company that signs for itself, made by the program openssl."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

from support.programs import program

COMPANY = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=company"
CERTIFICATE = (
    "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}",
    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile names",
)


class Certificate(NamedTuple):
    """PEM files: the certificate, its key, both in one."""

    file: Path
    key: Path
    whole: Path


class Authority:
    """A company's own certificate, and those that it signed, all good for 127.0.0.1.

    Skips the test where openssl is missing; in CI that fails it.
    """

    def __init__(self, folder: Path) -> None:
        self._openssl = program("openssl", "apt-get install openssl")
        (folder / "names").write_text("subjectAltName = IP:127.0.0.1\n")
        self._folder = folder
        self._run(COMPANY)

    @property
    def file(self) -> Path:
        """What a user of the company is to trust."""
        return self._folder / "ca.pem"

    def issue(self, name: str) -> Certificate:
        """The certificate of CN=`name`, the same for the same name."""
        made = Certificate(*(self._folder / f"{name}{end}" for end in (".pem", ".key", ".whole.pem")))
        if not made.whole.exists():
            for command in CERTIFICATE:
                self._run(command.format(name=name))
            made.whole.write_text(made.key.read_text() + made.file.read_text())
        return made

    def server_context(self) -> ssl.SSLContext:
        """TLS as a server of the company's speaks it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("server")[:2])
        return context

    def _run(self, command: str) -> None:
        subprocess.run([self._openssl, *command.split()], cwd=self._folder, check=True, capture_output=True)
