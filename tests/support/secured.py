"""A Kafka that asks everybody who they are and what they may do: by password, and by certificate."""

from collections.abc import Mapping
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, not exported
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from orders.embedded import java, ports
from orders.embedded.kafka import PROPERTIES, KafkaService, answers
from support.certificates import Authority

SECONDS = 10.0
SECURITY = {
    "listener.security.protocol.map": "PASSWORD:SASL_SSL,CERTIFICATE:SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "CERTIFICATE",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.password.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "listener.name.certificate.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:broker;User:admin",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
}


class SecuredKafka(KafkaService):
    """The embedded Kafka with TLS, SCRAM-SHA-512 or client certificates, and ACLs; `admin` alone may do anything."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        super().__init__(directory)
        self._authority = authority
        self._password_port = 0

    @property
    def by_password(self) -> str:
        """host:port of the listener with SASL_SSL and SCRAM-SHA-512; known after `start`."""
        return f"{ports.LOOPBACK}:{self._password_port}"

    @property
    def by_certificate(self) -> str:
        """host:port of the listener that asks for a client's certificate; known after `start`."""
        return self.bootstrap

    @property
    def admin(self) -> Mapping[str, str]:
        """Properties by which a client is the administrator."""
        return self.user("admin")

    def user(self, name: str) -> Mapping[str, str]:
        """Properties by which a client is a user, by certificate."""
        certificate = self._authority.issue(name)
        return {
            "bootstrap.servers": self.by_certificate,
            "security.protocol": "ssl",
            "ssl.ca.location": str(self._authority.file),
            "ssl.certificate.location": str(certificate.file),
            "ssl.key.location": str(certificate.key),
        }

    def add_user(self, name: str, password: str) -> None:
        """Lets a user in by password."""
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(name, scram, password.encode())
        admin = AdminClient(dict(self.admin))
        admin.alter_user_scram_credentials([wanted])[name].result(SECONDS)

    def _configure(self) -> None:
        certificate, controller, password = ports.remembered(self._directory / "ports", 3)
        self._port, self._password_port = certificate, password
        listeners = {"PASSWORD": password, "CERTIFICATE": certificate, "CONTROLLER": controller}
        own = {
            "listeners": ",".join(f"{name}://{ports.LOOPBACK}:{port}" for name, port in listeners.items()),
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller}",
            "log.dirs": "data",
            "ssl.keystore.location": str(self._authority.issue("broker").whole),
            "ssl.truststore.location": str(self._authority.file),
        }
        java.write_properties(self._properties, PROPERTIES | SECURITY | own)

    def _answers(self) -> bool:
        return answers(self._port, self.admin)
