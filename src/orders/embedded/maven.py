"""Fetching from Maven repositories: mirrors, proxies, certificates, and in plain words what went wrong.

Mirrors, and where Maven Central is, are those of jgo; jgo's own download does not tell what a server answered.
"""

import configparser
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

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name the trusted certificates to `requests`, by which jars are fetched."""
CENTRAL = "central"
"""How jgo calls Maven Central; a mirror of that name stands in its place."""
CHUNK = 2**16
SECONDS = 10
"""How long a server may say nothing."""
UNTRUSTED = re.compile(r"certificate verify failed: ([^(\"']*)")
REFUSED = re.compile(r"Tunnel connection failed: ([^'\"]*)")


class Maven:
    """The repositories that jgo's settings name and, unless one of them is called `central`, Maven Central last."""

    def __init__(self) -> None:
        """Raises `StartError` when jgo is missing or its settings cannot be read."""
        try:
            from jgo.config import GlobalSettings, get_settings_path  # noqa: PLC0415 - an extra, for the first start
            from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - as above

            self._settings = get_settings_path()
            mirrors: dict[str, str] = GlobalSettings.load(self._settings).repositories
        except ImportError:
            raise StartError("jgo is missing, which fetches Kafka's jars: pip install 'orders[embedded]'") from None
        except RuntimeError:
            raise StartError("this user has no home for jgo's settings: name a directory in HOME") from None
        except (configparser.Error, OSError, UnicodeError) as error:
            why = str(error).splitlines()[0]
            raise StartError(f"jgo's settings in {self._settings} cannot be read ({why}): correct them") from None
        self._repositories = mirrors if CENTRAL in mirrors else {**mirrors, CENTRAL: MAVEN_CENTRAL_URL}
        trust_as_the_system()

    def fetch(self, jar: Jar, folder: Path, advance: Advance) -> None:
        """Fetches a jar to `folder / jar.path`, telling `advance` of each chunk's bytes. Raises `StartError`."""
        import requests  # noqa: PLC0415 - comes with jgo

        refusals = []
        for repository in self._repositories.values():
            host = host_of(repository)
            try:
                with requests.get(f"{repository}/{jar.path.as_posix()}", stream=True, timeout=SECONDS) as answer:
                    if answer.ok:
                        save(answer.iter_content(CHUNK), folder / jar.path, advance)
                        return
                    refusals.append(f"{host} answers {answer.status_code} for {jar.path.name}")
            except requests.RequestException as error:
                raise self._failed(trouble(error, host)) from error
        raise self._failed(" and ".join(refusals))

    def _failed(self, why: str) -> StartError:
        return StartError(
            f"Kafka's jars cannot be fetched: {why}; a proxy is named in HTTPS_PROXY, a mirror in {self._settings} "
            "(see docs/operations.md)"
        )


def save(chunks: Iterable[bytes], file: Path, advance: Advance) -> None:
    """Writes what comes. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            advance(len(chunk))


def trust_as_the_system() -> None:
    """Makes `requests` trust what pip and the system do: behind a company's proxy what it brings itself does not do.

    Raises `StartError` when the user names certificates that are not there.
    """
    if given := next((name for name in BUNDLES if os.environ.get(name)), None):
        if not Path(os.environ[given]).exists():
            raise StartError(f"{given} names certificates that are not there, {os.environ[given]}: correct it")
        return
    system = ssl.get_default_verify_paths()  # SSL_CERT_FILE and SSL_CERT_DIR count
    folder = system.capath if system.capath and any(Path(system.capath).iterdir()) else None
    if certificates := system.cafile or folder:
        os.environ[BUNDLES[0]] = certificates


def trouble(error: "RequestException", host: str) -> str:
    """An error of `requests` in words; no address is shown whole, for it may hold a password."""
    from requests import exceptions  # noqa: PLC0415 - comes with jgo

    match error:
        case exceptions.ProxyError():
            refused = REFUSED.search(str(error))
            return f"the proxy {proxy()} " + (f"refuses {host} ({refused[1]})" if refused else "cannot be reached")
        case exceptions.SSLError():
            return distrust(host, str(error))
        case exceptions.Timeout():
            return f"{host} does not answer within {SECONDS} s"
        case exceptions.InvalidURL() | exceptions.MissingSchema() | exceptions.InvalidSchema():
            return "the address of a mirror or a proxy is no URL"
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
