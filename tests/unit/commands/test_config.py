"""`orders config`: what a person sees of the settings."""

import os
from pathlib import Path

from orders.commands import config
from orders.settings import Effective, explain, load, public
from orders.settings.table import SIMPLE
from orders.system import state
from orders.system.claims import claimed
from orders.system.state import SystemState, process_of


def row(name: str, value: object, origin: str) -> Effective:
    return Effective(name, value, origin, secret=False, variable="")


def test_a_row_for_each_setting_in_columns_that_fit_a_terminal(tmp_path: Path) -> None:
    variables = {"ORDERS_HOME": str(tmp_path), "ORDERS_DATA_DIR": "/data"}
    lines = config.text(explain(variables)).splitlines()
    assert [line.split()[0] for line in lines] == ["setting", *SIMPLE]
    assert all(len(line) <= 80 for line in lines)
    assert {
        line.find(" from") if n == 0 else line.find(" default") for n, line in enumerate(lines) if "def" in line
    } == {51}
    assert lines[0].split() == ["setting", "value", "from"]


def test_what_does_not_fit_has_the_next_column_on_a_line_of_its_own() -> None:
    shown = config.text([row("name", "v" * 40, "origin"), row("n" * 30, 1, "origin")]).splitlines()[1:]
    assert shown == [
        f"{'name':24}{'v' * 40}",
        f"{'':52}origin",
        "n" * 30,
        f"{'':24}{1:<28}origin",
    ]


def test_an_empty_value_is_unset_a_long_one_cut_and_none_breaks_a_line() -> None:
    shown = config.text([row("a", "", "x"), row("b", "-----BEGIN\n" * 40, "x"), row("c", "\x1b[2J", "x")]).splitlines()
    assert shown[1].split() == ["a", "(unset)", "x"]
    assert shown[2].endswith(" …")
    assert len(shown) == 5
    assert shown[4].split() == ["c", r"\x1b[2J", "x"]


def test_it_shows_what_a_command_that_joins_the_running_system_would_have(tmp_path: Path) -> None:
    variables = {"ORDERS_DATA_DIR": str(tmp_path), "ORDERS_HTTP_PORT": "2"}
    running = load(variables | {"ORDERS_KAFKA_TOPIC": "theirs", "ORDERS_HTTP_PORT": "1"})
    state.save(tmp_path, SystemState((process_of("run", os.getpid()),), "", public(running), ""))
    with claimed(tmp_path):
        found = {row.name: (row.value, row.origin) for row in config.effective(variables, {"http_workers": "3"})}
    assert found["kafka_topic"] == ("theirs", "the running system")
    assert found["http_port"] == (2, "ORDERS_HTTP_PORT")
    assert found["http_workers"] == (3, "--http-workers")
