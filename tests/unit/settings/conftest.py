"""No settings file of the developer's, and an empty working directory, for every test of settings."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(autouse=True)
def elsewhere(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(working_directory)
