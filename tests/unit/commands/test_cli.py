"""The command line: options from the table, one sentence for a mistake, nothing imported before it is needed."""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orders.commands import options
from orders.commands.cli import cli
from orders.errors import Unavailable, UsageError
from orders.settings import OPTIONS, option, variable
from support.system import ROOT


def walked(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walked(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


@pytest.mark.parametrize(("name", "command"), list(walked(cli)))
def test_help_has_an_example_and_every_option_of_the_table(name: str, command: click.Command) -> None:
    shown = CliRunner().invoke(cli, [*name.split(), "--help"]).output
    assert f"Example: orders {name}" in shown or f"| orders {name}" in shown
    for setting in OPTIONS.get(name, ()):
        assert option(setting) in shown
        assert variable(setting) in shown
    assert command.help


@pytest.mark.parametrize(("name", "command"), list(walked(cli)))
def test_help_says_what_every_exit_status_means(name: str, command: click.Command) -> None:
    del command
    shown = CliRunner().invoke(cli, [*name.split(), "--help"]).output
    told = " ".join(shown.rpartition("Exit status:")[2].split())
    assert told == " ".join(f"{status} {meaning}" for status, meaning in options.exits(name).items())
    assert list(options.exits(name))[-2:] in (["1", "2"], ["2", "signal"])


@pytest.mark.parametrize("name", [name for name, _ in walked(cli) if name != "run"])
def test_help_speaks_of_embedded_services_only_where_they_are_started(name: str) -> None:
    """`orders run` alone starts them; the others take the address of the running system."""
    shown = " ".join(CliRunner().invoke(cli, [*name.split(), "--help"]).output.split())
    assert "embedded Kafka" not in shown
    assert "embedded PostgreSQL" not in shown
    assert "the above" not in shown
    for setting in {"kafka_bootstrap", "postgres_dsn", "memory_path"} & set(OPTIONS.get(name, ())):
        assert "running system" in shown.partition(option(setting))[2].partition(variable(setting))[0]


def test_what_has_data_has_it_for_programs_too() -> None:
    with_json = {name for name, command in walked(cli) if any("--json" in each.opts for each in command.params)}
    with_rows = {"send", "validate", "status", "health", "migrate", "topics create", "config", "doctor", "resume"}
    with_rows |= {f"dead-letters {each}" for each in ("list", "show", "replay", "edit", "discard", "export")}
    with_rows |= {"verify", "list", "find"}
    assert with_json == with_rows


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["statis"], "'status'"), (["dead-letters", "lst"], "'list'"), (["status", "--jsn"], "'--json'")],
)
def test_the_nearest_known_name_is_suggested(typed: list[str], meant: str) -> None:
    shown = CliRunner().invoke(cli, typed)
    assert shown.exit_code == 2
    assert f"Did you mean {meant}?" in shown.output


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--limit", "3", "--cursor=old"], ["--limit", "3", "--cursor", "new"]),
        (["c 1", "--at", "2026-11-30"], ["--at", "2026-11-30T00:00:00+00:00", "--cursor", "new", "c 1"]),
        (["--text=-x", "--", "-y"], ["--text=-x", "--cursor", "new", "--", "-y"]),
    ],
)
def test_a_command_is_said_again_as_it_was_typed_with_another_option(typed: list[str], words: list[str]) -> None:
    @click.command("find")
    @click.argument("text", required=False)
    @click.option("--limit", type=int, default=50)
    @click.option("--at", type=options.MomentParameter())
    @click.option("--text", "other")
    @click.option("--cursor")
    def find(**_: object) -> None:
        click.echo(options.again({"cursor"}, ["--cursor", "new"]))

    shown = CliRunner().invoke(find, typed, prog_name="orders find").output
    assert shlex.split(shown) == ["orders", "find", *words]
    again = CliRunner().invoke(find, shlex.split(shown)[2:], prog_name="orders find").output
    assert again == shown


@pytest.mark.parametrize("words", [["find"], ["find", "a", "--phone", "1"], ["find", "--name", "a", "--email", "b"]])
def test_find_looks_for_one_thing(words: list[str]) -> None:
    found = CliRunner().invoke(cli, words)
    assert isinstance(found.exception, UsageError)
    assert str(found.exception).startswith("say what to look for: ")


def test_the_list_of_commands_says_what_each_does_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert "Exit status: 0 done, 1 failed, 2 wrong usage." in " ".join(shown.split())
    assert not [line for line in shown.partition("Commands:")[2].splitlines() if line.endswith("...")]
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    assert not [line for group in groups for line in commands_of(group) if line.endswith("...")]


def commands_of(group: click.Group) -> list[str]:
    return CliRunner().invoke(cli, [str(group.name), "--help"]).output.partition("Commands:")[2].splitlines()


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == "orders 0.1.0\n"


def test_help_answers_at_once_and_loads_no_library_of_a_service_and_no_model() -> None:
    # The heavy imports are what would make it slow; the time itself has room for a busy machine.
    heavy = {"starlette", "uvicorn", "confluent_kafka", "psycopg", "lmdb", "structlog", "rich", "psutil", "jinja2"}
    heavy |= {"orders.commands.sending", "orders.commands.status", "orders.dead_letters", "orders.doctor"}
    code = (
        "import sys\n"
        "from orders.commands.cli import cli\n"
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


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("PostgreSQL is unavailable"), 1), (UsageError("no such thing"), 2)]
)
def test_our_errors_are_one_sentence(error: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, options.sentences():
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


ORDERS = (sys.executable, "-m", "orders")


def test_ctrl_c_ends_a_command_by_its_signal_in_silence() -> None:
    with subprocess.Popen([*ORDERS, "sample", "10000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()  # it is under way
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.stderr.read().strip() == b""
    assert process.returncode in (-signal.SIGINT, 1)  # 1: the closed pipe was met first


def redirected(command: str) -> subprocess.CompletedProcess[bytes]:
    """A command with its redirections, as a shell runs it."""
    line = f'"$0" -m orders {command}'
    return subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, check=False)


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("config >&-", 2, b"orders: standard output is closed: nothing can be shown\n"),
        ("sample 3 >&-", 2, b"orders: standard output is closed: nothing can be shown\n"),
        ("config >&- 2>&-", 2, b""),
        ("config <&- >/dev/null", 0, b""),
        ("sample 0 >&-", 0, b""),
    ],
)
def test_a_closed_stream_is_one_sentence_to_who_needs_it(command: str, status: int, said: bytes) -> None:
    done = redirected(command)
    assert (done.returncode, done.stderr) == (status, said)


def test_what_is_opened_and_started_has_none_of_the_closed_streams_numbers(tmp_path: Path) -> None:
    """A process that we start would write into our file."""
    code = "from orders import streams; streams.replace_closed(); f = open('file', 'w'); print(f.fileno(), file=f)"
    shell = ["sh", "-c", f'"$0" -c "{code}" <&- >&- 2>&-', sys.executable]
    subprocess.run(shell, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=True)
    assert int((tmp_path / "file").read_text()) > 2


def test_a_text_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "koi8-r", "ORDERS_HOME": str(tmp_path)}
    command = [*ORDERS, "config", "--data-dir", "/łódź"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert b"/\\u0142\\xf3d\\u017a" in done.stdout


@pytest.mark.parametrize(("redirected", "seen"), [("> file", True), ("| cat > file", False)])
def test_sample_shows_how_far_it_is_where_nobody_else_does(redirected: str, seen: bool, tmp_path: Path) -> None:
    # Standard error is a terminal; what is read on the other end of a pipe may have a bar of its own.
    code = "import orders.system.progress_bar as c; c.LONG_SECONDS = 0.0; from orders.commands.cli import main; main()"
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "CODE": code}
    subprocess.run(
        ["sh", "-c", f'"$0" -c "$CODE" sample 3000 {redirected}', sys.executable],
        stderr=theirs, env=environment, cwd=tmp_path, check=True,
    )  # fmt: skip
    os.write(theirs, b"end")
    shown = b""
    while not shown.endswith(b"end"):
        shown += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    assert (b"3000/3000" in shown) is seen
    assert len((tmp_path / "file").read_bytes().splitlines()) == 3000


def test_a_package_that_is_missing_is_one_sentence() -> None:
    # Without `site` no installed package is found: as in a half-deleted .venv.
    source = str(Path(options.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-S", "-m", "orders", "status"],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("orders: the Python package ")
    assert "remove .venv and start again" in done.stderr
    assert done.stderr.count("\n") == 1
