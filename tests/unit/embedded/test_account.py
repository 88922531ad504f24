"""As whom PostgreSQL runs, decided without it."""

import os
import sys
from pathlib import Path

import pytest

from orders.embedded import account
from orders.embedded.account import Account
from orders.errors import StartError

PROGRAM = Path(sys.executable)


def as_root_with(monkeypatch: pytest.MonkeyPatch, *candidates: Account) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "_candidates", lambda: list(candidates))


def ours(*prefix: str) -> Account:
    return Account(os.getuid(), -1, prefix)


def test_an_ordinary_user_runs_it_without_ado(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert account.choose(PROGRAM, tmp_path) == Account(4711, -1)


def test_root_takes_the_first_account_that_reaches_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A way that the machine lacks, and one that it forbids, are passed over."""
    as_root_with(monkeypatch, ours("no-such-program"), ours("false"), ours("env"), ours())
    assert account.choose(PROGRAM, tmp_path) == ours("env")


def test_when_no_account_will_do_the_sentence_names_what_must_be_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_root_with(monkeypatch, ours("false"))
    with pytest.raises(StartError, match="refuses to run as root") as told:
        account.choose(PROGRAM, tmp_path)
    assert str(tmp_path) in str(told.value)


def test_what_cannot_be_reached_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_root_with(monkeypatch, ours())
    with pytest.raises(StartError):
        account.choose(tmp_path / "no-such-program", tmp_path)


@pytest.mark.root
def test_owning_changes_everything_in_the_directory_but_follows_no_link(tmp_path: Path) -> None:
    outside, directory = tmp_path / "outside", tmp_path / "directory"
    (directory / "deep").mkdir(parents=True)
    for file in (outside, directory / "deep" / "file"):
        file.touch()
    (directory / "link").symlink_to(outside)
    Account(4711, 4711).own(directory)
    owned = [directory, *directory.rglob("*")]
    assert {path.lstat().st_uid for path in owned} == {4711}
    assert outside.stat().st_uid == os.getuid()
