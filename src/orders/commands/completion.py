"""Scripts that complete our commands in a shell, however the program was called: `orders`, `./orders`, a path."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_ORDERS_COMPLETE"
"""What click looks for when the script calls us; its name is made of the program's."""
AS_TYPED = {
    "bash": {},
    "zsh": {
        "    (( ! $+commands[orders] )) && return 1\n": "",
        "=zsh_complete orders)": "=zsh_complete ${(Q)~words[1]})",
    },
    "fish": {"COMP_CWORD=(commandline -t) orders)": "COMP_CWORD=(commandline -t) (commandline -opc)[1])"},
}
"""What is changed in click's scripts: those for zsh and fish call the program by its name, as if it were in `$PATH`."""


def script(cli: click.Command, shell: str) -> str:
    """The script for bash, zsh or fish."""
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    text = kind(cli, {}, "orders", VARIABLE).source()
    for of_click, ours in AS_TYPED[shell].items():
        if of_click not in text:
            raise LookupError(of_click)
        text = text.replace(of_click, ours)
    return text
