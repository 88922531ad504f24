"""The command line. Every command imports what it needs when it runs: `--help` answers at once."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import click
from msgspec import Meta

from orders import __version__
from orders.errors import OrdersError, UsageError
from orders.settings import OPTIONS, Settings, load, option, variable
from orders.system.state import joined

F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES = "Exit status: 0 done, 1 failed, 2 wrong usage. A command that a signal stopped ends by that signal."


def main() -> NoReturn:
    """Runs a command; what goes wrong is one sentence on standard error and an exit status, never a traceback."""
    with sentences():
        cli(prog_name="orders")
    sys.exit(0)


@contextmanager
def sentences() -> Iterator[None]:
    """Ends the process with one sentence for an error of ours, and in silence when nobody reads the output."""
    try:
        yield
        sys.stdout.flush()
    except OrdersError as error:
        click.echo(f"orders: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit would complain again
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        click.echo(f"orders: {error.strerror}: {error.filename or 'the output'}", err=True)
        sys.exit(1)


def settings_of(command: str) -> Callable[[F], F]:
    """Adds the options of a command's settings, made from the table in `settings`."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = dict(zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True))

    def decorate(function: F) -> F:
        for name in reversed(OPTIONS[command]):
            kind, *about = get_args(hints[name])
            text = next(meta.description for meta in about if isinstance(meta, Meta) and meta.description)
            shown = f", default {defaults[name]}" if defaults[name] != "" else ""
            function = click.option(
                option(name), type=parameter(kind), metavar=metavar(kind), help=f"{text}  [{variable(name)}{shown}]"
            )(function)
        return function

    return decorate


def parameter(kind: Any) -> click.ParamType[Any]:
    """Words are checked here; numbers where the variables are, in one place with one message."""
    return click.Choice(get_args(kind)) if get_origin(kind) is Literal else click.STRING


def metavar(kind: Any) -> str | None:
    return None if get_origin(kind) is Literal else {int: "N", float: "SECONDS"}.get(kind, "TEXT")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, message="orders %(version)s")
def cli() -> None:
    """An order service: Kafka to PostgreSQL to memory to HTTP.

    Start everything with `orders run`; the other commands then find it by themselves.
    """


@cli.command(epilog="Example: orders run --http-port 9000 --http-workers 2")
@settings_of("run")
def run(**given: Any) -> None:
    """Start the whole system and keep it running.

    PostgreSQL and Kafka are started too, unless an address is given. Ctrl-C stops everything.
    """
    from orders.system import supervisor

    supervisor.run(load(os.environ, given))


@cli.command(epilog="Example: orders serve --http-port 8081")
@settings_of("serve")
@click.option("--socket-fd", type=int, hidden=True)
@click.option("--parent-fd", type=int, hidden=True)
def serve(socket_fd: int | None, parent_fd: int | None, **given: Any) -> None:
    """Answer HTTP.

    `orders run` starts this by itself. Alone, it takes what is not given from a system that runs.
    """
    from orders import service

    service.serve(joined(os.environ, given), socket_fd, parent_fd)


@cli.command(epilog="Example: orders ingest --number 1")
@settings_of("ingest")
@click.option("--number", type=int, help="number of this ingest among those of the data directory", default=0)
@click.option("--parent-fd", type=int, hidden=True)
def ingest(number: int, parent_fd: int | None, **given: Any) -> None:
    """Read orders from Kafka into PostgreSQL and memory.

    `orders run` starts this by itself. Alone, it takes what is not given from a system that runs.
    """
    from orders import service

    service.ingest(joined(os.environ, given), number, parent_fd)


@cli.command(epilog="Example: orders keep --memory-path /dev/shm/orders/memory")
@settings_of("keep")
@click.option("--parent-fd", type=int, hidden=True)
def keep(parent_fd: int | None, **given: Any) -> None:
    """Restore memory from PostgreSQL and keep it true.

    `orders run` starts this by itself, once for a memory.
    """
    from orders import service

    service.keep(joined(os.environ, given), parent_fd)


@cli.command(epilog="Example: orders sample 1000 --seed 7 > orders.ndjson")
@click.argument("count", type=click.IntRange(min=0), metavar="N")
@click.option("--seed", type=int, default=0, show_default=True, help="other numbers give other orders")
def sample(count: int, seed: int) -> None:
    """Write N realistic orders, one JSON object per line."""
    from orders.sample import samples

    write = sys.stdout.buffer.write
    for order in samples(count, seed):
        write(order + b"\n")


@cli.command(epilog="Example: orders sample 1000 | orders send -")
@settings_of("send")
@click.argument("file", type=click.File("rb"))
def send(file: IO[bytes], **given: Any) -> None:
    """Send the orders of a file to Kafka.

    FILE has one JSON object per line; `-` is standard input. Lines go as they are, keyed by their order_uid where it
    can be read; what is wrong with one becomes a dead letter.
    """
    from orders.system import client

    sent, keyless = client.send(joined(os.environ, given), file)
    click.echo(f"{sent} sent" + (f", {keyless} of them without an order_uid" if keyless else ""), err=True)


@cli.command(epilog="Example: orders get b563feg7bdg3286ttjr67siej")
@settings_of("get")
@click.argument("uid")
@click.option("--view", type=click.Choice(["standard", "original"]), help="shape of the order")
def get(uid: str, view: str | None, **given: Any) -> None:
    """Show an order of the running system.

    Indented on a terminal; into a pipe or file the bytes are as served. Exit status 1 if there is no such order.
    """
    from orders.system import client

    document = client.get(joined(os.environ, given), uid, view)
    sys.stdout.buffer.write(client.indented(document) if sys.stdout.isatty() else document)
    sys.stdout.buffer.write(b"\n" if sys.stdout.isatty() else b"")


@cli.command(epilog="Example: orders status --json")
@settings_of("status")
@click.option("--json", "as_json", is_flag=True, help="for programs: one JSON object")
def status(*, as_json: bool, **given: Any) -> None:
    """Show what runs: processes, addresses, lag, restore. Exit status 1 if nothing does."""
    from orders.system import client

    found = client.status(joined(os.environ, given))
    click.echo(client.as_json(found) if as_json else client.status_text(found))
    if not found.processes:
        sys.exit(1)


@cli.group("dead-letters")
def dead_letters() -> None:
    """Messages that were refused, and why."""


@dead_letters.command("list", epilog="Example: orders dead-letters list --limit 5")
@settings_of("dead-letters list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="most that are shown")
@click.option("--json", "as_json", is_flag=True, help="for programs: one JSON object per line")
def list_dead_letters(*, limit: int, as_json: bool, **given: Any) -> None:
    """Show the newest dead letters: where they stood, their key, what is wrong and where. Never their content."""
    from orders.system import client

    letters = client.dead_letters(joined(os.environ, given), limit)
    for letter in letters:
        click.echo(client.as_json(letter) if as_json else client.dead_letter_text(letter))
