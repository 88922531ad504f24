"""What a command shows: one model, as JSON for programs (`--json`) and as a text for a person.

A command that has data returns its `Output`, or yields it where more follows; its return annotation names the model,
from which docs/commands.md has the fields.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import wraps
from typing import Any, Generic, NamedTuple, TypeVar

import click
import msgspec

M = TypeVar("M")


class Output(NamedTuple, Generic[M]):
    """What was found, and how a person reads it; not `is_ok` is exit status 1.

    The items of an iterator are a line of JSON each, written as they come. An empty text is not shown; where `text` is
    None a person reads the JSON too.
    """

    found: M
    text: Callable[[M], str] | None
    is_ok: bool = True
    on_stderr: bool = False
    """Whether the text goes to standard error."""

    def write(self, *, as_json: bool) -> None:
        """Writes it to standard output."""
        if as_json or self.text is None:
            for each in self.found if isinstance(self.found, Iterator) else (self.found,):
                click.echo(msgspec.json.encode(each))
        elif text := self.text(self.found):
            click.echo(text, err=self.on_stderr)


Outputs = Generator[Output[M], None, None]
"""Of a command that streams, or that ends in its own way after its output."""


def output(what: str = "one JSON object") -> Callable[[Callable[..., Output[Any] | Outputs[Any]]], Callable[..., None]]:
    """Adds `--json` to a command, and writes what the command returns or yields."""

    def decorate(function: Callable[..., Output[Any] | Outputs[Any]]) -> Callable[..., None]:
        @wraps(function)
        def run(*arguments: Any, as_json: bool, **given: Any) -> None:
            made = function(*arguments, **given)
            is_ok = True
            with closing(_alone(made) if isinstance(made, Output) else made) as outputs:
                for each in outputs:
                    each.write(as_json=as_json)
                    is_ok = is_ok and each.is_ok
            if not is_ok:
                sys.exit(1)

        return click.option("--json", "as_json", is_flag=True, help=f"for programs: {what}")(run)

    return decorate


def _alone(made: Output[M]) -> Outputs[M]:
    yield made


def is_for_programs() -> bool:
    """Whether the command that runs writes JSON: nothing else is to be shown on the way then."""
    return bool(click.get_current_context().params["as_json"])
