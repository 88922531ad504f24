"""A Kafka with logins and ACLs, and users of it as a person gives them to the service: by variables and files."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.admin import AdminClient

from orders.embedded.postgres import PostgresService
from orders.errors import Unavailable
from orders.kafka.admin import Brokers
from support.acls import Acls
from support.certificates import Authority
from support.secured import SecuredKafka
from support.services import fresh_database, open_folder
from support.waiting import wait_for

Variables = Mapping[str, str]


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """Who signs the certificates of the brokers and of their users."""
    with open_folder() as folder:
        yield Authority(folder)


@pytest.fixture(scope="session")
def secured(authority: Authority) -> Iterator[SecuredKafka]:
    """A Kafka with logins and ACLs for the whole session."""
    with open_folder() as folder:
        service = SecuredKafka(folder / "kafka", authority)
        service.start()
        # It makes the groups' own topic when it is first asked; until then `orders run` cannot tell who lacks a
        # permission.
        wait_for(partial(knows_groups, service), "the groups are known", 60)
        yield service
        service.stop()


def knows_groups(service: SecuredKafka) -> bool:
    try:
        Brokers(service.admin).group_permissions("any")
    except Unavailable:
        return False
    return True


class Logins:
    """Variables by which the service is a user, by password or by certificate."""

    def __init__(self, secured: SecuredKafka, authority: Authority, folder: Path) -> None:
        self._secured, self._authority, self._folder = secured, authority, folder
        self.passwords: list[str] = []

    def by_password(self, user: str, password: str = "") -> Variables:
        """SCRAM-SHA-512 over TLS; a `password` that is given is a wrong one."""
        permission = f"sesame-{secrets.token_hex(8)}"
        self._secured.add_user(user, permission)
        self.passwords += [permission, password or permission]
        file = self._folder / f"{user}.password"
        file.write_text(f"{password or permission}\n")
        return {
            "ORDERS_KAFKA_BOOTSTRAP": self._secured.by_password,
            "ORDERS_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
            "ORDERS_KAFKA_SASL_MECHANISMS": "SCRAM-SHA-512",
            "ORDERS_KAFKA_SASL_USERNAME": user,
            "ORDERS_KAFKA_SASL_PASSWORD_FILE": str(file),
            "ORDERS_KAFKA_SSL_CA_LOCATION": str(self._authority.file),
        }

    def by_certificate(self, user: str) -> Variables:
        """The certificate of CN=`user`."""
        certificate = self._authority.issue(user)
        return {
            "ORDERS_KAFKA_BOOTSTRAP": self._secured.by_certificate,
            "ORDERS_KAFKA_SECURITY_PROTOCOL": "ssl",
            "ORDERS_KAFKA_SSL_CA_LOCATION": str(self._authority.file),
            "ORDERS_KAFKA_SSL_CERTIFICATE_LOCATION": str(certificate.file),
            "ORDERS_KAFKA_SSL_KEY_LOCATION": str(certificate.key),
        }


@pytest.fixture
def logins(secured: SecuredKafka, authority: Authority, tmp_path: Path) -> Logins:
    return Logins(secured, authority, tmp_path)


@pytest.fixture(params=["by_password", "by_certificate"])
def login(request: pytest.FixtureRequest, logins: Logins) -> Callable[[str], Variables]:
    """Each of the ways in: `login(user) -> variables`."""
    way: Callable[[str], Variables] = getattr(logins, request.param)
    return way


class Place(NamedTuple):
    """A topic's and group's name that is nobody else's, with its permissions, and an empty database."""

    name: str
    acls: Acls
    variables: Variables


@pytest.fixture
def place(secured: SecuredKafka, postgres: PostgresService) -> Iterator[Place]:
    name = f"test-{secrets.token_hex(6)}"
    with fresh_database(postgres) as dsn:
        named = {"ORDERS_KAFKA_TOPIC": name, "ORDERS_KAFKA_GROUP": name, "ORDERS_POSTGRES_DSN": dsn}
        yield Place(name, Acls(secured.admin, name, name), named)
    admin = AdminClient(dict(secured.admin))
    if name in admin.list_topics(timeout=10).topics:
        admin.delete_topics([name])[name].result(10)
