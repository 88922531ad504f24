"""What the supervisor does where the machine lets it down."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orders.settings import Settings
from orders.system import state
from orders.system.place import claimed
from orders.system.steps import Steps
from orders.system.stopping import Stop
from orders.system.supervisor import System


def test_a_state_that_cannot_be_saved_is_logged_once_and_saved_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends nothing that runs."""
    given = Settings(data_dir=str(tmp_path), postgres_dsn="host=127.0.0.1", kafka_bootstrap="127.0.0.1:1")
    stop, save = Stop(), state.save

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with claimed(tmp_path) as claim, ExitStack() as held, capture_logs() as logs:
        system = System(given, stop, Steps(stop), held)
        system._claim = claim
        monkeypatch.setattr(state, "save", full)
        for _ in range(2):
            system._save_state()
        assert not (tmp_path / "state.json").exists()
        monkeypatch.setattr(state, "save", save)
        system._tend_once()
        assert [each.kind for each in state.alive(tmp_path, state.load(tmp_path))] == ["run"]
    assert [(each["event"], each["reason"]) for each in logs] == [("state_not_saved", "No space left on device")]
