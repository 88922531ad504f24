"""Fetching from mirrors, through proxies and over TLS, on real servers of this test; Maven Central is never asked."""

import hashlib
import http.client
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from orders.embedded import Silent, maven
from orders.embedded.jars import Jar, provide
from orders.embedded.maven import Maven
from orders.errors import StartError
from support.certificates import Authority

CONTENT = b"the bytes of a jar" * 999
JAR = Jar("org.example", "alpha", "1.0", "", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
NAMES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    *maven.BUNDLES,
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "M2_REPO",
    maven.MIRROR,
)


class Server(ThreadingHTTPServer):
    """What it was asked for, and what it does."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.asked: list[str] = []
        self.refusal = 0
        self.cut = 0


class Handler(BaseHTTPRequestHandler):
    """Says nothing on the terminal."""

    server: Server

    def log_message(self, *_: object) -> None:
        self.server.asked.append(f"{self.command} {self.path}")

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed and self.server.refusal:
            self.send_error(self.server.refusal)
            return False
        return parsed


class Repository(Handler):
    """A Maven repository under /maven2 that holds one jar; `cut`: it breaks off after so many bytes."""

    def do_GET(self) -> None:
        if self.path != f"/maven2/{JAR.path}":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: self.server.cut or None])


class Proxy(Handler):
    """A forward proxy. Whatever host it is asked for, it goes to this machine."""

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        with closing(http.client.HTTPConnection("127.0.0.1", target.port)) as onward:
            onward.request("GET", target.path)
            answer = onward.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as onward:
            self.send_response(200)
            self.end_headers()
            back = Thread(target=relay, args=(onward, self.connection), daemon=True)
            back.start()
            relay(self.connection, onward)
            back.join(5)
        self.close_connection = True


def relay(source: socket.socket, sink: socket.socket) -> None:
    """Hands on until one of them ends."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def mirror() -> Iterator[Server]:
    with serving(Server(Repository)) as server:
        yield server


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, certificate or repository of the machine's own."""
    for name in (*NAMES, *(name.lower() for name in NAMES)):
        monkeypatch.setenv(name, "")  # remembers it, whether it was there or not
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch, clean: None) -> Iterator[Server]:  # noqa: ARG001 - it comes first
    """The only way out to https: anyone who asked for Maven Central would be found in what it was asked for."""
    with serving(Server(Proxy)) as server:
        server.refusal = 403
        monkeypatch.setenv("HTTPS_PROXY", url(server))
        yield server


def url(server: Server, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_address[1]}"


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Fetch":
    return Fetch(monkeypatch, tmp_path)


class Fetch:
    """Fetches the jar from a repository into a new directory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.folder = folder

    def __call__(self, repository: str) -> bytes:
        self._monkeypatch.setenv(maven.MIRROR, repository)
        (path,) = provide([JAR], self.folder / "repository", Silent(), lambda: Maven().fetch)
        return path.read_bytes()

    def fails(self, repository: str) -> str:
        """The sentence it fails with."""
        with pytest.raises(StartError) as failed:
            self(repository)
        assert list((self.folder / "repository").rglob("*")) == []
        told = str(failed.value)
        assert told.endswith("; a proxy is named in HTTPS_PROXY, a mirror in MVNW_REPOURL (see docs/operations.md)")
        return told.removeprefix("Kafka's jars cannot be fetched: ").partition(";")[0]


# ---- mirrors ----


@pytest.mark.parametrize("end", ["", "/"])
def test_with_a_mirror_central_is_never_asked(mirror: Server, proxy: Server, fetch: Fetch, end: str) -> None:
    assert fetch(f"{url(mirror)}/maven2{end}") == CONTENT
    assert proxy.asked == []


def test_what_a_mirror_lacks_is_not_looked_for_outside(mirror: Server, proxy: Server, fetch: Fetch) -> None:
    """A company may forbid that."""
    host = url(mirror).removeprefix("http://")
    assert fetch.fails(f"{url(mirror)}/empty") == f"{host} answers 404 for alpha-1.0.jar"
    assert proxy.asked == []


def test_without_a_mirror_central_is_asked(proxy: Server, fetch: Fetch) -> None:
    assert " refuses " in fetch.fails("")
    assert proxy.asked[0].startswith("CONNECT ")


@pytest.mark.parametrize("package", ["jgo", "requests"])
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in (package, *(name for name in sys.modules if name.startswith(f"{package}."))):
        monkeypatch.setitem(sys.modules, name, None)
    why = rf"^{package}[a-z.]* is missing, by which Kafka's jars are fetched: pip install 'orders\[embedded\]'$"
    with pytest.raises(StartError, match=why):
        Maven()


def test_a_mirror_that_forbids_names_its_status(mirror: Server, fetch: Fetch) -> None:
    mirror.refusal = 401
    assert fetch.fails(f"{url(mirror)}/maven2").endswith(" answers 401 for alpha-1.0.jar")


def test_a_download_that_breaks_off_is_one_sentence(mirror: Server, fetch: Fetch) -> None:
    mirror.cut = 1000
    assert fetch.fails(f"{url(mirror)}/maven2").endswith(" cannot be reached or breaks the connection")


# ---- the network ----


def test_a_name_that_is_not_known_is_named(fetch: Fetch) -> None:
    assert fetch.fails("http://no.such.host.invalid/maven2") == ("the name no.such.host.invalid is not known")


def test_a_server_that_is_not_there_is_named(fetch: Fetch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        assert fetch.fails(f"http://{address}/maven2") == f"{address} cannot be reached or breaks the connection"


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, fetch: Fetch) -> None:
    monkeypatch.setattr(maven, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert fetch.fails(f"http://{address}/maven2") == f"{address} does not answer within 0.2 s"


def test_an_address_that_is_none_is_one_sentence(fetch: Fetch) -> None:
    assert fetch.fails("mirror.example/maven2") == "the address of a mirror or a proxy is not a valid URL"


# ---- proxies ----


def test_a_proxy_finds_a_mirror_that_only_it_knows(
    monkeypatch: pytest.MonkeyPatch, mirror: Server, proxy: Server, fetch: Fetch
) -> None:
    proxy.refusal = 0
    monkeypatch.setenv("HTTP_PROXY", url(proxy))
    assert fetch(f"{url(mirror, 'mirror.invalid')}/maven2") == CONTENT
    assert proxy.asked[0] == f"GET {url(mirror, 'mirror.invalid')}/maven2/{JAR.path}"


def test_a_host_that_needs_no_proxy_is_asked_without(
    monkeypatch: pytest.MonkeyPatch, mirror: Server, proxy: Server, fetch: Fetch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", url(proxy))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert fetch(f"{url(mirror)}/maven2") == CONTENT
    assert proxy.asked == []


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (407, "Proxy Authentication Required")])
def test_a_proxy_that_refuses_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: Server, fetch: Fetch, status: int, reason: str
) -> None:
    proxy.refusal = status
    host = url(proxy).removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@{host}")
    told = fetch.fails("https://user:secret@mirror.invalid/maven2")
    assert told == f"the proxy {host} refuses mirror.invalid ({status} {reason})"


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, fetch: Fetch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{held.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}")
        assert fetch.fails("https://mirror.invalid/maven2") == f"the proxy {host} cannot be reached"


# ---- certificates ----


@contextmanager
def speaking_tls(authority: Authority) -> Iterator[str]:
    """The URL of a mirror that has a certificate of that authority."""
    server = Server(Repository)
    server.socket = authority.server_context().wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    with serving(server):
        yield f"{url(server).replace('http', 'https')}/maven2"


@pytest.mark.system
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_company_may_sign_for_itself_also_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: Server, fetch: Fetch, name: str
) -> None:
    proxy.refusal = 0
    authority = Authority(fetch.folder)
    with speaking_tls(authority) as secure:
        told = fetch.fails(secure)
        assert "is not trusted (" in told
        assert told.endswith("), name your CA's file in SSL_CERT_FILE")
        monkeypatch.setenv(name, str(authority.file))
        assert fetch(secure) == CONTENT
    assert proxy.asked[-1].startswith("CONNECT 127.0.0.1:")


def test_a_mirror_that_speaks_no_tls_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, mirror: Server, fetch: Fetch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    address = url(mirror).removeprefix("http://")
    assert fetch.fails(f"https://{address}/maven2") == f"{address} does not speak TLS as expected"


def test_a_file_of_certificates_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, mirror: Server, fetch: Fetch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
    with pytest.raises(
        StartError, match=r"REQUESTS_CA_BUNDLE names certificates that are not there, /no/such/file\.pem: correct it"
    ):
        fetch(f"{url(mirror).replace('http', 'https')}/maven2")
