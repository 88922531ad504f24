"""What every command is made of: options from the table of settings, example, exit status, sentences for errors."""

import errno
import os
import shlex
import signal
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Literal, NoReturn, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource

from orders.errors import OrdersError, UsageError
from orders.settings.loading import log_format
from orders.settings.table import DEFAULTS, OPTIONS, kinds, option, purpose, variable

F = TypeVar("F", bound=Callable[..., Any])


POSITIVE = click.IntRange(1, 1_000_000)
WRONG_USAGE = 2
BY_SIGNAL = "signal"
_SERVICE = {
    "1": "it could not start, or could not continue",
    BY_SIGNAL: "it was stopped: it ends by that signal (in a shell 130, 143 or 129)",
}
_EXITS: Mapping[str, Mapping[str, str]] = {
    "run": _SERVICE,
    "serve": _SERVICE,
    "ingest": _SERVICE,
    "keep": _SERVICE,
    "sample": {"0": "written", "1": "the output takes no more"},
    "send": {
        "0": "all orders are in Kafka, or all but those left out as asked; with --wait, all are stored",
        "1": "something is not a valid order or too large, or not all are known to be in Kafka or, with --wait, stored",
    },
    "validate": {"0": "all are valid orders", "1": "at least one is not a valid order"},
    "get": {"0": "shown", "1": "there is no such order, or nobody answers"},
    "list": {
        "0": "shown, if there are any",
        "1": "nobody answers, or PostgreSQL is unavailable or builds an index",
    },
    "find": {
        "0": "at least one was found",
        "1": "none was found, or it failed as `orders list` does",
    },
    "health": {"0": "the condition is met", "1": "it is not met, or nobody answers"},
    "status": {"0": "something runs", "1": "nothing runs"},
    "dead-letters list": {"0": "shown, if there are any", "1": "PostgreSQL cannot be asked"},
    "dead-letters show": {"0": "shown", "1": "PostgreSQL cannot be asked"},
    "dead-letters replay": {
        "0": "all of them are dealt with",
        "1": "some stay open or have no outcome yet, or PostgreSQL or Kafka is unavailable or refuses",
    },
    "dead-letters edit": {
        "0": "kept, and a valid order",
        "1": "kept, and still wrong; or it cannot be kept",
    },
    "dead-letters discard": {"0": "done", "1": "it cannot be, or you said no: nothing was done"},
    "dead-letters export": {"0": "written", "1": "not all is: the output takes no more, or PostgreSQL is unavailable"},
    "resume": {
        "0": "resumed, and none has stopped again; or none is stopped",
        "1": "one stopped again; or one is not stopped, or PostgreSQL or Kafka fails: nothing was changed",
    },
    "verify": {"0": "no difference", "1": "there are differences, or something cannot be read"},
    "migrate": {
        "0": "the schema is that of this release",
        "1": "PostgreSQL is unavailable or refuses; indexes that were built before stay",
    },
    "config": {"0": "shown", "1": "it cannot be shown"},
    "doctor": {"0": "all is ok, but for warnings", "1": "a check failed"},
    "topics create": {
        "0": "made, or there and as it must be",
        "1": "there and not as it must be, or Kafka is unavailable or refuses",
    },
    "completion": {"0": "printed", "1": "the output takes no more"},
}


def exits(path: str) -> Mapping[str, str]:
    """What each exit status of a command means; the help, the docs and the tests have it from here."""
    return dict(sorted({**_EXITS[path], str(WRONG_USAGE): "wrong usage"}.items()))


AS_IT_IS = "\b"
"""Click's mark for a paragraph whose lines stay."""


def command(group: click.Group, path: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function the command `path` of a group, with the options of its settings.

    Its help ends with an example and the exit statuses.
    """
    statuses = "\n".join(f"  {status:<6}  {meaning}" for status, meaning in exits(path).items())
    epilog = f"Example: {example}\n\n{AS_IT_IS}\nExit status:\n{statuses}"
    named = group.command(path.rsplit(maxsplit=1)[-1], epilog=epilog)
    return lambda function: named(with_settings(function, path))


def with_settings(function: F, path: str) -> F:
    """Adds the options of a command's settings, made from the table in `settings`."""
    for name in reversed(OPTIONS.get(path, ())):
        kind = get_args(kinds()[name])[0]
        shown = f", default {DEFAULTS[name]}" if DEFAULTS[name] != "" else ""
        function = click.option(
            option(name),
            type=parameter(kind),
            metavar=metavar(kind),
            help=f"{purpose(name, path)}  [{variable(name)}{shown}]",
        )(function)
    return function


class MomentParameter(click.ParamType[datetime]):
    """A time of ISO 8601; in UTC where it has no offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time, or click's own error."""
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time such as 2026-01-31 or 2026-01-31T12:00:00+03:00", param, ctx)


def parameter(kind: Any) -> click.ParamType[Any]:
    """Words are checked here; numbers where the variables are, in one place with one message."""
    return click.Choice(get_args(kind)) if get_origin(kind) is Literal else click.STRING


def metavar(kind: Any) -> str | None:
    return None if get_origin(kind) is Literal else {int: "N", float: "SECONDS"}.get(kind, "TEXT")


def again(but: Collection[str], added: Sequence[str]) -> str:
    """The command that runs as it was typed, in the words of a shell: without some of its options, and with others."""
    context = click.get_current_context()
    arguments, options = list[str](), list[str]()
    for each in context.command.params:
        if each.name in but or context.get_parameter_source(each.name or "") is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[each.name or ""]
        given = value.isoformat() if isinstance(value, datetime) else str(value)
        if isinstance(each, click.Option):
            options += [each.opts[0], given] if not given.startswith("-") else [f"{each.opts[0]}={given}"]
        else:
            arguments += [given]
    if any(each.startswith("-") for each in arguments):
        arguments.insert(0, "--")
    return shlex.join([*context.command_path.split(), *options, *added, *arguments])


@contextmanager
def progress(total: int, *, alone: bool = False) -> Iterator[Callable[[int], None]]:
    """What is called with how many more are done, while standard output is written to a file, or nothing is (`alone`).

    Into a pipe nothing is shown: anyone who reads it may show something of its own.
    """
    if not sys.stderr.isatty() or not (alone or is_file(sys.stdout)):
        yield lambda _: None
        return
    from orders.system.progress_bar import CountingBar  # noqa: PLC0415 - slow to import, and only where it is seen

    with CountingBar(total) as bar:
        yield bar.advance


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """What is called with a phase, how many are done of it, and of how many; it is shown on a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from orders.system.progress_bar import PhaseBar  # noqa: PLC0415 - as above

    with PhaseBar() as bar:
        yield bar.at


def is_file(output: IO[str]) -> bool:
    """Whether an output is neither a terminal nor a pipe."""
    return not output.isatty() and not stat.S_ISFIFO(os.fstat(output.fileno()).st_mode)


@contextmanager
def sentences() -> Iterator[None]:
    """Ends the process with one sentence for an error of ours, and in silence when nobody reads the output.

    Wrong usage is shown as click does. Ctrl-C ends it by its signal, as any program is ended.
    """
    try:
        yield
        sys.stdout.flush()
    except OrdersError as error:
        end(str(error), WRONG_USAGE if isinstance(error, UsageError) else 1)
    except click.ClickException as error:
        if not logs_json(sys.argv[1:], os.environ):
            error.show()
            sys.exit(error.exit_code)
        end(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit would complain again
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        end(f"{error.strerror}: {error.filename or 'the output'}", 1)


def end(sentence: str, status: int) -> NoReturn:
    """Ends the process with a sentence; as an event where standard error has nothing but JSON."""
    if logs_json(sys.argv[1:], os.environ):
        from orders import logs  # noqa: PLC0415 - the other commands have no logs

        logs.tell_end(sys.argv[1], sentence, status)
    else:
        click.echo(f"orders: {sentence}", err=True)
    sys.exit(status)


def logs_json(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a command is a process with logs, and they are JSON; also where other settings are wrong."""
    return _EXITS.get("".join(words[:1])) is _SERVICE and log_format(words, environment) == "json"
