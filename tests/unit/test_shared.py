"""A service that several workers of a run use is started once, and stays until the last has left."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from support.shared import Shared
from support.standin import StandIn
from support.waiting import wait_for


def test_all_workers_have_one_service_and_the_first_ends_it_after_the_last_left(tmp_path: Path) -> None:
    first, second = Shared(tmp_path), Shared(tmp_path)
    started, joined = (each.service("stand-in", StandIn) for each in (first, second))
    assert started.pid == joined.pid is not None
    assert started.running()
    leaving = Event()

    def leave() -> None:
        leaving.set()
        first.leave()

    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(leave)
        leaving.wait(10)
        assert started.running()
        second.leave()
        left.result(10)
    assert joined.pid is None


def test_who_comes_while_the_first_waits_for_its_end_has_another(tmp_path: Path) -> None:
    first, second, third = Shared(tmp_path), Shared(tmp_path), Shared(tmp_path)
    started = first.service("stand-in", lambda folder: StandIn(folder / "first"))
    second.service("stand-in", lambda folder: StandIn(folder / "first"))
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(first.leave)
        wait_for(lambda: not (tmp_path / "stand-in.json").exists(), "the first one leaves")
        later = third.service("stand-in", lambda folder: StandIn(folder / "third"))
        assert later.pid != started.pid
        second.leave()
        left.result(10)
    assert started.pid is None
    assert later.running()
    third.leave()
    assert later.pid is None


def test_a_service_whose_starter_died_is_started_again(tmp_path: Path) -> None:
    """Its file tells of one that does not run any more."""
    Shared(tmp_path).service("stand-in", StandIn).stop()
    again = Shared(tmp_path)
    assert again.service("stand-in", StandIn).running()
    again.leave()
