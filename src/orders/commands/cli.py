"""The commands. Each imports what it needs when it runs: `--help` and completion answer at once."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from msgspec import Raw

from orders import __version__, streams
from orders.commands.dead_letters import dead_letters
from orders.commands.options import POSITIVE, MomentParameter, again, command, phases, progress, sentences
from orders.commands.output import Output, Outputs, is_for_programs, output
from orders.errors import StartError, UsageError
from orders.settings import Effective, load
from orders.system.state import addressed, joined

if TYPE_CHECKING:
    from orders.commands.client import Migrated
    from orders.commands.finding import FoundOrders
    from orders.commands.resuming import Resumed
    from orders.commands.sending import Checked, Sent, Way
    from orders.commands.status import Status
    from orders.doctor.check import Checks
    from orders.doctor.creation import CreatedTopic
    from orders.verify.report import VerifyReport

F = TypeVar("F", bound=Callable[..., Any])
NATURAL = click.IntRange(min=0)
EXIT_STATUS = "Exit status: 0 done, 1 failed, 2 wrong usage. A command that a signal stopped ends by that signal."


def main() -> NoReturn:
    """Runs a command; what goes wrong is one sentence on standard error and an exit status, never a traceback."""
    streams.replace_closed()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a path may hold what the terminal's encoding does not
    with sentences():
        status = cli.main(prog_name="orders", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    sys.exit(1)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=EXIT_STATUS,
)
@click.version_option(__version__, message="orders %(version)s")
def cli() -> None:
    """An order service: Kafka to PostgreSQL to memory to HTTP.

    Start everything with `orders run`; the other commands then find it by themselves. docs/commands.md has the fields
    of what they write with --json.
    """


@command(cli, "run", "orders run --http-port 9000 --http-workers 2")
def run(**given: Any) -> None:
    """Start the whole system and keep it running.

    PostgreSQL and Kafka are started too, unless an address is given. Ctrl-C stops everything.
    """
    from orders.system import supervisor

    supervisor.run(load(os.environ, given))


@command(cli, "serve", "orders serve --http-port 8081")
@click.option("--socket-fd", type=int, hidden=True)
@click.option("--parent-fd", type=int, hidden=True)
def serve(socket_fd: int | None, parent_fd: int | None, **given: Any) -> None:
    """Answer HTTP.

    `orders run` starts this by itself. Alone, it takes what is not given from a system that runs.
    """
    from orders import processes

    processes.serve(joined(os.environ, given), socket_fd, parent_fd)


@command(cli, "ingest", "orders ingest --number 1")
@click.option("--number", type=NATURAL, metavar="N", default=0, help="number of this ingest on its machine")
@click.option("--parent-fd", type=int, hidden=True)
def ingest(number: int, parent_fd: int | None, **given: Any) -> None:
    """Read orders from Kafka into PostgreSQL and memory.

    `orders run` starts this by itself. Alone, it takes what is not given from a system that runs.
    """
    from orders import processes

    processes.ingest(joined(os.environ, given), number, parent_fd)


@command(cli, "keep", "orders keep --memory-path /dev/shm/orders/memory")
@click.option("--parent-fd", type=int, hidden=True)
def keep(parent_fd: int | None, **given: Any) -> None:
    """Restore memory from PostgreSQL and keep it true.

    `orders run` starts this by itself, once for a memory.
    """
    from orders import processes

    processes.keep(joined(os.environ, given), parent_fd)


@command(cli, "sample", "orders sample 1000 --seed 7 > orders.ndjson")
@click.argument("count", type=NATURAL, metavar="N")
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="other numbers give other orders")
def sample(count: int, seed: int) -> None:
    """Write N realistic orders, one JSON object per line."""
    from orders.sample import samples

    write = sys.stdout.buffer.write
    with progress(count) as advance:
        for order in samples(count, seed):
            write(order + b"\n")
            advance(1)


@command(cli, "send", "orders sample 1000 | orders send -")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--skip-invalid", "way", flag_value="valid", help="leave out what is not a valid order, and send the rest"
)
@click.option("--as-is", "way", flag_value="as is", help="send lines untouched: what is wrong becomes a dead letter")
@click.option("--wait", is_flag=True, help="wait until each is stored in PostgreSQL or a dead letter, and sum up")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    default=30,
    show_default=True,
    help="with --wait: how long to wait while nothing is stored",
)
@output()
def send(file: IO[bytes], *, way: "Way | None", wait: bool, timeout: float, **given: Any) -> "Outputs[Sent]":
    """Send the orders of a file to Kafka.

    FILE has JSON objects, a line each, indented, one after the other or in one array, packed by gzip or not; `-` is
    standard input. A file is checked first: where something is not a valid order nothing is sent. A pipe is sent up to
    there. Orders that are too large for Kafka's client or for the topic are left out and named.

    What was sent is not yet stored. --wait waits until PostgreSQL's positions have passed every order that was sent,
    also behind what others sent before. It ends early where a partition is stopped, and gives up when no position has
    moved for --timeout seconds. The summary is shown after Ctrl-C too.
    """
    from orders.commands import sending

    sent = sending.send(joined(os.environ, given), file, way or "valid or nothing", timeout if wait else None)
    yield Output(sent, sending.sent_text, sent.is_done, on_stderr=True)
    if sent.is_interrupted:
        raise KeyboardInterrupt


@command(cli, "validate", "orders validate orders.json")
@click.argument("file", type=click.File("rb"))
@output()
def validate(file: IO[bytes], **given: Any) -> "Output[Checked]":
    """Check the orders of a file as `orders send` does.

    Nothing is sent, and no system needs to run. FILE is as for `orders send`.
    """
    from orders.commands import sending

    checked = sending.check(load(os.environ, given), file)
    return Output(checked, sending.checked_text, is_ok=not checked.invalid)


@command(cli, "get", "orders get b563feg7bdg3286ttjr67siej")
@click.argument("uid")
@click.option("--view", type=click.Choice(["standard", "original"]), help="shape of the order")
def get(uid: str, view: str | None, **given: Any) -> None:
    """Show an order of the running system.

    Indented on a terminal; into a pipe or file the bytes are as served.
    """
    from orders.commands import client

    document = client.get(joined(os.environ, given), uid, view)
    sys.stdout.buffer.write(client.indented(document) if sys.stdout.isatty() else document)
    sys.stdout.buffer.write(b"\n" if sys.stdout.isatty() else b"")


def paged(function: F) -> F:
    """Adds what chooses a page, and `--json`."""
    limit = click.option(
        "--limit", type=click.IntRange(1, 200), metavar="N", default=50, show_default=True, help="show at most N"
    )
    cursor = click.option("--cursor", metavar="TEXT", help="where to continue; stands below a page")
    return limit(cursor(function))


@command(cli, "list", "orders list --customer-id c477009 --limit 10")
@click.option("--track-number", metavar="TEXT", help="only those with this tracking number")
@click.option("--customer-id", metavar="TEXT", help="only those of this customer")
@click.option("--transaction", metavar="TEXT", help="only those with this id of a payment")
@click.option(
    "--created-from",
    type=MomentParameter(),
    metavar="TIME",
    help="only those created at this time or later; UTC without an offset",
)
@click.option("--created-to", type=MomentParameter(), metavar="TIME", help="only those created before this time")
@click.option(
    "--received-from", type=MomentParameter(), metavar="TIME", help="only those received at this time or later"
)
@click.option("--received-to", type=MomentParameter(), metavar="TIME", help="only those received before this time")
@paged
@output()
def list_orders(**given: Any) -> "Output[FoundOrders]":
    """List orders, newest first.

    With times and nothing else, by that time, the latest first. Give at most one of --track-number, --customer-id and
    --transaction, and times of one kind. A line has no personal data; a narrow terminal shows fewer columns. Below a
    page stands the command for the next one.
    """
    from orders.commands import finding, finding_text

    asked = {name: given.pop(name) for name in finding.LIST}
    found = finding.listed(addressed(os.environ, given), asked)
    is_filtered = any(asked[name] for name in finding.FILTERS)
    none = finding_text.NOTHING_FITS if is_filtered else finding_text.NOTHING_STORED
    view = finding_text.View(
        terminal_width(),
        again_at,
        is_first=not asked["cursor"],
        none=none,
        by_creation=any(asked[name] for name in finding.CREATED),
    )
    return Output(found, partial(finding_text.text, view=view))


@command(cli, "find", "orders find +9720001234")
@click.argument("text", required=False)
@click.option("--phone", metavar="TEXT", help="phone of the recipient: its last ten digits, or all if fewer")
@click.option("--email", metavar="TEXT", help="e-mail of the recipient, in any case; needs an index")
@click.option("--name", metavar="TEXT", help="whole name of the recipient, in any case; needs an index")
@click.option("--name-prefix", metavar="TEXT", help="beginning of that name; needs an index; listed from A to Z")
@paged
@output()
def find_orders(text: str | None, **given: Any) -> "Output[FoundOrders]":
    """Find orders by whatever you have in hand.

    TEXT is an order_uid, track number, customer id, id of a payment or phone, as a whole; also an e-mail, a name or its
    beginning, where PostgreSQL has an index for it (docs/search.md). The table says in which field it was found. In
    place of TEXT one of the options looks in one field. Newest first. No line has personal data, nor has a URL or log
    of the service.
    """
    from orders.commands import finding, finding_text

    asked = {"q": text, **{name: given.pop(name) for name in finding.SEARCH}}
    if sum(asked[name] is not None for name in ("q", *finding.FIELDS)) != 1:
        raise UsageError("say what to look for: TEXT, or one of --phone, --email, --name and --name-prefix")
    found = finding.searched(addressed(os.environ, given), asked)
    is_first = not asked["cursor"]
    if found.is_end and is_first and not is_for_programs():
        raise StartError(f"{finding_text.NOTHING_FOUND}{finding_text.looked_in(found.searched)}")
    note = finding_text.BY_BEGINNING if text is not None and not found.matched else ""
    view = finding_text.View(terminal_width(), again_at, note=note, is_first=is_first)
    return Output(found, partial(finding_text.text, view=view), not (found.is_end and is_first))


def terminal_width() -> int | None:
    """Columns of the terminal that is written to; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def again_at(cursor: str) -> str:
    """The command that runs, for another page."""
    return again({"cursor"}, ["--cursor", cursor])


@command(cli, "status", "orders status --json")
@output()
def status(**given: Any) -> "Output[Status]":
    """Show what runs and how it is.

    Readiness, version, uptime, addresses, orders stored and in memory, lag, restore, open dead letters, processes, and
    each partition with why it is stopped if it is. The system is that of the data directory, or the one at
    ORDERS_HTTP_HOST and ORDERS_HTTP_PORT where these are given, on this machine or another. What cannot be asked is
    unknown, with why, and the rest is shown.
    """
    from orders.commands import status_text
    from orders.commands.status import status as asked

    found = asked(os.environ, given)
    return Output(found, partial(status_text.text, width=terminal_width()), found.runs)


@command(cli, "health", "orders health --startup")
@click.option(
    "--writing", "condition", flag_value="ready for writing", help="readiness for POSTs too, not for GETs alone"
)
@click.option("--live", "condition", flag_value="alive", help="whether HTTP answers, in place of readiness")
@click.option(
    "--startup", "condition", flag_value="started", help="whether the start has finished, in place of readiness"
)
@output("the body of the answer")
def health(*, condition: str | None, **given: Any) -> Output[Raw]:
    """Ask whether the system is ready, alive or started.

    Ready is for reading: memory or PostgreSQL can answer a GET. `--writing` asks whether a POST can be stored too.

    For a container's health check: one sentence, and the exit status. The address is the one that is given, else that
    of the system of the data directory; where HTTP listens on all addresses, loopback is asked.
    """
    from orders.system import probe

    result = probe.ask(probe.url_for(addressed(os.environ, given)), condition or "ready")
    return Output(Raw(result.body), lambda _: result.sentence, result.met)


cli.add_command(dead_letters)


@command(cli, "resume", "orders resume --partition 2 --from stored")
@click.option(
    "--partition",
    "partitions",
    type=NATURAL,
    metavar="N",
    multiple=True,
    help="a stopped one, or a new one to be read at once",
)
@click.option("--all", "every", is_flag=True, help="all partitions that are stopped")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    default="stored",
    show_default=True,
    help="where to continue: stored, beginning, end, or an offset",
)
@click.option("--records", type=NATURAL, metavar="N", default=0, help="so many records do not count towards the limit")
@click.option("--skip", is_flag=True, help="continue there even if records before it are then never read")
@output("a JSON array")
def resume(
    *, partitions: tuple[int, ...], every: bool, start: str, records: int, skip: bool, **given: Any
) -> "Outputs[list[Resumed]]":
    """Resume stopped partitions.

    A partition stops where too many of its records become dead letters, retention has passed its position, Kafka's log
    was truncated, what Kafka holds cannot be read, or the topic was recreated; `orders status` says which. Dead letters
    are counted from zero, after the records that --records lets pass. Who resumed what is kept in the table resumes.
    A partition that the topic gained waits for the older ones: --partition has it read at once, and what still comes
    from older ones may then take the place of newer orders.

    Then it waits until an ingest has read on or the partition has stopped again, and says which: until
    ORDERS_DEAD_LETTER_WINDOW records or all that there are have been read. It ends when nothing was read for 15
    seconds, or no ingest runs.
    """
    from orders.commands import resuming, watching
    from orders.commands.positions import INTERRUPTED

    settings = joined(os.environ, given)
    done = resuming.resume(settings, resuming.ResumeRequest(partitions, every, start, records, skip))
    if not is_for_programs():
        click.echo(resuming.text(done.partitions, settings.kafka_topic))
    watched = watching.watch(settings, done) if done.partitions else []
    is_ok = not any(each.state == "stopped" for each in watched)
    yield Output(watched, partial(watching.text, topic=settings.kafka_topic), is_ok)
    if any(each.reason == INTERRUPTED for each in watched):
        raise KeyboardInterrupt


@command(cli, "verify", "orders verify --limit 100")
@click.option("--no-memory", "memory", is_flag=True, flag_value=False, default=True, help="leave memory out")
@click.option(
    "--limit", type=NATURAL, metavar="N", default=20, show_default=True, help="most differences that are shown"
)
@output()
def verify(*, memory: bool, limit: int, **given: Any) -> "Output[VerifyReport]":
    """Compare topic, PostgreSQL and memory.

    The topic is read from its start up to where PostgreSQL is; every order, dead letter and entry of memory is compared
    with what the records say. Changes nothing, and the system may run on meanwhile. All differences are counted, the
    first are shown, never with content. What cannot be judged, such as what retention has removed, is not a difference.
    """
    from orders.verify import report, run

    found = run.verify(joined(os.environ, given), memory=memory, limit=limit)
    return Output(found, report.text, found.same)


@command(cli, "migrate", "orders migrate")
@click.option("--pre", is_flag=True, help="apply only what a start needs, and leave indexes to the running system")
@output()
def migrate(*, pre: bool, **given: Any) -> "Output[Migrated]":
    """Bring PostgreSQL's schema up to date.

    What a start needs is applied first: all of it, or nothing. Then indexes are built beside the system that runs, and
    awaited; on a terminal their progress is shown. Ctrl-C ends that, and the next one begins the index again. Several
    may run at once. `orders run` does the same where its role may, without waiting for indexes. Give this command the
    role that owns the database, and `orders run` one that may do less.
    """
    from orders.commands import client

    with phases() as show:
        migrated = client.migrate(joined(os.environ, given), None if pre else show)
    return Output(migrated, client.migrated_text)


@cli.group("topics")
def topics() -> None:
    """The topic that holds the orders."""


@command(topics, "topics create", "orders topics create --partitions 12 --retention-days 14")
@click.option("--partitions", type=POSITIVE, metavar="N", help="its partitions; unset: ORDERS_KAFKA_PARTITIONS")
@click.option("--replication-factor", type=POSITIVE, metavar="N", help="replicas of each; unset: 3, or one a broker")
@click.option("--retention-days", type=POSITIVE, metavar="N", help="days it keeps records; unset: as the brokers do")
@output()
def create_topic(**given: Any) -> "Outputs[CreatedTopic]":
    """Make the topic, so that orders are safe in it.

    It is made in the given Kafka, or in that of the running system: min.insync.replicas one below the replication
    factor, no unclean leader election, messages of up to 1048588 bytes, cleanup.policy=delete. A topic that is there
    is left as it is; where it falls short, or is not what these options ask for, that is shown with the way to fix it.
    """
    from orders.doctor import creation, show

    asked = creation.TopicRequest(*(given.pop(name) for name in creation.TopicRequest.__struct_fields__))
    found = creation.create(joined(os.environ, given), asked)
    yield Output(found, creation.text, found.created or found.fits)
    if not is_for_programs():
        show.differences(found.checks)


@command(cli, "config", "orders config --json")
@output("a JSON array")
def config(**given: Any) -> Output[list[Effective]]:
    """Show every setting and where it comes from.

    Secrets are masked. With a running system in the data directory it is what a command that joins it uses.
    """
    from orders.commands import config

    return Output(config.effective(os.environ, given), config.text)


@command(cli, "doctor", "orders doctor")
@output()
def doctor(**given: Any) -> "Output[Checks]":
    """Check all that the system stands on.

    Python and its packages, settings, the data directory, disk, memory, the port, PostgreSQL, Kafka and the topic, and
    the system itself if it runs. Says what to do where something is wrong, and changes nothing. Ends within 15 seconds,
    whatever hangs.
    """
    from orders.doctor import examine, show
    from orders.doctor.check import checks_of

    checks = examine.examine(os.environ, given)
    found = checks_of(checks if is_for_programs() else show.one_by_one(checks))
    return Output(found, show.summary, found.ok)


@command(cli, "completion", "orders completion zsh > ~/.zfunc/_orders")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for the Tab key.

    Where it belongs:

    \b
    bash  ~/.local/share/bash-completion/completions/orders
    zsh   ~/.zfunc/_orders, with `fpath+=~/.zfunc` in ~/.zshrc before compinit
    fish  ~/.config/fish/completions/orders.fish

    New shells then complete commands and options of `orders`, also when it is called `./orders` or by another path.
    """  # noqa: D301 - the \\b is click's mark for lines that stay as they are
    from orders.commands.completion import script

    click.echo(script(cli, shell))
