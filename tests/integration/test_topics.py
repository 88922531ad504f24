"""`orders topics create` on a real Kafka: the topic as orders need it, or how the one that is there differs."""

import json
import secrets
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import AdminClient

from orders.commands.cli import cli
from orders.doctor.kafka import DAY
from orders.errors import Misconfigured
from orders.kafka.admin import Brokers
from orders.kafka.topic import create_topic
from support.outputs import hold_to_model

Create = Callable[..., Result]


@pytest.fixture
def name(kafka_bootstrap: str) -> Iterator[str]:
    """The name of a topic that is not there yet, and is not there afterwards."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    if name in admin.list_topics(timeout=10).topics:
        admin.delete_topics([name])[name].result(10)


@pytest.fixture
def create(kafka_bootstrap: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Create:
    """`orders topics create` for that topic, with more options."""
    monkeypatch.setenv("ORDERS_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("ORDERS_KAFKA_TOPIC", name)

    def create_topic(*options: str) -> Result:
        done = CliRunner().invoke(cli, ["topics", "create", *options], catch_exceptions=False)
        hold_to_model(["topics", "create", *options], done.stdout_bytes)
        return done

    return create_topic


def test_a_new_topic_is_as_orders_need_it(create: Create, kafka_bootstrap: str, name: str) -> None:
    made = create("--partitions", "3", "--retention-days", "30")
    assert (made.exit_code, made.output) == (0, f"topic {name}: made, partitions 3, replication factor 1\n")
    config = Brokers({"bootstrap.servers": kafka_bootstrap}).config(name)
    assert config is not None
    wanted = {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
        "min.insync.replicas": "1",
        "retention.ms": str(30 * DAY),
        "unclean.leader.election.enable": "false",
    }
    assert wanted.items() <= config.items()


def test_a_topic_that_is_there_and_fits_is_left_and_that_is_no_failure(create: Create, name: str) -> None:
    create("--partitions", "3")
    again = create("--json")
    assert again.exit_code == 0
    found = json.loads(again.output)
    assert (found["created"], found["fits"], found["partitions"]) == (False, True, 3)
    assert found["topic"] == name


def test_a_topic_that_is_there_and_differs_is_a_failure_that_says_in_what(create: Create) -> None:
    create("--partitions", "3", "--retention-days", "7")
    again = create("--partitions", "9", "--replication-factor", "2", "--retention-days", "30")
    assert again.exit_code == 1
    for words in ("the topic has 3, 9 were asked for", "1, 2 were asked for", "7 days, 30 days were asked for"):
        assert words in again.output


def test_a_topic_that_falls_short_is_a_failure_with_the_command_that_mends_it(
    create: Create, kafka_bootstrap: str, name: str
) -> None:
    create_topic({"bootstrap.servers": kafka_bootstrap}, name, 1, config={"unclean.leader.election.enable": "true"})
    again = create()
    assert again.exit_code == 1
    assert f"--entity-name {name} --add-config unclean.leader.election.enable=false" in again.output


def test_what_the_brokers_refuse_is_reported_in_their_words(create: Create, kafka_bootstrap: str) -> None:
    theirs = r"Unable to replicate the partition 2 time\(s\)|Replication factor: 2 larger than available brokers: 1"
    with pytest.raises(Misconfigured, match=rf"make topic .*: ({theirs}).*; see `orders topics create"):
        create("--replication-factor", "2")
    with pytest.raises(Misconfigured, match="Topic name is invalid"):
        create_topic({"bootstrap.servers": kafka_bootstrap}, "a b", 1)
