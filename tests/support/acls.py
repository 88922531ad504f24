"""The rights that docs/security.md gives: the tests work under these and no others."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, not exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
SECONDS = 10.0
COMMAND = re.compile(
    r"^kafka-acls\.sh --bootstrap-server HOST:9092 --add --allow-principal User:(?P<user>\S+) "
    r"(?P<operations>(?:--operation \w+ )+)--(?P<kind>topic|group) orders$"
)

Right = tuple[str, str]
"""`topic` or `group`, and the operation as kafka-acls.sh has it."""


def documented() -> dict[str, set[Right]]:
    """The rights of each user; every command on the page is understood."""
    found: dict[str, set[Right]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("kafka-acls.sh"):
            command = COMMAND.fullmatch(line)
            assert command, f"not understood: {line}"
            operations = command["operations"].replace("--operation", "").split()
            found.setdefault(command["user"], set()).update(product([command["kind"]], operations))
    return found


class Acls:
    """Gives users rights to a topic and to a group, as kafka-acls.sh does."""

    def __init__(self, admin: Mapping[str, str], topic: str, group: str) -> None:
        self._admin = AdminClient(dict(admin))
        self._names = {"topic": topic, "group": group}

    def grant(self, user: str, rights: Iterable[Right]) -> None:
        for made in self._admin.create_acls(list(self._bindings(AclBinding, user, rights))).values():
            made.result(SECONDS)

    def take(self, user: str, rights: Iterable[Right]) -> None:
        for gone in self._admin.delete_acls(list(self._bindings(AclBindingFilter, user, rights))).values():
            assert gone.result(SECONDS), "there was no such right"

    def _bindings(self, kind: type, user: str, rights: Iterable[Right]) -> Iterator[object]:
        for resource, operation in rights:
            yield kind(
                ResourceType[resource.upper()],
                self._names[resource],
                ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
                AclPermissionType.ALLOW,
            )
