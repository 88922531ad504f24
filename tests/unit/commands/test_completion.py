"""Completion, asked by a real shell for a program that is not in its path, as in a checkout."""

import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orders.commands import completion
from orders.commands.cli import cli
from orders.commands.completion import script

ASK = {
    "bash": 'COMP_WORDS=({words}); COMP_CWORD={last}; _orders_completion ./orders; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "fish": "complete --do-complete {typed}",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with `./orders` in it, whose name has a space and is not ASCII."""
    folder = tmp_path / "a чекаут"
    folder.mkdir()
    program = folder / "orders"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m orders "$@"\n')
    program.chmod(0o755)
    return folder


def asked(shell: str, checkout: Path, *words: str) -> list[str]:
    (checkout / "script").write_text(script(cli, shell))
    typed = ["./orders", *words]
    question = ASK[shell].format(words=shlex.join(typed), last=len(words), typed=shlex.quote(" ".join(typed)))
    command = [shell, "-c", f"source ./script; {question}"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, timeout=30)
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "shell", ["bash", pytest.param("fish", marks=pytest.mark.skipif(not shutil.which("fish"), reason="no fish"))]
)
def test_commands_and_options_and_words_are_completed(shell: str, checkout: Path) -> None:
    assert asked(shell, checkout, "do") == ["doctor"]
    assert asked(shell, checkout, "dead-letters", "l") == ["list"]
    assert asked(shell, checkout, "run", "--kafka-prot") == ["--kafka-protocol"]
    assert sorted(asked(shell, checkout, "run", "--log-format", "")) == ["console", "json"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_takes_the_script_and_asks_the_program_as_it_was_typed(checkout: Path) -> None:
    # zsh completes in an interactive session only: here it is asked as its completion system asks the function.
    (checkout / "script").write_text(script(cli, "zsh"))
    fakes = "compdef() { : }; compadd() { : }; _describe() { print -l -- $completions_with_descriptions }"
    question = f"{fakes}; source ./script; words=(./orders do); CURRENT=2; _orders_completion"
    done = subprocess.run(
        ["zsh", "-fc", question], cwd=checkout, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "doctor:Check all that the system stands on.\n"


def test_bash_calls_it_for_the_name_however_the_program_is_called(checkout: Path) -> None:
    (checkout / "script").write_text(script(cli, "bash"))
    done = subprocess.run(
        ["bash", "-c", "source ./script; complete -p orders"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert done.stdout == "complete -o nosort -F _orders_completion orders\n"


def test_an_answer_takes_little_time(checkout: Path) -> None:
    # The shell waits for it at each press of the key; CPU time, with room for a slow machine.
    before = cpu_seconds_of_children()
    asked("bash", checkout, "do")
    assert cpu_seconds_of_children() - before < 0.8


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_script_of_click_that_changed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(completion.AS_TYPED, "zsh", {"what click once wrote": ""})
    with pytest.raises(LookupError):
        script(cli, "zsh")
