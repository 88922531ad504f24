"""When the start of a serve process has finished."""

import asyncio
from collections.abc import Mapping
from typing import Literal

import pytest

from orders.api.startup import FINISHED, Startup
from orders.errors import OrdersError, Unavailable
from orders.memory.notices import GONE_SECONDS, KeeperNotice, KeeperState, encode
from orders.readiness import StartupReport

NOW = 100.0


class World:
    """PostgreSQL and the board, as a test sets them."""

    def __init__(
        self, keeper: KeeperState | Literal["", "away"] = "ready", trouble: OrdersError | None = None, at: float = NOW
    ) -> None:
        self.keeper = keeper
        self.trouble = trouble
        self.at = at
        self.asked = 0

    async def positions(self) -> Mapping[tuple[str, int], int]:
        self.asked += 1
        if self.trouble:
            raise self.trouble
        return {}

    def board(self) -> Mapping[str, bytes]:
        if self.keeper == "away":
            raise Unavailable("memory cannot be read")
        return {"keeper": encode(KeeperNotice(self.keeper, self.at, 0, 9, "away"))} if self.keeper else {}

    def startup(self) -> Startup:
        return Startup(self.positions, self.board, lambda: NOW)

    def report(self) -> StartupReport:
        return asyncio.run(self.startup().report())


@pytest.mark.parametrize("state", ["restoring", "ready"])
def test_it_is_through_when_postgresql_answered_and_the_restore_has_begun(state: KeeperState) -> None:
    """A restart would only begin the restore again: its end is not waited for."""
    assert World(state).report() == FINISHED


@pytest.mark.parametrize(
    ("world", "part", "reason"),
    [
        (World(trouble=Unavailable("PostgreSQL cannot be reached")), "postgres", "PostgreSQL cannot be reached"),
        (World("waiting"), "restore", "the keeper waits: away"),
        (World(""), "restore", "no keeper has reported for 10 s"),
        (World("away"), "restore", "no keeper has reported for 10 s"),
        (World(at=NOW - GONE_SECONDS - 1), "restore", "no keeper has reported for 10 s"),
    ],
)
def test_until_then_it_says_what_is_missing(world: World, part: str, reason: str) -> None:
    """In the shape of /readyz: each part that is not well, with its reason."""
    start = world.report()
    assert not start.started
    found = {name: getattr(start.parts, name) for name in start.parts.__struct_fields__}
    assert {name: each.reason for name, each in found.items() if not each.ok} == {part: reason}


def test_once_it_is_through_it_stays_so() -> None:
    """Whatever happens later; nobody is asked again."""
    world = World()

    async def scenario() -> StartupReport:
        startup = world.startup()
        assert (await startup.report()).started
        world.keeper, world.trouble = "", Unavailable("PostgreSQL cannot be reached")
        return await startup.report()

    assert asyncio.run(scenario()) == FINISHED
    assert world.asked == 1


def test_a_start_that_nobody_asked_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process looks by itself until it has finished."""
    monkeypatch.setattr("orders.api.startup.LOOK_SECONDS", 0)
    world = World("waiting")

    async def scenario() -> StartupReport:
        startup = world.startup()
        watching = asyncio.create_task(startup.watch())
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.asked > 1
        assert not watching.done()
        world.keeper = "restoring"
        await watching
        world.trouble = Unavailable("PostgreSQL cannot be reached")
        return await startup.report()

    assert asyncio.run(scenario()) == FINISHED
