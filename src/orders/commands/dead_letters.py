"""The commands of `orders dead-letters`."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from orders.commands.options import POSITIVE, MomentParameter, command, progress
from orders.commands.output import Output, Outputs, is_for_programs, output
from orders.errors import StartError, UsageError
from orders.system.state import joined

if TYPE_CHECKING:
    from orders.dead_letters.actions import DeadLetter, Discarded, Edited, Exported, Shown, Written
    from orders.dead_letters.replay import Replayed
    from orders.dead_letters.stored import Wanted
    from orders.postgres.connection import Connection
    from orders.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
FILTERS = ("reason", "since", "until", "topic", "partition")
STATES = ("open", "replayed", "discarded")


def choosing(function: F) -> F:
    """Adds the filters."""
    for decorate in (
        click.option(
            "--partition", type=click.IntRange(0, 2**31 - 1), metavar="N", help="only those of this partition"
        ),
        click.option("--topic", metavar="TEXT", help="only those of this topic"),
        click.option("--until", type=MomentParameter(), metavar="TIME", help="only those refused before this time"),
        click.option(
            "--since",
            type=MomentParameter(),
            metavar="TIME",
            help="only those refused at this time or later; UTC without an offset",
        ),
        click.option("--reason", metavar="TEXT", help="only those whose reason contains TEXT, in any case"),
    ):
        function = decorate(function)
    return function


def acting(function: F) -> F:
    """Adds what acts on many: ids or filters, or all; and the agreement to it."""
    for decorate in (
        click.option("--yes", is_flag=True, help="do not ask; for scripts"),
        click.option("--all", "everything", is_flag=True, help="all of them"),
        choosing,
        click.argument("ids", type=click.IntRange(min=1, max=2**63 - 1), metavar="[ID]...", nargs=-1),
    ):
        function = decorate(function)
    return function


def of_state(function: F) -> F:
    """Adds `--state`."""
    return click.option("--state", type=click.Choice(STATES), help="only those in this state")(function)


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that were refused: why, and what to do about them."""


@command(dead_letters, "dead-letters list", "orders dead-letters list --state open --limit 5")
@choosing
@of_state
@click.option("--limit", type=POSITIVE, metavar="N", default=20, show_default=True, help="show at most N")
@output("one JSON object per line")
def list_dead_letters(*, limit: int, **given: Any) -> "Output[Iterator[DeadLetter]]":
    """Show the newest dead letters.

    Number, when they were refused, state, where they stood, their key if it is a valid order_uid, what is wrong and
    where. Never their content.
    """
    from orders.dead_letters import actions

    wanted = wanted_of(given, given.pop("state"))
    settings = joined(os.environ, {name: value for name, value in given.items() if name not in FILTERS})
    return Output(iter(actions.listed(settings, wanted, limit)), actions.listed_text)


@command(dead_letters, "dead-letters show", "orders dead-letters show 42")
@click.argument("number", type=click.IntRange(min=1, max=2**63 - 1), metavar="ID")
@output()
def show(number: int, **given: Any) -> "Output[Shown]":
    """Show one dead letter with its content.

    Place, reason, key, headers, value, and all that was done about it. Bytes that cannot be read are in base64. What is
    shown may be personal data.
    """
    from orders.dead_letters import actions

    return Output(actions.show(joined(os.environ, given), number), actions.shown_text)


@command(dead_letters, "dead-letters replay", "orders dead-letters replay --reason 'Invalid JSON' --yes")
@acting
@click.option("--force", is_flag=True, help="also where the stored order is newer, and without the message's condition")
@click.option(
    "--deadline",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="how long outcomes are waited for",
)
@output("one JSON object per line")
def replay(*, force: bool, deadline: float, **given: Any) -> "Outputs[Iterator[Replayed]]":
    """Send dead letters to Kafka again.

    By number, by filters, or all that are open; oldest first. Each goes the way of any message, with the bytes of its
    last edit if it was edited, and replaces no order that is newer than it was. What is refused again stays open.
    Filters leave out what was replayed or discarded already; by number it is sent again.
    """  # fmt: skip
    from orders.dead_letters import actions
    from orders.record import SETTLING
    from orders.system import state

    with agreed(given, "replayed", "open") as choice:
        state.require(choice.settings, "kafka_bootstrap")
        total, counts = len(choice.ids), Counter[str | None]()
        results = actions.replay(choice.settings, choice.connection, choice.ids, forced=force, deadline=deadline)
        with closing(with_progress(results, total, alone=not is_for_programs())) as shown:
            yield Output(actions.counted(shown, counts), partial(actions.replays_text, counts=counts, total=total))
    if sum(counts[each] for each in SETTLING) < total:
        sys.exit(1)


@command(dead_letters, "dead-letters edit", "orders dead-letters edit 42 fixed.json")
@click.argument("number", type=click.IntRange(min=1, max=2**63 - 1), metavar="ID")
@click.argument("file", type=click.File("rb"), required=False)
@output()
def edit(number: int, file: IO[bytes] | None, **given: Any) -> "Output[Edited]":
    """Keep a fixed value for a dead letter.

    From FILE (`-`: standard input), or on a terminal with $EDITOR. The bytes that came stay; a replay sends the last
    edit. What is still wrong with it is said at once.
    """
    from orders.dead_letters import actions, stored
    from orders.order import MAX_DOCUMENT_BYTES

    settings = joined(os.environ, given)
    with actions.opened(settings) as connection:
        found = stored.dead_letter(connection, number)
        value = file.read(MAX_DOCUMENT_BYTES + 1) if file else by_hand(found.current)
        edited = actions.edit(connection, number, value, settings.order_nesting)
    return Output(edited, actions.edited_text, edited.valid)


def by_hand(value: bytes | None) -> bytes:
    """What somebody makes of a value in an editor."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this is not a terminal to edit on: give a FILE, or `-` for standard input")
    edited = click.edit(value or b"", extension=".json")
    if edited is None:
        raise StartError("the editor was left without a change: nothing was kept")
    return edited


@command(dead_letters, "dead-letters discard", "orders dead-letters discard --until 2026-01-31")
@acting
@output()
def discard(**given: Any) -> "Output[Discarded]":
    """Mark dead letters as dealt with.

    By number, by filters, or all that are open. They stay, with their bytes, and can still be replayed by number.
    """
    from orders.dead_letters import actions

    with agreed(given, "discarded", "open") as choice, progress(len(choice.ids), alone=True) as advance:
        actions.discard(choice.connection, choice.ids, advance)
    return Output(actions.Discarded(len(choice.ids), choice.left_out), actions.discarded_text)


@command(dead_letters, "dead-letters export", "orders dead-letters export --all --yes > dead-letters.ndjson")
@acting
@of_state
@click.option("--raw", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="values, a file each")
@output("with --raw one JSON object; without, it is JSON lines anyway")
def export(
    *, raw: Path | None, state: str | None, **given: Any
) -> "Generator[Output[Iterator[Exported]] | Output[Written], None, None]":
    """Write dead letters with their content.

    By number, by filters, or all; oldest first. One JSON object per line with bytes in base64; with --raw each value
    as it came, in a file of its number's name, and an edit beside it. What is written may be personal data.
    """
    from orders.dead_letters import actions

    with agreed(given, "exported", state) as choice:
        dead_letters = actions.export(choice.connection, choice.ids)
        with closing(with_progress(dead_letters, len(choice.ids), alone=raw is not None)) as shown:
            if raw is None:
                lines: Iterator[Exported] = map(actions.exported, shown)
                yield Output(lines, text=None)
            else:
                yield Output(actions.write_raw(raw, shown), actions.written_text)


T = TypeVar("T")


def with_progress(items: Iterable[T], total: int, *, alone: bool) -> Generator[T, None, None]:
    """The same items; how many of `total` there were is shown until there are no more."""
    with progress(total, alone=alone) as advance:
        for item in items:
            yield item
            advance(1)


class Choice(NamedTuple):
    """The dead letters that a command acts on, oldest first; and how many its filters met that are done with."""

    settings: "Settings"
    connection: "Connection"
    ids: list[int]
    left_out: int


@contextmanager
def agreed(given: dict[str, Any], deed: str, state: str | None) -> Iterator[Choice]:
    """What is to be `deed`, once the person at it agreed; numbers mean dead letters in any state."""
    from orders.dead_letters import stored
    from orders.dead_letters.actions import opened

    numbers, everything, yes = given.pop("ids"), given.pop("everything"), given.pop("yes")
    wanted = wanted_of(given, None if numbers else state)._replace(ids=numbers or None)
    filters = [given.pop(name) for name in FILTERS]
    if bool(numbers) + any(each is not None for each in filters) + everything != 1:
        raise UsageError("name them: by numbers, by filters, or with --all")
    settings = joined(os.environ, given)
    with opened(settings) as connection:
        choice = Choice(settings, connection, *stored.chosen(connection, wanted))
        if choice.left_out:
            click.echo(f"{choice.left_out} more are not {state} and stay as they are", err=True)
        if choice.ids and not (yes or numbers):
            agree(f"{len(choice.ids)} dead letters", deed)
        yield choice


def agree(what: str, deed: str) -> None:
    """Raises an error of ours unless the person at the terminal says yes."""
    if not sys.stdin.isatty():
        raise UsageError(f"{what} would be {deed}: add --yes to do it")
    if not click.confirm(f"{what} will be {deed}. Continue?", err=True):
        raise StartError("nothing was done")


def wanted_of(given: Mapping[str, Any], state: Any) -> "Wanted":
    """The filters of a command."""
    from orders.dead_letters.stored import Wanted

    return Wanted(**{name: given[name] for name in FILTERS}, state=state)
