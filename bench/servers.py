"""The servers that answer GETs of orders: ours, nginx with files, FastAPI with a dict."""

import http.client
import resource
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.children import Child, Events, module, service, until
from bench.contest import Absent
from bench.services import LOOPBACK, Ground, free_port
from orders.errors import StartError
from orders.memory.shared import Put
from orders.settings import Settings

CHECKED = 20
"""How many answers of each server are compared with what they must be before anything is measured."""
SPARE_FILES = 500
NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    open_file_cache max={cached} inactive=1h;
    open_file_cache_valid 1h;
    keepalive_requests 1000000000;
    types {{ }}
    default_type application/json;
    etag off;
    server_tokens off;
    server {{
        listen {address}:{port};
        root {folder}/files;
    }}
}}
"""
"""`sendfile` and `tcp_nopush` as the packages have them; every file stays open; answers have fields as ours."""


class Server(NamedTuple):
    """A server that answers, and the process that it descends from."""

    port: int
    pid: int


@contextmanager
def ours(settings: Settings, events: Events) -> Iterator[Server]:
    """`orders serve`, one worker."""
    with service("serve", settings, events) as child:
        yield ready(child, settings.http_port)


@contextmanager
def nginx(ground: Ground, documents: Sequence[Put], notes: list[str]) -> Iterator[Server]:
    """The system's nginx, one worker, the documents as files; its limit of open files may be a note."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        raise Absent("nginx is not installed (apt-get install nginx-light, or the like)")
    folder = ground.folder / "nginx"
    write_files(folder / "files" / "orders", documents)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = len(documents) + SPARE_FILES
    if files > most >= 0:
        notes.append(f"nginx may open {most} files only: it opens some again for each answer")
        files = most
    port = free_port()
    config = folder / "nginx.conf"
    cached = files - SPARE_FILES
    config.write_text(NGINX.format(folder=folder, files=files, cached=cached, address=LOOPBACK, port=port))
    command: list[str | Path] = [program, "-p", folder, "-c", config]
    with Child("nginx", folder, command, Events()) as child:
        yield ready(child, port)


def write_files(folder: Path, documents: Sequence[Put]) -> None:
    """One file an order, readable by nginx's own user."""
    folder.mkdir(parents=True)
    for each in documents:
        (folder / each.order_uid).write_bytes(each.document)
    for above in (folder, folder.parent, folder.parent.parent):
        above.chmod(0o755)


@contextmanager
def fastapi(ground: Ground, documents: Sequence[Put]) -> Iterator[Server]:
    """FastAPI on uvicorn with uvloop and httptools, one worker, the documents as decoded objects in a dict."""
    if find_spec("fastapi") is None:
        raise Absent("FastAPI is not installed (it is in requirements/bench.txt)")
    file = ground.folder / "documents"
    file.write_bytes(msgspec.msgpack.encode({each.order_uid: each.document for each in documents}))
    port = free_port()
    with module("plain", ground.folder, Events(), {"port": port, "documents": str(file)}) as child:
        yield ready(child, port)


def ready(child: Child, port: int) -> Server:
    """Waits until the server takes connections."""
    until(lambda: is_open(port), child.events)
    return Server(port, child.pid)


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


def check_answers(name: str, server: Server, documents: Sequence[Put]) -> None:
    """Some answers are what they must be: JSON of the order, from ours and nginx byte for byte."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10)
    try:
        for each in documents[:: max(len(documents) // CHECKED, 1)]:
            connection.request("GET", f"/orders/{each.order_uid}")
            answer = connection.getresponse()
            body = answer.read()
            same = body == each.document or msgspec.json.decode(body) == msgspec.json.decode(each.document)
            if answer.status != HTTPStatus.OK or not same:
                raise StartError(f"{name} answers {answer.status} with other than the order")
    finally:
        connection.close()
