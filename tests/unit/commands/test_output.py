"""One model for a command: `--json`, the text for a person, the exit status and the docs come from it."""

import sys
from collections.abc import Callable, Iterator

import click
import pytest
from click.testing import CliRunner
from msgspec import Struct

from orders.commands.output import Output, Outputs, is_for_programs, output


class Counted(Struct, frozen=True):
    count: int


def text(found: Counted) -> str:
    return f"{found.count} in all"


def lines_text(found: Iterator[Counted]) -> str:
    return ", ".join(map(text, found))


Shown = Output[Counted] | Outputs[Counted] | Outputs[Iterator[Counted]]


def run(function: Callable[..., Shown], *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    done = CliRunner().invoke(click.command()(output()(function)), words)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("made", "person", "program"),
    [
        (Output(Counted(2), text), (0, "2 in all\n", ""), (0, '{"count":2}\n', "")),
        (Output(Counted(2), text, is_ok=False), (1, "2 in all\n", ""), (1, '{"count":2}\n', "")),
        (Output(Counted(2), text, on_stderr=True), (0, "", "2 in all\n"), (0, '{"count":2}\n', "")),
        (Output(Counted(2), lambda _: ""), (0, "", ""), (0, '{"count":2}\n', "")),
        (Output(Counted(2), None), (0, '{"count":2}\n', ""), (0, '{"count":2}\n', "")),
    ],
)
def test_a_model_is_a_text_for_a_person_and_json_for_programs(
    made: Output[Counted], person: tuple[int, str, str], program: tuple[int, str, str]
) -> None:
    assert (run(lambda: made), run(lambda: made, "--json")) == (person, program)


def test_items_are_a_line_each_and_written_as_they_come() -> None:
    """A command that streams is cut off by a failure behind what it wrote."""

    def counting() -> Iterator[Counted]:
        yield from map(Counted, (1, 2))
        if is_for_programs():
            sys.exit(3)

    def stream() -> Outputs[Iterator[Counted]]:
        yield Output(counting(), lines_text)

    assert run(stream) == (0, "1 in all, 2 in all\n", "")
    assert run(stream, "--json") == (3, '{"count":1}\n{"count":2}\n', "")


def test_what_follows_an_output_ends_the_command_and_a_failed_one_is_still_closed() -> None:
    closed: list[str] = []

    def ends() -> Outputs[Counted]:
        try:
            yield Output(Counted(1), text, is_ok=False)
            sys.exit(5)
        finally:
            closed.append("ends")

    def fails(_: Counted) -> str:
        raise BrokenPipeError

    def broken() -> Outputs[Counted]:
        try:
            yield Output(Counted(1), fails)
        finally:
            closed.append("broken")

    assert run(ends) == (5, "1 in all\n", "")
    run(broken)
    assert closed == ["ends", "broken"]
