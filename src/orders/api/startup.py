"""Whether the start of this process has finished: what Kubernetes asks before it asks for anything else.

It has finished once PostgreSQL has answered (the schema is there) and the keeper has had its first look at it. It does
not wait for the end of the restore: a restart, which is what a startup probe that fails brings about, would only
begin the restore again. Whether memory is full is for /readyz.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from orders.api.health import NO_KEEPER, tried, waits
from orders.memory.notices import KeeperNotice, read_board
from orders.readiness import ReadinessPart, StartParts, StartupReport
from orders.record import Positions
from orders.timing import Clock

LOOK_SECONDS = 0.5


FINISHED = StartupReport(started=True, parts=StartParts(ReadinessPart(ok=True), ReadinessPart(ok=True)))


class Startup:
    """Looks until the start has finished; from then on it has, whatever happens."""

    def __init__(
        self,
        positions: Callable[[], Awaitable[Positions]],
        board: Callable[[], Mapping[str, bytes]],
        clock: Clock,
    ) -> None:
        self._positions = positions
        self._board = board
        self._clock = clock
        self._finished = False

    async def report(self) -> StartupReport:
        """How far the start is."""
        if self._finished:
            return FINISHED
        postgres, _ = await tried(self._positions())
        parts = StartParts(postgres, begun(read_board(self._board, self._clock).keeper))
        self._finished |= parts.postgres.ok and parts.restore.ok  # who asked at the same time may have seen more
        return FINISHED if self._finished else StartupReport(started=False, parts=parts)

    async def watch(self) -> None:
        """Looks again and again: a start that finished before anybody asked has finished."""
        while not (await self.report()).started:  # noqa: ASYNC110 - nobody could set an event: others' state is read
            await asyncio.sleep(LOOK_SECONDS)


def begun(keeper: KeeperNotice | None) -> ReadinessPart:
    """Whether the keeper has reached PostgreSQL and begun to restore memory."""
    if keeper is None:
        return ReadinessPart(ok=False, reason=NO_KEEPER)
    return ReadinessPart(ok=False, reason=waits(keeper)) if keeper.state == "waiting" else ReadinessPart(ok=True)
