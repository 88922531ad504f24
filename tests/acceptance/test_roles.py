"""The roles of docs/security.md, made by its own statements: the whole system runs under them, and they may no more."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString, NamedTuple, cast

import httpx2
import psutil
import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from orders.embedded.kafka import KafkaService
from orders.kafka.producer import OrderProducer
from orders.postgres import grants
from orders.postgres.connection import connect
from orders.postgres.migrations import describe, shipped
from orders.sample import samples
from support.page import blocks
from support.servers import Server
from support.services import Topics, open_folder
from support.starting import Started, started
from support.system import environment
from support.system import orders as run_command
from support.waiting import wait_for

pytestmark = [pytest.mark.system]  # takes long


PASSWORDS = {"owner": "choose-one", "ingest": "choose-two", "serve": "choose-three"}


class Orders(NamedTuple):
    """How each role connects to the database of the page: in words, and by files that hold them."""

    server: Server
    folder: Path

    def dsn(self, role: str) -> str:
        return self.server.dsn("orders", user=f"orders_{role}", password=PASSWORDS[role])

    def connect(self, role: str) -> psycopg.Connection:
        return psycopg.connect(self.dsn(role), autocommit=True)

    def file(self, role: str) -> str:
        path = self.folder / role
        path.write_text(f"{self.dsn(role)}\n")
        return str(path)

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command of ours to its end, in this folder's data directory."""
        return run_command(self.folder / "data", *words, variables=variables)


def statements(block: str) -> list[LiteralString]:
    """The statements of a block of the page."""
    return cast("list[LiteralString]", [each for each in re.split(r";\n\s*", block) if each])


def execute(dsn: str, block: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements(block):
            connection.execute(statement)


@pytest.fixture(scope="module")
def orders(server: Server) -> Iterator[Orders]:
    """The page, followed to the letter."""
    as_superuser, as_owner = blocks("security.md", "sql")
    execute(server.dsn("postgres"), "drop database orders;\n")  # the service's own, which is empty
    execute(server.dsn("postgres"), as_superuser)
    with open_folder() as folder:
        made = Orders(server, folder)
        refused = made.command("run", "--kafka-bootstrap", "127.0.0.1:1", ORDERS_POSTGRES_DSN_FILE=made.file("ingest"))
        assert refused.returncode == 1
        assert refused.stderr.startswith(b"orders: the database lacks 0001_orders.sql, ")
        assert b"run `orders migrate`" in refused.stderr

        owner = {"ORDERS_POSTGRES_DSN_FILE": made.file("owner")}
        applied = made.command("migrate", **owner)
        assert applied.stdout.decode() == f"{describe([each.name for each in shipped()])}\n", applied
        assert made.command("migrate", **owner).stdout == b"schema: up to date\n"
        assert json.loads(made.command("migrate", "--json", **owner).stdout) == {"applied": []}

        lacking = made.command("run", "--kafka-bootstrap", "127.0.0.1:1", ORDERS_POSTGRES_DSN_FILE=made.file("ingest"))
        assert lacking.returncode == 1
        assert b"permission denied for table migrations; docs/security.md#roles-and-grants" in lacking.stderr
        execute(made.dsn("owner"), as_owner)
        yield made


class Running(NamedTuple):
    """The system under the roles of the page."""

    orders: Orders
    system: Started
    variables: dict[str, str]
    bootstrap: str
    topic: str

    def send(self, key: bytes, value: bytes | None) -> None:
        producer = OrderProducer({"bootstrap.servers": self.bootstrap}, self.topic, 20)
        producer.send([(key, value)], lambda *_: None)
        producer.close()

    def amount(self, uid: str) -> int:
        """Its amount over HTTP; 0 where there is no such order."""
        status, body = self.system.request("GET", f"/orders/{uid}")
        return int(body["order"]["payment"]["amount"]) if status == 200 else 0

    def reason(self, part: str) -> str:
        return str(self.system.request("GET", "/readyz")[1]["parts"][part]["reason"])


@pytest.fixture(scope="module")
def running(orders: Orders, kafka: KafkaService) -> Iterator[Running]:
    topics = Topics(kafka.bootstrap)
    topic = topics.make()
    variables = {
        "ORDERS_POSTGRES_DSN_FILE": orders.file("ingest"),
        "ORDERS_POSTGRES_DSN_SERVE_FILE": orders.file("serve"),
        "ORDERS_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "ORDERS_KAFKA_TOPIC": topic,
        "ORDERS_KAFKA_GROUP": topic,
        "ORDERS_POST_DEADLINE": "5",
    }
    with orders.connect("owner") as connection:
        connection.execute("insert into outcomes select 'old', 0, 0, 'created', null, null, null, null, '2020-01-01'")
    data = orders.folder / "data"
    with started([sys.executable, "-m", "orders", "run"], data, environment(data) | variables) as system:
        yield Running(orders, system, variables, kafka.bootstrap, topic)
    topics.delete()


def order(seed: int) -> tuple[str, bytes]:
    """An order of a test's own."""
    (text,) = samples(1, seed)
    return json.loads(text)["order_uid"], text


def searches(posted: Any) -> list[tuple[str, dict[str, Any] | None]]:
    """A list, searches and a lookup that find one order: path and body."""
    track, phone = posted["track_number"], posted["delivery"]["phone"]
    searched = [{"phone": phone, "created_from": posted["date_created"], "limit": 1}, {"q": track}]
    lookup = ("/orders/lookup", {"order_uids": [posted["order_uid"]]})
    return [(f"/orders?track_number={track}", None), *(("/orders/search", each) for each in searched), lookup]


def found(running: Running, asked: tuple[str, dict[str, Any] | None]) -> list[str]:
    """The uids that come."""
    path, body = asked
    sent = None if body is None else json.dumps(body).encode()
    status, page = running.system.request("POST" if sent else "GET", path, sent)
    assert status == 200, page
    return [each["order_uid"] for each in page["orders"]]


def test_an_order_is_posted_read_replaced_and_deleted(running: Running) -> None:
    uid, text = order(101)
    assert running.system.request("POST", "/orders", text)[0] == 201
    assert running.amount(uid) == json.loads(text)["payment"]["amount"]
    assert [found(running, each) for each in searches(json.loads(text))] == [[uid]] * 4
    replaced = json.loads(text)
    replaced["payment"]["amount"] = 424_242
    running.send(uid.encode(), json.dumps(replaced).encode())
    wait_for(lambda: running.amount(uid) == 424_242, "the replacement", 20)
    running.send(uid.encode(), None)
    wait_for(lambda: running.system.request("GET", f"/orders/{uid}")[0] == 404, "the deletion", 20)


def test_the_keeper_hears_what_another_machine_changed(running: Running) -> None:
    uid, text = order(104)
    running.send(uid.encode(), text)
    wait_for(lambda: running.amount(uid), "the order", 20)
    change = "update orders set payment_amount = 77, version = version + 100 where order_uid = %s returning version"
    with running.orders.connect("ingest") as connection, connection.transaction():
        ((version,),) = connection.execute(change, (uid,))
        notice = json.dumps({"memory": "another", "changes": [[uid, version]]})
        connection.execute("select pg_notify('orders_changed', %s)", (notice,))
    wait_for(lambda: running.amount(uid) == 77, "the other machine's amount", 20)


def test_a_dead_letter_is_kept_and_listed_by_who_ingests(running: Running) -> None:
    running.send(b"bad", b"no JSON")

    def listed() -> list[str]:
        found = running.orders.command("dead-letters", "list", "--json", **running.variables)
        assert found.returncode == 0, found
        return [each["key"] for each in map(json.loads, found.stdout.splitlines())]

    wait_for(lambda: "bad" in listed(), "the dead letter", 20)
    for words in (["replay", "--all", "--deadline", "20"], ["discard", "--all"], ["export", "--all"]):
        done = running.orders.command("dead-letters", *words, "--yes", **running.variables)
        assert done.stderr == b"", words
    with running.orders.connect("owner") as connection:
        actions = connection.execute("select action, outcome from dead_letter_actions order by id").fetchall()
    assert actions == [("replay", None), ("outcome", "refused"), ("discard", None), ("export", None)]


def test_who_ingests_may_verify(running: Running) -> None:
    uid, text = order(105)
    assert running.system.request("POST", "/orders", text)[0] == 201
    with running.orders.connect("ingest") as connection:
        connection.execute("update orders set payment_amount = 77 where order_uid = %s", (uid,))
    found = running.orders.command("verify", "--json", "--limit", "100", **running.variables)
    assert (found.returncode, found.stderr) == (1, b"")
    told = {(each["kind"], each["order_uid"]) for each in json.loads(found.stdout)["shown"]}
    assert {("content", uid), ("memory content", uid)} <= told


def test_a_keeper_that_is_started_again_restores_memory_and_old_outcomes_are_removed(running: Running) -> None:
    uid, text = order(102)
    running.send(uid.encode(), text)
    wait_for(lambda: running.amount(uid), "the order", 20)
    (keeper,) = wait_for(lambda: running.system.pids("keep"))
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: running.system.pids("keep") not in ([], [keeper]), "another keeper", 20)
    wait_for(lambda: running.system.status()["restore"]["done"], "orders in memory again", 30)
    with running.orders.connect("owner") as connection:
        query = "select count(*) from outcomes where topic_id = 'old'"
        wait_for(lambda: connection.execute(query).fetchone() == (0,), "no old outcomes", 20)


def test_the_commands_and_pages_that_tell_how_it_is_find_nothing_wrong(running: Running) -> None:
    wait_for(lambda: running.system.request("GET", "/readyz?for=writing")[0] == 200, "readiness", 20)
    doctor = running.orders.command("doctor", "--json", **running.variables)
    assert doctor.returncode == 0, doctor.stdout
    checks = {each["name"]: each["state"] for each in json.loads(doctor.stdout)["checks"]}
    assert {checks[name] for name in ("PostgreSQL", "PostgreSQL permissions", "PostgreSQL serve", "schema")} == {"ok"}
    assert json.loads(running.orders.command("status", "--json").stdout)["ready"]
    metrics = httpx2.get(f"{running.system.url}/metrics", timeout=10)
    assert 'orders_ready{part="postgres"} 1.0' in metrics.text
    assert "orders_lag_messages{" in metrics.text, "positions are read"


def test_no_password_is_shown_and_no_process_knows_anothers(running: Running) -> None:
    shown = [running.system.said, (running.system.data / "state.json").read_text()]
    for words in (["config"], ["config", "--json"], ["status"], ["doctor"]):
        done = running.orders.command(*words, **running.variables)
        shown += [done.stdout.decode(), done.stderr.decode()]
    supervisor = psutil.Process(running.system.process.pid)
    shown += [" ".join(process.cmdline()) for process in [supervisor, *supervisor.children(recursive=True)]]
    for text in shown:
        assert not any(password in text for password in PASSWORDS.values())
    wait_for(lambda: running.system.status()["ready"], "all run", 20)
    for kind, own, other in (("serve", "serve", "ingest"), ("ingest", "ingest", "serve"), ("keep", "ingest", "serve")):
        variables = " ".join(psutil.Process(running.system.pids(kind)[0]).environ().values())
        assert PASSWORDS[own] in variables
        assert PASSWORDS[other] not in variables


def test_a_permission_that_is_revoked_stops_consumption_and_makes_no_dead_letter(running: Running) -> None:
    uid, text = order(103)
    with running.orders.connect("owner") as owner:
        owner.execute("revoke insert on orders from orders_ingest")
        try:
            running.send(uid.encode(), text)
            wait_for(lambda: "denies permission" in running.reason("assignment"), "the reason in /readyz", 20)
            assert "permission denied for table orders; docs/security.md" in running.reason("assignment")
        finally:
            owner.execute("grant insert on orders to orders_ingest")
        wait_for(lambda: running.amount(uid), "the order", 20)
        query = "select count(*) from dead_letters where key = %s"
        assert owner.execute(query, (uid.encode(),)).fetchone() == (0,)


DENIED: dict[str, list[LiteralString]] = {
    "serve": [
        "insert into orders select * from orders",
        "update orders set entry = ''",
        "delete from orders",
        "select * from orders",
        "insert into dead_letters overriding system value select * from dead_letters",
        "delete from dead_letters",
        "select * from dead_letters",
        "select * from dead_letter_states",
        "select * from dead_letter_actions",
        "insert into dead_letter_actions (dead_letter, action) values (1, 'discard')",
        "update positions set next_offset = 0",
        "delete from positions",
        "select * from resumes",
        "insert into outcomes select * from outcomes",
        "delete from outcomes",
        "select nextval('order_ids')",
        "create table mine ()",
        "create temporary table mine ()",
    ],
    "ingest": [
        "alter table orders add column mine text",
        "drop table orders",
        "truncate orders",
        "create table mine ()",
        "create temporary table mine ()",
        "create or replace view documents as select 1",
        "delete from dead_letters",
        "update dead_letters set reason = ''",
        "delete from dead_letter_actions",
        "update dead_letter_actions set by_user = ''",
        "delete from positions",
        "update resumes set who = 'nobody'",
        "delete from resumes",
        "insert into migrations values ('x', 'x')",
        "delete from migrations",
        "select setval('order_ids', 1)",
    ],
}


@pytest.mark.parametrize("role", list(DENIED))
def test_a_role_may_no_more_than_its_processes_need(orders: Orders, role: str) -> None:
    done = []
    with orders.connect(role) as connection:
        for statement in DENIED[role]:
            with suppress(InsufficientPrivilege):
                connection.execute(statement)
                done.append(statement)
    assert done == []


@pytest.mark.parametrize(("role", "needs"), [("ingest", grants.WRITES), ("serve", grants.SERVES)])
def test_the_page_grants_what_the_start_looks_for_and_no_more(orders: Orders, role: str, needs: grants.Needs) -> None:
    query = (
        "select object_name, lower(privilege_type) from ("
        "  select table_name, privilege_type from information_schema.role_table_grants where grantee = %(role)s"
        "  union all"
        "  select object_name, privilege_type from information_schema.role_usage_grants where grantee = %(role)s"
        ") as granted (object_name, privilege_type)"
    )
    with orders.connect("owner") as connection:
        granted = connection.execute(query, {"role": f"orders_{role}"}).fetchall()
    assert sorted(granted) == sorted((name, each) for name, privileges in needs.items() for each in privileges)


@contextmanager
def without_control(orders: Orders) -> Iterator[None]:
    """The functions by which a database is known are nobody's."""
    functions = "function pg_control_system(), pg_control_checkpoint()"
    execute(orders.server.dsn(), f"revoke execute on {functions} from public;\n")
    try:
        yield
    finally:
        execute(orders.server.dsn(), f"grant execute on {functions} to public;\n")


def test_a_function_that_was_taken_from_everybody_is_named_and_granted_as_the_page_says(orders: Orders) -> None:
    variables = {"ORDERS_POSTGRES_DSN_FILE": orders.file("ingest")}
    run = ("run", "--kafka-bootstrap", "127.0.0.1:1", "--data-dir", str(orders.folder / "other"))
    (granting,) = re.findall(r"`(grant execute .*;)`", (Path(__file__).parents[2] / "docs/security.md").read_text())
    with without_control(orders):
        refused = orders.command(*run, **variables)
        assert b"permission denied for function pg_control_system; docs/security.md" in refused.stderr
        execute(orders.server.dsn(), f"{granting}\n")
        with connect(orders.dsn("serve"), "test") as connection:
            assert grants.place(connection).database == "orders"


def test_connection_strings_that_lead_to_two_databases_are_refused(orders: Orders) -> None:
    variables = {"ORDERS_POSTGRES_DSN_FILE": orders.file("ingest")}
    elsewhere = {"ORDERS_POSTGRES_DSN_SERVE": orders.server.dsn("postgres")}
    run = ("run", "--kafka-bootstrap", "127.0.0.1:1", "--data-dir", str(orders.folder / "other"))
    refused = orders.command(*run, **variables, **elsewhere)
    assert refused.stderr == (
        b"orders: ORDERS_POSTGRES_DSN_SERVE leads to another database or server than ORDERS_POSTGRES_DSN: correct it\n"
    )
