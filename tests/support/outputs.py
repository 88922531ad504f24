"""What commands write with `--json`, held to the models from which docs/commands.md describes it."""

from collections.abc import Sequence

import click
import msgspec

from orders.commands.cli import cli
from tools.outputs import forms_of


def hold_to_model(words: Sequence[str], written: bytes) -> None:
    """Raises where the output of a command decodes into another model than its own, or has a field more."""
    if "--json" not in words or not written:
        return
    command: click.Command = cli
    for word in words:
        if isinstance(command, click.Group):
            command = command.commands[word]
    forms = forms_of(command)
    if len(forms) > 1:  # `dead-letters export`
        forms = [form for form in forms if form.is_lines is not ("--raw" in words)]
    lines = written.splitlines()
    for form in forms:
        assert form.is_lines or len(lines) == 1
        for line in lines:
            assert msgspec.json.encode(msgspec.json.decode(line, type=form.model)) == line
