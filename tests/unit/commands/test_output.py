"""One model for a command: `--json`, the text for a person, the exit status and the docs come from it."""

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, get_args

import click
import pytest
from click.testing import CliRunner
from msgspec import Meta, Struct

from orders.commands.cli import cli
from orders.commands.dead_letters import STATES
from orders.commands.output import Output, Outputs, is_for_programs, output
from orders.dead_letters.stored import DeadLetterState
from tools.docs import walked
from tools.outputs import Form, fields_of, forms_of


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


class Part(Struct, frozen=True, omit_defaults=True):
    size: Annotated[int, Meta(description="in bytes")]
    name: Annotated[str | None, Meta(description="as given")] = None


class Whole(Struct, frozen=True):
    parts: Annotated[list[Part], Meta(description="all of them")]
    last: Annotated[Part | None, Meta(description="the last one")]


def test_fields_are_named_by_their_path_and_objects_of_one_kind_described_once() -> None:
    assert fields_of(Whole) == [
        ("parts", "array of objects", "all of them"),
        ("parts[].size", "integer", "in bytes"),
        ("parts[].name", "string, or left out", "as given"),
        ("last", "object or null", "the last one; fields as in `parts`"),
    ]


# ---- the commands ----

COMMANDS = {path: command for path, command in walked(cli) if any("--json" in each.opts for each in command.params)}
FORMS = {path: forms_of(command) for path, command in COMMANDS.items()}


def test_every_command_with_json_has_a_model() -> None:
    """`orders health` alone hands out what HTTP returned."""
    assert [path for path, forms in FORMS.items() if not forms] == ["health"]


@pytest.mark.parametrize(("path", "form"), [(path, form) for path, forms in FORMS.items() for form in forms])
def test_every_field_of_a_model_says_what_it_means(path: str, form: Form) -> None:
    found = fields_of(form.model)
    assert found
    assert not [each.path for each in found if not each.meaning], path
    assert form.about


@pytest.mark.parametrize(("path", "form"), [(path, forms[0]) for path, forms in FORMS.items() if len(forms) == 1])
def test_help_says_what_kind_of_json_a_command_writes(path: str, form: Form) -> None:
    (option,) = (each for each in COMMANDS[path].params if isinstance(each, click.Option) and "--json" in each.opts)
    kind = {"one array of objects": "a JSON array", "one object": "one JSON object"}.get(form.in_words)
    assert option.help == f"for programs: {kind or 'one JSON object per line'}"


def test_the_states_that_commands_offer_are_those_of_dead_letters() -> None:
    """They stand twice, since no command loads dead letters before it runs."""
    assert get_args(DeadLetterState) == STATES
