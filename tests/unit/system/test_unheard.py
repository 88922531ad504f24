"""When memory is sealed because no keeper runs: at once, again after each loss, and tried until it succeeds."""

import threading
from collections.abc import Iterator

import pytest

from orders.errors import OrdersError, Unavailable
from orders.system.unheard import RETRY_SECONDS, Unheard
from support.waiting import wait_for


class Scene:
    """What was asked to seal memory, which fails while PostgreSQL is `unavailable` and waits while it is `silent`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.unavailable: OrdersError | None = None
        self.answering = threading.Event()
        self.answering.set()
        self.tried: list[float] = []
        self.unheard = Unheard(self.seal, lambda: self.now)

    def seal(self, since: float) -> None:
        self.tried.append(since)
        self.answering.wait()
        if self.unavailable:
            raise self.unavailable

    def turn(self, *, heard: bool) -> None:
        """A turn of the supervisor's, and what it began is over, if PostgreSQL is not silent."""
        self.unheard.tend(heard=heard)
        if self.answering.is_set() and (sealing := self.unheard._sealing):
            sealing.join()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.answering.set()


def test_memory_is_sealed_once_for_each_keeper_that_is_lost(scene: Scene) -> None:
    """As of the moment that it was noticed."""
    for heard in (True, False, False, True, True, False):
        scene.turn(heard=heard)
        scene.now += 1
    assert scene.tried == [101.0, 105.0]


def test_in_an_outage_it_is_tried_again_also_after_a_keeper_was_started(scene: Scene) -> None:
    """It may not reach PostgreSQL either; whether it began a restore is looked at inside memory."""
    scene.unavailable = Unavailable("PostgreSQL cannot be reached")
    for heard in (False, True, True):
        scene.turn(heard=heard)
    assert scene.tried == [100.0]
    scene.now += RETRY_SECONDS
    scene.turn(heard=True)
    scene.unavailable = None
    scene.now += RETRY_SECONDS
    for _ in range(3):
        scene.turn(heard=True)
    assert scene.tried == [100.0] * 3


def test_a_silent_postgresql_does_not_stop_the_supervisor_and_is_asked_by_one_thread(scene: Scene) -> None:
    """A keeper that is lost meanwhile is not forgotten."""
    scene.answering.clear()
    for heard in (False, True, False):
        scene.turn(heard=heard)
        scene.now += RETRY_SECONDS
    wait_for(lambda: scene.tried == [100.0], "one try")
    scene.answering.set()
    scene.turn(heard=True)
    scene.turn(heard=True)
    assert scene.tried == [100.0, 102.0]


def test_a_supervisor_that_lost_nothing_asks_nobody(scene: Scene) -> None:
    scene.turn(heard=True)
    assert scene.tried == []
