"""Whether the start of this process is through: what Kubernetes asks before it asks for anything else.

It is through once PostgreSQL has answered (the schema is there) and the keeper has had its first look at it. It does
not wait for the end of the restore: a restart, which is what a startup probe that fails brings about, would only
begin the restore again. Whether memory is full is for /readyz.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from orders.api.health import NO_KEEPER, Positions, tried, waits
from orders.memory.notices import KeeperNotice, read_board
from orders.readiness import Part, Start, StartParts
from orders.timing import Clock

LOOK_SECONDS = 0.5


THROUGH = Start(started=True, parts=StartParts(Part(ok=True), Part(ok=True)))


class Startup:
    """Looks until the start is through; from then on it is, whatever happens."""

    def __init__(
        self,
        positions: Callable[[], Awaitable[Positions]],
        board: Callable[[], Mapping[str, bytes]],
        clock: Clock,
    ) -> None:
        self._positions = positions
        self._board = board
        self._clock = clock
        self._through = False

    async def report(self) -> Start:
        """How far the start is."""
        if self._through:
            return THROUGH
        postgres, _ = await tried(self._positions())
        parts = StartParts(postgres, begun(read_board(self._board, self._clock).keeper))
        self._through |= parts.postgres.ok and parts.restore.ok  # who asked at the same time may have seen more
        return THROUGH if self._through else Start(started=False, parts=parts)

    async def watch(self) -> None:
        """Looks again and again: a start that was through before anybody asked was through."""
        while not (await self.report()).started:  # noqa: ASYNC110 - nobody could set an event: others' state is read
            await asyncio.sleep(LOOK_SECONDS)


def begun(keeper: KeeperNotice | None) -> Part:
    """Whether the keeper has reached PostgreSQL and begun to restore memory."""
    if keeper is None:
        return Part(ok=False, reason=NO_KEEPER)
    return Part(ok=False, reason=waits(keeper)) if keeper.state == "waiting" else Part(ok=True)
