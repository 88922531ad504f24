"""`orders doctor` on a real PostgreSQL and Kafka: what is right, what is made wrong on purpose, what hangs."""

import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql
from psycopg.conninfo import make_conninfo

from orders.doctor.check import Case, Check
from orders.doctor.examine import examine
from orders.doctor.kafka import KafkaChecks
from orders.doctor.positions import lag, positions
from orders.doctor.postgres import PostgresChecks
from orders.embedded.postgres import PostgresService
from orders.errors import Misconfigured
from orders.kafka.producer import OrderProducer
from orders.kafka.topic import create_topic
from orders.postgres.migrations import MIGRATE, migrate
from orders.settings import Settings
from orders.system.state import StartedProcess, SystemState
from orders.timing import monotonic
from support.roles import execute, role
from support.services import MakeTopic
from support.waiting import wait_for

DOCTOR_SECONDS = 1.0


def case(**given: str | int) -> Case:
    settings = Settings(**given)  # type: ignore[arg-type] # each test gives what it is about
    return Case(settings, settings, SystemState(), [])


def named(checks: Iterable[Check]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert all(check.advice or check.state in {"ok", "skipped", "failed"} for check in found.values())
    return found


def states(found: dict[str, Check]) -> dict[str, str]:
    return {name: check.state for name, check in found.items()}


# ---- PostgreSQL ----


def ask(dsn: str) -> dict[str, Check]:
    return named(PostgresChecks(case(postgres_dsn=dsn)).look())


def test_an_empty_database_is_fit_but_for_what_the_tests_server_does_without(postgres_dsn: str) -> None:
    found = ask(postgres_dsn)
    assert {name for name, check in found.items() if check.state != "ok"} == {"durability"}
    assert found["durability"].found.startswith("fsync, full_page_writes off: ")
    assert found["schema"].found == "there is none yet: `orders run` makes it"
    assert secret_of(postgres_dsn) not in str(found)


def secret_of(dsn: str) -> str:
    return psycopg.conninfo.conninfo_to_dict(dsn)["password"]  # type: ignore[return-value] # the fixture has one


def test_a_migrated_database_is_up_to_date_and_its_positions_are_read(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    execute(postgres_dsn, "insert into positions values ('orders', 'id', 3, 7), ('other', 'id', 4, 8)")
    postgres = PostgresChecks(case(postgres_dsn=postgres_dsn))
    assert named(postgres.look())["schema"].found == "up to date"
    assert postgres.positions == {("id", 3): 7}


def test_a_schema_whose_indexes_are_not_built_yet_is_no_reason_not_to_start(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    execute(postgres_dsn, "drop index orders_by_record_time")
    found = ask(postgres_dsn)["schema"]
    assert (found.state, found.advice) == ("ok", "")
    assert "orders_by_record_time" in found.found
    with role(postgres_dsn) as (name, theirs):
        execute(postgres_dsn, "grant select on all tables in schema public to {}", name)
        found = ask(theirs)["schema"]
    assert (found.state, found.advice) == ("warning", MIGRATE)


def test_a_schema_of_a_later_release_fails(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    execute(postgres_dsn, "insert into migrations values ('9999_later', 'x')")
    assert "9999_later" in ask(postgres_dsn)["schema"].found
    assert ask(postgres_dsn)["schema"].state == "failed"


def test_a_role_that_may_not_make_the_tables_fails_as_its_start_would(postgres_dsn: str) -> None:
    with role(postgres_dsn) as (_, theirs):
        found = ask(theirs)["schema"]
        assert found.state == "failed"
        assert found.found.startswith("it lacks 0001_orders.sql, ")
        assert "`orders migrate`" in found.advice
        with pytest.raises(Misconfigured):
            migrate(theirs)


def test_a_role_of_serve_is_looked_at_too(postgres: PostgresService, postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with role(postgres_dsn) as (name, theirs):
        looked_at = case(postgres_dsn=postgres_dsn, postgres_dsn_serve=theirs)
        lacking = named(PostgresChecks(looked_at).look())["PostgreSQL serve"]
        for each in ("documents", "outcomes", "positions", "migrations"):
            execute(postgres_dsn, "grant select on {} to {}", sql.Identifier(each), name)
        found = named(PostgresChecks(looked_at).look())["PostgreSQL serve"]
    assert lacking.state == "failed"
    assert "lacks permissions on documents: select; outcomes: select; " in lacking.found
    assert found.state == "ok"
    assert "sesame" not in found.found
    elsewhere = case(postgres_dsn=postgres_dsn, postgres_dsn_serve=make_conninfo(postgres.dsn, password="sesame"))
    assert "password authentication failed" in named(PostgresChecks(elsewhere).look())["PostgreSQL serve"].found


def test_permissions_that_a_role_lacks_on_our_tables_are_named(postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with role(postgres_dsn) as (name, theirs):
        execute(postgres_dsn, "grant all on all tables in schema public to {}", name)
        execute(postgres_dsn, "revoke insert on orders from {}", name)
        execute(postgres_dsn, "revoke select on documents from {}", name)
        found = ask(theirs)["PostgreSQL permissions"]
    assert found.state == "failed"
    assert "orders: insert" in found.found
    assert "documents: select" in found.found
    assert "order_ids: usage" in found.found
    assert "positions" not in found.found


def test_a_database_that_cannot_hold_every_order_fails(postgres: PostgresService) -> None:
    name = sql.Identifier(f"test_{secrets.token_hex(6)}")
    execute(postgres.dsn, "create database {} encoding 'SQL_ASCII' template template0", name)
    try:
        found = ask(postgres.dsn_of(name.as_string().strip('"')))
    finally:
        execute(postgres.dsn, "drop database {} with (force)", name)
    assert found["PostgreSQL encoding"].state == "failed"


def test_a_role_with_few_connections_is_a_warning_and_one_that_may_not_write_fails(postgres_dsn: str) -> None:
    with role(postgres_dsn) as (name, theirs):
        execute(postgres_dsn, "alter role {} connection limit 6", name)
        assert ask(theirs)["connections"].state == "warning"
        execute(postgres_dsn, "alter role {} set default_transaction_read_only = on", name)
        assert ask(theirs)["PostgreSQL"].state == "failed"


def test_a_wrong_password_fails_without_being_shown(postgres_dsn: str) -> None:
    found = ask(make_conninfo(postgres_dsn, password="sesame"))
    assert states(found) == {"PostgreSQL": "failed"}
    assert "password authentication failed" in found["PostgreSQL"].found
    assert "sesame" not in str(found)


def test_a_password_that_only_the_running_system_has_is_no_failure(postgres_dsn: str) -> None:
    told = make_conninfo(postgres_dsn, password="")
    running = [StartedProcess("run", 1)]
    looked_at = Case(Settings(postgres_dsn=told), Settings(), SystemState(tuple(running)), running)
    assert states(named(PostgresChecks(looked_at).look())) == {"PostgreSQL": "skipped"}


# ---- Kafka ----


def ask_kafka(bootstrap: str, topic: str) -> dict[str, Check]:
    return named(KafkaChecks(case(kafka_bootstrap=bootstrap, kafka_topic=topic)).look())


def test_a_fresh_topic_of_a_single_broker_is_fit(kafka_bootstrap: str, topic: str) -> None:
    # A broker that has just started makes its topic for groups when it is first asked, and leads a new topic soon.
    wait_for(lambda: set(states(ask_kafka(kafka_bootstrap, topic)).values()) == {"ok"}, "all ok", deadline=30)
    found = ask_kafka(kafka_bootstrap, topic)
    assert found["Kafka"].found == f"1 broker at {kafka_bootstrap}"
    assert found["topic"].found == f"{topic} has 4 partitions"


def test_a_missing_topic_fails_with_the_command_that_makes_it(kafka_bootstrap: str) -> None:
    found = ask_kafka(kafka_bootstrap, "missing")
    assert states(found) == {"Kafka": "ok", "topic": "failed"}
    assert found["topic"].advice == "make it: `orders topics create`"


def test_a_topic_that_may_lose_or_refuse_orders_is_reported_in_every_respect(kafka_bootstrap: str) -> None:
    kafka, name = {"bootstrap.servers": kafka_bootstrap}, f"test-{secrets.token_hex(6)}"
    config = {"cleanup.policy": "compact", "max.message.bytes": "9", "unclean.leader.election.enable": "true"}
    create_topic(kafka, name, 1, config=config)
    try:
        found = ask_kafka(kafka_bootstrap, name)
    finally:
        admin = AdminClient(dict(kafka))
        admin.delete_topics([name])[name].result(10)
    assert {n for n, state in states(found).items() if state == "warning"} == {"retention", "message size", "elections"}


def test_what_retention_has_taken_from_below_the_position_fails_with_the_page(
    kafka_bootstrap: str, postgres_dsn: str, make_topic: MakeTopic
) -> None:
    topic = make_topic(1)
    looked_at = case(kafka_bootstrap=kafka_bootstrap, kafka_topic=topic, postgres_dsn=postgres_dsn)
    send(looked_at.settings, count=5)
    remove_before(kafka_bootstrap, topic, 3)
    kafka, postgres = KafkaChecks(looked_at), PostgresChecks(looked_at)
    named(kafka.look())
    assert kafka.topic
    migrate(postgres_dsn)
    for position, state, behind in ((2, "failed", 3), (3, "ok", 2), (5, "ok", 0), (6, "failed", 0)):
        stored = (topic, kafka.topic.topic_id, position)
        with psycopg.connect(postgres_dsn) as connection:
            connection.execute("delete from positions")
            connection.execute("insert into positions values (%s, %s, 0, %s)", stored)
        named(postgres.look())
        assert positions(postgres.positions, kafka.topic, topic).state == state
        assert lag(postgres.positions, kafka.topic).found == f"{behind} messages"


def send(settings: Settings, count: int) -> None:
    producer = OrderProducer(settings.kafka, settings.kafka_topic, 10)
    producer.send([(b"k", b"v")] * count, lambda *_: None)
    producer.close()


def remove_before(bootstrap: str, topic: str, offset: int) -> None:
    """As retention does."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for removed in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        removed.result(10)


# ---- what hangs ----


def test_it_ends_in_time_though_everything_hangs(tmp_path: Path) -> None:
    # Two who accept connections and never say a word: PostgreSQL and Kafka, each of which waits for its peer.
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        options = {
            "data_dir": str(tmp_path),
            "http_port": "0",
            "postgres_dsn": f"postgresql://u:sesame@127.0.0.1:{one.getsockname()[1]}/x?connect_timeout=60",
            "kafka_bootstrap": f"127.0.0.1:{other.getsockname()[1]}",
        }
        began = monotonic()
        found = named(examine({"ORDERS_HOME": str(tmp_path)}, options, DOCTOR_SECONDS))
        assert monotonic() - began < DOCTOR_SECONDS + 5
    assert {name for name, state in states(found).items() if state == "failed"} == {"PostgreSQL", "Kafka"}
    assert found["data directory"].state == "ok"
    assert "sesame" not in str(found)
