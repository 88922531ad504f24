"""`orders list` and `orders find` on a running system, as one would type them."""

import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders.embedded.postgres import PostgresService
from orders.sample import samples
from orders.system.state import joined
from support.listed import index_by_hand
from support.system import System, environment, orders
from support.waiting import wait_for

CUSTOMER = "c-finding"
PHONE = "+7 (901) 555-12-34"
MORE = "the next page:\n  orders "


@pytest.fixture(scope="module")
def them(system: System, postgres: PostgresService) -> list[Any]:
    """Five orders of one customer and phone, which the system has; the name of an item would colour a terminal.

    Names are searchable too.
    """
    named = conninfo_to_dict(joined({}, {"data_dir": str(system.data)}).postgres_dsn)
    dsn = make_conninfo(postgres.dsn, dbname=named["dbname"])
    with psycopg.connect(dsn, autocommit=True) as connection:
        index_by_hand(connection)
    made = [json.loads(each) for each in samples(5, seed=91)]
    for each in made:
        each["customer_id"] = CUSTOMER
        each["delivery"] |= {"phone": PHONE, "name": "Ann Finding"}
        each["items"][0]["name"] = "\x1b[31mЖ 毛衣"
    sent = orders(system.data, "send", "-", given="\n".join(map(json.dumps, made)).encode())
    assert sent.returncode == 0
    wait_for(
        lambda: all(system.request("GET", f"/orders/{each['order_uid']}")[0] == 200 for each in made), "all stored"
    )
    return made


def uids(lines: list[str], them: list[Any]) -> list[str]:
    """The orders of the lines of a table."""
    return [each["order_uid"] for line in lines for each in them if each["order_uid"] in line]


def pages(system: System, *words: str) -> Iterator[str]:
    """What a command shows, and every command that it names for the next page."""
    typed = list(words)
    while typed:
        done = orders(system.data, *typed)
        assert (done.returncode, done.stderr) == (0, b"")
        shown = done.stdout.decode()
        yield shown
        typed = shlex.split(shown.partition(MORE)[2])


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--customer-id", CUSTOMER],
        ["list", "--customer-id", CUSTOMER, "--received-from", "2026-01-01T00:00"],
        ["find", CUSTOMER],
        ["find", "--phone", "8 901 5551234"],
        ["find", "--name", "ann finding"],
        ["find", "Ann F"],
    ],
)
def test_the_command_below_each_page_leads_to_every_order_once(
    system: System, them: list[Any], words: list[str]
) -> None:
    shown = list(pages(system, *words, "--limit", "2"))
    found = [uid for page in shown for uid in uids(page.splitlines(), them)]
    assert sorted(found) == sorted(each["order_uid"] for each in them)
    assert "2 of " in shown[0]
    assert "the last page" in shown[-1] or "no more orders" in shown[-1]


def test_a_program_gets_the_page_as_http_returns_it(system: System, them: list[Any]) -> None:
    done = orders(system.data, "list", "--json", "--customer-id", CUSTOMER)
    found = json.loads(done.stdout)
    assert {each["order_uid"] for each in found["orders"]} == {each["order_uid"] for each in them}
    assert (found["next"], found["prev"], found["matched"]) == (None, None, {})
    assert found["total"] == {"count": 5, "is_estimate": False}
    searched = json.loads(orders(system.data, "find", "--json", PHONE).stdout)
    assert searched["orders"] == found["orders"]
    assert set(map(tuple, searched["matched"].values())) == {("phone",)}


def test_what_is_found_nowhere_is_one_sentence_and_exit_status_1(system: System) -> None:
    done = orders(system.data, "find", "nobody has this")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith("orders: no order found: ")
    listed = orders(system.data, "list", "--track-number", "nobody has this")
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert listed.stdout.decode().startswith("no order fits: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list", "--customer-id", "a", "--track-number", "b"], "--customer-id cannot be given beside --track-number"),
        (["list", "--created-from", "2026-01-02", "--created-to", "2026-01-01"], "--created-from must be before --cr"),
        (
            ["list", "--created-from", "2026-01-02", "--received-to", "2026-01-05"],
            "--received-to cannot be given beside",
        ),
        (["list", "--cursor", "made up"], "the cursor is not one of this list"),
        (["find", ""], "TEXT must not be empty"),
        (["find", "--phone", "none"], "--phone must have a digit"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage_in_one_sentence(system: System, words: list[str], sentence: str) -> None:
    done = orders(system.data, *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"orders: {sentence}")
    assert done.stderr.count(b"\n") == 1


def test_a_terminal_of_80_columns_has_no_wider_line_and_is_not_coloured(system: System, them: list[Any]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "orders", "find", CUSTOMER]
    variables = environment(system.data) | {"COLUMNS": "80"}
    subprocess.run(command, env=variables, stdout=theirs, check=True)
    shown = b""
    while b"5 orders" not in shown:
        shown += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    lines = shown.decode().splitlines()
    assert max(map(len, lines[:6])) <= 80
    assert len(lines[1:6]) == len(them)
    assert "customer id" in lines[1]
    assert b"\x1b" not in shown


def test_a_reader_that_goes_away_ends_a_list_in_silence(system: System, them: list[Any]) -> None:
    shell = f'"$0" -m orders list --limit {len(them)} | head -n 0'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable], env=environment(system.data), capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize("words", [["list"], ["find", "x"]])
def test_where_nothing_runs_it_is_said_how_to_start_it(tmp_path: Path, words: list[str]) -> None:
    done = orders(tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, b"")
    assert "orders run" in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
