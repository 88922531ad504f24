"""The command line: options from the table, one sentence for a mistake, nothing imported before it is needed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from orders import cli as command_line
from orders.cli import cli
from orders.errors import Away, UsageError
from orders.settings import OPTIONS, option, variable


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(cli)))
def test_help_has_an_example_and_every_option_of_the_table(name: str, command: click.Command) -> None:
    shown = CliRunner().invoke(cli, [*name.split(), "--help"]).output
    assert f"Example: orders {name}" in shown or f"| orders {name}" in shown
    for setting in OPTIONS.get(name, ()):
        assert option(setting) in shown
        assert variable(setting) in shown
    assert command.help


def test_the_list_of_commands_says_what_each_does_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert "Exit status: 0 done, 1 failed, 2 wrong usage." in " ".join(shown.split())
    assert not [line for line in shown.partition("Commands:")[2].splitlines() if line.endswith("...")]


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == "orders 0.1.0\n"


def test_help_answers_at_once_and_loads_no_library_of_a_service() -> None:
    # The heavy imports are what would make it slow; the time itself has room for a busy machine.
    heavy = {"litestar", "uvicorn", "confluent_kafka", "psycopg", "lmdb", "structlog", "rich", "psutil"}
    code = (
        "import sys\n"
        "from orders.cli import cli\n"
        "try: cli(['--help'])\n"
        f"finally: print(sorted({heavy!r} & set(sys.modules)))\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 5
    assert done.stdout.splitlines()[-1] == "[]"


def test_sample_writes_orders_one_per_line_the_same_ones_for_a_seed() -> None:
    first = CliRunner().invoke(cli, ["sample", "3", "--seed", "7"])
    again = CliRunner().invoke(cli, ["sample", "3", "--seed", "7"])
    assert first.exit_code == 0
    assert first.output == again.output
    assert len({json.loads(line)["order_uid"] for line in first.output.splitlines()}) == 3


def test_wrong_usage_is_exit_status_2() -> None:
    assert CliRunner().invoke(cli, ["sample", "many"]).exit_code == 2
    assert CliRunner().invoke(cli, ["fetch"]).exit_code == 2


@pytest.mark.parametrize(("error", "status"), [(Away("PostgreSQL is away"), 1), (UsageError("no such thing"), 2)])
def test_our_errors_are_one_sentence(error: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, command_line.sentences():
        raise error
    assert ended.value.code == status
    assert capsys.readouterr().err == f"orders: {error}\n"


def test_a_reader_that_goes_away_ends_a_command_in_silence() -> None:
    # `orders sample 100000 | head -1`
    process = subprocess.Popen(
        [sys.executable, "-m", "orders", "sample", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
