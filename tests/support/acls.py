"""The permissions that docs/security.md gives: the tests work under these and no others."""

import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

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
    """The permissions of each user; every command on the page is understood."""
    found: dict[str, set[Right]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("kafka-acls.sh"):
            command = COMMAND.fullmatch(line)
            assert command, f"not understood: {line}"
            operations = command["operations"].replace("--operation", "").split()
            found.setdefault(command["user"], set()).update(product([command["kind"]], operations))
    return found


class Acls:
    """Gives users permissions to a topic and to a group, as kafka-acls.sh does."""

    def __init__(self, admin: Mapping[str, str], topic: str, group: str) -> None:
        self._admin = AdminClient(dict(admin))
        self._names = {"topic": topic, "group": group}

    def grant(self, user: str, permissions: Iterable[Right]) -> None:
        bindings = [AclBinding(*self._of(user, permission)) for permission in permissions]
        for made in (self._admin.create_acls(bindings) if bindings else {}).values():
            made.result(SECONDS)

    def take(self, user: str, *permissions: Right) -> None:
        for gone in self._admin.delete_acls(
            [AclBindingFilter(*self._of(user, permission)) for permission in permissions]
        ).values():
            assert gone.result(SECONDS), "there was no such right"

    def _of(self, user: str, permission: Right) -> tuple[Any, ...]:
        kind, operation = permission
        return (
            ResourceType[kind.upper()],
            self._names[kind],
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
            AclPermissionType.ALLOW,
        )
