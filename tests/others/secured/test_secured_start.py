"""`orders run` on a Kafka that does not let it in, or not far enough: one sentence with the next step."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from orders.kafka.topic import create_topic
from support.acls import Acls, Right
from support.certificates import Authority
from support.secured import SecuredKafka
from support.services import open_folder
from support.starting import refused

pytestmark = [pytest.mark.others, pytest.mark.system]

Variables = Mapping[str, str]


class Logins(Protocol):
    """What the fixture `logins` gives."""

    passwords: list[str]

    def by_password(self, user: str, password: str = "") -> Variables: ...
    def by_certificate(self, user: str) -> Variables: ...


class Place(Protocol):
    """What the fixture `place` gives."""

    name: str
    acls: Acls
    variables: Variables


@pytest.fixture
def start(secured: SecuredKafka, place: Place) -> Callable[..., str]:
    """What `orders run` says that is refused: `start(variables, *permissions)`; the topic is there."""
    create_topic(secured.admin, place.name, 1)

    def told(variables: Variables, *permissions: Right) -> str:
        place.acls.grant("restricted", permissions)
        with open_folder() as folder:
            done = refused([sys.executable, "-m", "orders", "run"], folder / "data", **place.variables, **variables)
        assert done.returncode == 1
        return done.stderr

    return told


def test_a_wrong_password_names_the_setting_and_is_not_shown(start: Callable[..., str], logins: Logins) -> None:
    said = start(logins.by_password("forgetful", password="hunter2-wrong"))
    assert "Kafka refused the login (SASL authentication error: Authentication failed" in said
    assert "correct ORDERS_KAFKA_SASL_USERNAME and its secret" in said
    assert not [password for password in logins.passwords if password in said]


def test_brokers_whose_ca_is_unknown_are_not_trusted(start: Callable[..., str], logins: Logins, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = {"ORDERS_KAFKA_SSL_CA_LOCATION": str(Authority(tmp_path / "other").file)}
    for variables in (logins.by_password("trusting"), logins.by_certificate("trusting")):
        said = start({**variables, **other})
        assert "the certificate of Kafka's brokers is not trusted: name its CA in ORDERS_KAFKA_SSL_CA_LOCATION" in said


def test_a_certificate_that_lacks_or_that_another_signed_is_refused(
    start: Callable[..., str], logins: Logins, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    foreign = Authority(tmp_path / "other").issue("orders")
    good = logins.by_certificate("orders")
    none = {name: value for name, value in good.items() if not name.endswith(("CERTIFICATE_LOCATION", "KEY_LOCATION"))}
    theirs = {
        **good,
        "ORDERS_KAFKA_SSL_CERTIFICATE_LOCATION": str(foreign.file),
        "ORDERS_KAFKA_SSL_KEY_LOCATION": str(foreign.key),
    }
    for variables in (none, theirs):
        said = start(variables)
        assert "Kafka refused our certificate (certificate " in said
        assert "in ORDERS_KAFKA_SSL_CERTIFICATE_LOCATION and ORDERS_KAFKA_SSL_KEY_LOCATION" in said


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ([], ("topic", "Describe")),
        ([("topic", "Describe")], ("topic", "Read")),
        ([("topic", "Read")], ("topic", "Write")),
        ([("topic", "Read"), ("topic", "Write")], ("group", "Read")),
        ([("topic", "Read"), ("topic", "Write"), ("group", "Describe")], ("group", "Read")),
    ],
    ids=["nothing", "Describe", "no Write", "no group", "no Read of the group"],
)
def test_a_lacking_permission_is_named_with_the_command_that_grants_it(
    start: Callable[..., str], logins: Logins, place: Place, given: list[Right], lacking: Right
) -> None:
    said = start(logins.by_certificate("restricted"), *given)
    kind, operation = lacking
    assert f"no {operation} permission on {kind} '{place.name}'; kafka-acls.sh" in said
    assert f"--allow-principal User:… --operation {operation} --{kind} {place.name}\n" in said
