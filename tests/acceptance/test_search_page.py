"""docs/search.md as a reader follows it: each call, command and statement works, and an answer has what is shown."""

import json
import re
import sys
from collections.abc import Iterator

import httpx2
import psycopg
import pytest

from orders.postgres.connection import connect
from orders.postgres.indexes import states
from orders.search.criteria import INDEXES
from support.page import blocks
from support.services import open_folder
from support.system import ROOT, System, like_a_clone, orders, running, typed
from support.waiting import wait_for

pytestmark = pytest.mark.system

PAGE = "search.md"
ADDRESS = "http://127.0.0.1:8080"
UID = "b563feg7bdg3286ttjr67siej"
BY_HAND = ("email", "name", "name_prefix")


@pytest.fixture
def reader(addresses: list[str]) -> Iterator[System]:
    """A system whose first order is the sample order."""
    with open_folder() as folder, running(folder / "data", addresses) as system:
        assert orders(system.data, "send", str(ROOT / "src/orders/original.json")).returncode == 0
        wait_for(lambda: system.request("GET", f"/orders/{UID}")[0] == 200, "it is stored")
        yield system


@pytest.fixture
def dsn(addresses: list[str]) -> str:
    return addresses[addresses.index("--postgres-dsn") + 1]


def run(system: System, command: list[str]) -> str:
    """What it prints, in a directory that looks like this repository."""
    with like_a_clone() as folder:
        return typed(folder, system.data, command)


def test_each_call_command_and_statement_of_the_page_works(reader: System, dsn: str) -> None:
    """In their order, the statements before the commands that need them; each finds the sample order.

    Takes over 10 s: a system is started, and each command is a process.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in blocks(PAGE, "sql"):
            connection.execute(statement.encode())
    (walk,) = blocks(PAGE, "python")
    assert run(reader, [sys.executable, "-c", walk.replace(ADDRESS, reader.url)]).split() == [UID]
    lines = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
    assert len(lines) > 12
    for line in lines:
        printed = run(reader, ["bash", "-c", line.replace(ADDRESS, reader.url)])
        assert UID in printed or "send" in line, line


def test_an_answer_has_what_the_page_shows(reader: System) -> None:
    """But for the time at which the order came."""
    (shown,) = blocks(PAGE, "json")
    (asked,) = re.findall(r"""-d '({"q".*?})'""", "".join(blocks(PAGE, "sh")))
    found = httpx2.post(f"{reader.url}/orders/search", json=json.loads(asked)).json()
    expected = json.loads(shown)
    for each in (found, expected):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each["orders"][0].pop("received"))
    assert found == expected


@pytest.mark.parametrize(("number", "by"), list(enumerate(BY_HAND)))
def test_each_statement_of_the_page_makes_the_filter_work_for_which_it_stands(
    reader: System, dsn: str, number: int, by: str
) -> None:
    """Without it the filter is refused, and the answer names the page."""
    values = {"email": "TEST@gmail.com", "name": "TEST testov", "name_prefix": "test"}

    def search() -> httpx2.Response:
        return httpx2.post(f"{reader.url}/orders/search", json={by: values[by]})

    refused = search()
    assert refused.status_code == 422
    assert "docs/search.md" in refused.text
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(blocks(PAGE, "sql")[number].encode())
    wait_for(lambda: search().status_code == 200, "the index is noticed")
    assert [each["order_uid"] for each in search().json()["orders"]] == [UID]
    with connect(dsn, "test") as connection:
        names = [INDEXES["email"], INDEXES["name"], INDEXES["name_prefix"]]
        assert [name for name, each in states(connection, names).items() if each.state == "valid"] == [names[number]]
