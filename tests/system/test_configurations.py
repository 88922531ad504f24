"""The files and variables for PostgreSQL, Kafka, Prometheus, Grafana and HAProxy, tried with those programs."""

import http.client
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
import yaml

from orders.embedded import Silent, jars, java, ports
from orders.embedded.maven import Maven
from orders.embedded.postgres import PostgresService, wheel_binaries
from support.programs import program
from support.services import FAST, open_folder
from support.system import ROOT, orders
from support.waiting import wait_for

pytestmark = pytest.mark.system

DEPLOY = ROOT / "deploy"
CLUSTER = "5L6g3nShT-eMCtK--X86sw"


def test_the_configuration_of_prometheus_is_one() -> None:
    command = [program("promtool", "apt-get install prometheus"), "check", "config"]
    done = subprocess.run(
        [*command, str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_prometheus_and_the_dashboard_where_compose_puts_them() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = provisioned("dashboards/orders.yml")["providers"]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/orders.json" in mounted


def provisioned(name: str) -> Any:
    return yaml.safe_load((DEPLOY / "grafana" / "provisioning" / name).read_text())


def test_postgresql_gets_a_role_without_rights_that_both_connection_strings_open(tmp_path: Path) -> None:
    # The script as the image runs it: with its superuser, and the secrets in /run/secrets.
    script = (DEPLOY / "postgres" / "10-orders.sh").read_text()
    here = tmp_path / "10-orders.sh"
    here.write_text(script.replace("/run/secrets", str(DEPLOY / "secrets")))
    with open_folder() as folder:
        service = PostgresService(folder / "postgres", FAST | {"unix_socket_directories": ""})
        with ExitStack() as stack:
            stack.callback(service.stop)
            service.start()
            with psycopg.connect(service.dsn, autocommit=True) as connection:
                # The wheel's superuser has the name that the script is to make.
                connection.execute("create role postgres superuser login password 'postgres'")
            info = psycopg.conninfo.conninfo_to_dict(service.dsn)
            admin = {"PGHOST": str(info["host"]), "PGPORT": str(info["port"]), "PGPASSWORD": "postgres"}
            rename(admin, info)
            variables = {"PATH": f"{wheel_binaries()}:{os.environ['PATH']}", "POSTGRES_USER": "postgres", **admin}
            subprocess.run(["sh", str(here)], env=variables, check=True, capture_output=True, timeout=60)
            for name in ("orders", "orders_zookeeper"):
                dsn = (DEPLOY / "secrets" / f"{name}_dsn").read_text().strip()
                with psycopg.connect(dsn, host=str(info["host"]), port=str(info["port"])) as connection:
                    row = connection.execute(
                        "select current_database(), rolsuper or rolcreatedb or rolcreaterole or rolreplication, "
                        "has_schema_privilege('public', 'create') from pg_roles where rolname = current_user"
                    ).fetchone()
                assert row == (name, False, True)


def rename(admin: dict[str, str], info: dict[str, Any]) -> None:
    """Takes the names `orders` out of the way of the script."""
    dsn = psycopg.conninfo.make_conninfo(
        host=admin["PGHOST"], port=admin["PGPORT"], user="postgres", password="postgres", dbname="postgres"
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("alter database orders rename to wheel")
        connection.execute("alter role orders rename to wheel")
    assert info["user"] == "orders"


# ---- Kafka ----


def properties(replaced: Mapping[str, str]) -> str:
    """What Kafka's image makes of compose's variables, with some text replaced."""
    variables = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["kafka"]["environment"]
    lines = [
        f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}\n"
        for name, value in variables.items()
        if name != "KAFKA_HEAP_OPTS"  # the JVM's
    ]
    text = "".join(lines)
    for there, here in replaced.items():
        assert there in text
        text = text.replace(there, here)
    return text


def test_kafka_starts_with_the_settings_of_compose_and_both_listeners_lead_to_it() -> None:
    listed = jars.pinned()
    jars.provide(listed, jars.local_repository(), Silent(), lambda: Maven().fetch)
    command = [str(java.program()), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command += ["-cp", os.pathsep.join(str(jars.local_repository() / jar.path) for jar in listed)]
    inside, host, controller = ports.free(3)
    with open_folder() as folder:
        file = folder / "server.properties"
        replaced = {
            "INTERNAL://kafka:19092": f"INTERNAL://127.0.0.1:{inside}",
            "INTERNAL://:19092": f"INTERNAL://127.0.0.1:{inside}",
            "HOST://:9092": f"HOST://127.0.0.1:{host}",
            "HOST://127.0.0.1:9092": f"HOST://127.0.0.1:{host}",
            "localhost:9099": f"127.0.0.1:{controller}",
            "/var/lib/kafka/data": str(folder / "data"),
        }
        file.write_text(properties(replaced))
        format_it = [*command, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", str(file)]
        subprocess.run(format_it, check=True, capture_output=True, timeout=60)
        output = folder / "output"
        with (
            output.open("wb") as log,
            subprocess.Popen([*command, "kafka.Kafka", str(file)], stdout=log, stderr=log) as kafka,
        ):
            try:
                # What compose asks before it lets others start.
                wait_for(lambda: ports.is_open(inside) or kafka.poll() is not None, "Kafka listens", 60)
                for port, told in ((inside, b"made, partitions 4, replication factor 1"), (host, b"there already")):
                    done = orders(folder, "topics", "create", "--kafka-bootstrap", f"127.0.0.1:{port}")
                    assert told in done.stdout, (done.stderr, output.read_text())
                    assert done.returncode == 0
            finally:
                kafka.terminate()


# ---- the proxy ----


class Replica:
    """Answers as a replica does, as far as the proxy looks: alive, and ready for reading and writing, or not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.writes = True
        self.reads = True
        self.alive = True
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                states = {"/readyz?for=writing": replica.writes, "/readyz": replica.reads, "/livez": replica.alive}
                self._answer(well=states.get(self.path, True))

            def do_POST(self) -> None:
                self._answer(well=True)

            def _answer(self, *, well: bool) -> None:
                body = replica.name.encode()
                self.send_response(200 if well else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def serving(replica: Replica) -> Iterator[None]:
    thread = Thread(target=replica.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        replica.server.shutdown()
        thread.join()
        replica.server.server_close()


def asked(port: int, path: str = "/orders/a", method: str = "GET") -> str:
    """Who answered; the status where nobody did."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 and body in {"one", "two"} else str(answer.status)
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def test_the_proxy_sends_gets_and_posts_to_who_is_ready_for_them_and_else_to_the_living(tmp_path: Path) -> None:
    """Each replica loses writing, reading and life in turn."""
    one, two = Replica("one"), Replica("two")
    port, health = ports.free(2)
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    for there, here in (
        ("bind :8080", f"bind 127.0.0.1:{port}"),
        ("bind :8404", f"bind 127.0.0.1:{health}"),
        ("server one orders:8080", f"server one {one.address}"),
        ("server two orders-2:8080", f"server two {two.address}"),
        ("inter 2s", "inter 100ms"),
    ):
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "haproxy.cfg").write_text(text)
    command = [program("haproxy", "apt-get install haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")]
    with serving(one), serving(two), subprocess.Popen(command, stdout=-3, stderr=-3) as proxy:
        try:

            def answers(method: str = "GET") -> set[str]:
                return {asked(port, method=method) for _ in range(6)}

            wait_for(lambda: answers() == answers("POST") == {"one", "two"}, "both serve")
            assert asked(health, "/") == "200"
            one.writes = False  # its ingest waits
            wait_for(lambda: answers("POST") == {"two"}, "the one that is ready for writing takes orders")
            assert answers() == {"one", "two"}
            two.writes = False  # Kafka is unavailable: a replica says so
            wait_for(lambda: answers("POST") == {"one", "two"}, "the ready ones answer")
            two.writes, one.reads = True, False  # memory is empty without PostgreSQL, or it is being stopped
            wait_for(lambda: answers() == answers("POST") == {"two"}, "the ready one serves")
            two.writes = two.reads = False  # what is in memory is served on
            wait_for(lambda: answers() == answers("POST") == {"one", "two"}, "the living serve")
            two.alive = False
            wait_for(lambda: answers() == answers("POST") == {"one"}, "the living one serves")
            one.alive = False
            wait_for(lambda: answers() == {"503"}, "nobody serves")
        finally:
            proxy.terminate()
