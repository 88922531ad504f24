"""Fetching from a Maven repository: a mirror, proxies, certificates, and in plain words what went wrong."""

import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from orders.embedded.jars import Advance, Jar
from orders.errors import StartError

if TYPE_CHECKING:
    from requests import RequestException

MIRROR = "MVNW_REPOURL"
"""Variable with the URL of a repository that is asked in place of Maven Central: Maven's own wrapper reads it too."""
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name the trusted certificates to `requests`, by which jars are fetched."""
CHUNK = 2**16
SECONDS = 10
"""How long a server may say nothing."""
UNTRUSTED = re.compile(r"certificate verify failed: ([^(\"']*)")
REFUSED = re.compile(r"Tunnel connection failed: ([^'\"]*)")


class Maven:
    """One repository, the mirror that is named or else Maven Central, and the certificates that are trusted."""

    def __init__(self) -> None:
        """Raises `StartError` when packages or certificates are missing."""
        try:
            import requests  # noqa: F401, PLC0415 - an extra, for the first start
            from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - as above
        except ImportError as error:
            missing = f"{error.name} is missing, by which Kafka's jars are fetched"
            raise StartError(f"{missing}: pip install 'orders[embedded]'") from None
        self._url = os.environ.get(MIRROR, "").rstrip("/") or str(MAVEN_CENTRAL_URL)
        self._trusted = trusted()

    def fetch(self, jar: Jar, folder: Path, advance: Advance) -> None:
        """Fetches a jar to `folder / jar.path`, telling `advance` of each chunk's bytes. Raises `StartError`."""
        import requests  # noqa: PLC0415 - an extra, for the first start

        url, host = f"{self._url}/{jar.path.as_posix()}", host_of(self._url)
        try:
            with requests.get(url, stream=True, timeout=SECONDS, verify=self._trusted) as answer:
                if not answer.ok:
                    raise failed(f"{host} answers {answer.status_code} for {jar.path.name}")
                save(answer.iter_content(CHUNK), folder / jar.path, advance)
        except requests.RequestException as error:
            raise failed(trouble(error, host)) from error


def failed(why: str) -> StartError:
    return StartError(
        f"Kafka's jars cannot be fetched: {why}; a proxy is named in HTTPS_PROXY, a mirror in {MIRROR} "
        "(see docs/operations.md)"
    )


def save(chunks: Iterable[bytes], file: Path, advance: Advance) -> None:
    """Writes what comes. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            advance(len(chunk))


def trusted() -> str | bool:
    """What `requests` is to trust: as pip does, the system's certificates; its own know no company's proxy.

    True where the user names others, as it reads them itself. Raises `StartError` when those are not there.
    """
    if given := next((name for name in BUNDLES if os.environ.get(name)), None):
        if not Path(os.environ[given]).exists():
            raise StartError(f"{given} names certificates that are not there, {os.environ[given]}: correct it")
        return True
    system = ssl.get_default_verify_paths()  # SSL_CERT_FILE and SSL_CERT_DIR count
    folder = system.capath if system.capath and any(Path(system.capath).iterdir()) else None
    return system.cafile or folder or True


def trouble(error: "RequestException", host: str) -> str:
    """An error of `requests` in words; no address is shown whole, for it may hold a password."""
    from requests import exceptions  # noqa: PLC0415 - an extra

    match error:
        case exceptions.ProxyError():
            refused = REFUSED.search(str(error))
            return f"the proxy {proxy()} " + (f"refuses {host} ({refused[1]})" if refused else "cannot be reached")
        case exceptions.SSLError():
            return distrust(host, str(error))
        case exceptions.Timeout():
            return f"{host} does not answer within {SECONDS} s"
        case exceptions.InvalidURL() | exceptions.MissingSchema() | exceptions.InvalidSchema():
            return "the address of a mirror or a proxy is not a valid URL"
    unknown = "Failed to resolve" in str(error)
    return f"the name {host} is not known" if unknown else f"{host} cannot be reached or breaks the connection"


def distrust(host: str, text: str) -> str:
    """What is wrong with TLS, by the text of its error."""
    if why := UNTRUSTED.search(text):
        return f"the certificate of {host} is not trusted ({why[1].strip()}), name your CA's file in SSL_CERT_FILE"
    return f"{host} does not speak TLS as expected"


def host_of(url: str) -> str:
    """Host and port of a URL, without a password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def proxy() -> str:
    """The host of the proxy for https."""
    return host_of(getproxies().get("https", "")) or "that was given"
