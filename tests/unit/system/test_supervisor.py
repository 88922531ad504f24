"""What the supervisor does where the machine lets it down."""

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from orders.metrics.table import ProcessKind
from orders.settings import Settings
from orders.system import state
from orders.system.claims import claimed
from orders.system.shutdown import StopSignal
from orders.system.steps import Steps
from orders.system.supervisor import System

if TYPE_CHECKING:
    from orders.system.children import Child


def test_a_state_that_cannot_be_saved_is_logged_once_and_saved_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends nothing that runs."""
    given = Settings(data_dir=str(tmp_path), postgres_dsn="host=127.0.0.1", kafka_bootstrap="127.0.0.1:1")
    stop, save = StopSignal(), state.save

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


class Lost(NamedTuple):
    """A child that runs no more."""

    kind: ProcessKind
    process: None = None
    works: bool = False

    def ask_to_stop(self) -> None:
        """Nothing is there to be asked."""


@pytest.mark.parametrize("draining", [False, True])
def test_a_keeper_that_is_lost_is_seen_also_while_the_system_drains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draining: bool
) -> None:
    """HTTP answers on from memory meanwhile, and the keeper is not started again."""
    given = Settings(data_dir=str(tmp_path), postgres_dsn="host=127.0.0.1", kafka_bootstrap="127.0.0.1:1")
    stop, seen = StopSignal(), list[bool]()
    with ExitStack() as held:
        system = System(replace(given, drain_seconds=60.0), stop, Steps(stop), held)
        monkeypatch.setattr(system._unheard, "tend", lambda *, heard: seen.append(heard))
        system._children = [cast("Child", Lost("keep")), cast("Child", Lost("serve"))]
        if draining:
            system._drain(socket.socket())
        else:
            system._tend_memory()
    assert seen == [False]
