"""The whole way on a Kafka with logins and ACLs, under the least privileges that docs/security.md gives."""

import json
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess
from typing import Protocol

import pytest

from support import way
from support.acls import Acls, documented
from support.services import open_folder
from support.system import orders, running

pytestmark = [pytest.mark.others, pytest.mark.system]


class Place(Protocol):
    """What the fixture `place` gives."""

    name: str
    acls: Acls
    variables: Mapping[str, str]


class Logins(Protocol):
    """What the fixture `logins` gives."""

    passwords: list[str]


def test_the_page_has_the_permissions_of_every_user_and_no_wide_ones() -> None:
    permissions = documented()
    assert set(permissions) == {"orders", "orders-serve", "orders-ingest", "orders-create"}
    assert permissions["orders"] == permissions["orders-serve"] | permissions["orders-ingest"]
    assert not {operation for each in permissions.values() for _, operation in each} & {"All", "Alter", "Delete"}


def test_orders_go_the_whole_way_under_the_documented_permissions(
    login: Callable[[str], Mapping[str, str]], logins: Logins, place: Place
) -> None:
    """Takes up to 10 s: a whole system starts, and its commands are run one after the other."""
    permissions = documented()
    with open_folder() as folder:
        data = folder / "data"
        place.acls.grant("orders-create", permissions["orders-create"])
        created = orders(data, "topics", "create", "--json", variables={**place.variables, **login("orders-create")})
        assert (created.returncode, created.stderr) == (0, b"")
        assert {check["state"] for check in json.loads(created.stdout)["checks"]} == {"ok"}
        place.acls.grant("orders", permissions["orders"])
        variables = {**place.variables, **login("orders")}
        with running(data, variables=variables) as system:
            way.go(system, seed=4, variables=variables)
            status = system.status()
            looked = orders(data, "doctor", "--json", variables=variables)
            shown = orders(data, "config", variables=variables)
            assert status["ready"], status
            assert found(looked)["topic permissions"]["state"] == found(looked)["group"]["state"] == "ok"
            assert b"ssl.ca.location" in shown.stdout
        said = system.said + (data.parent / "data.out").read_text() + str((created, looked, shown, status))
        assert not [password for password in logins.passwords if password in said]


def found(done: CompletedProcess[bytes]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}
