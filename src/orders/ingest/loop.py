"""The write path's loop: poll, decode, batch, write; in an outage pause, keep polling, and try again."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from orders import decoder
from orders.errors import Misconfigured, OrdersError, PositionsMoved, Unavailable
from orders.ingest.batcher import Batcher
from orders.ingest.writer import SharedMemory, Writer, unobserved
from orders.memory.notices import IngestNotice, encode
from orders.metrics.kinds import Values
from orders.metrics.table import BATCH_RECORDS, BATCHES, CONSUMED, IngestState, private
from orders.outages import Outage
from orders.record import Batch, BatchCause, Entry, Reached, Record, Stop
from orders.timing import Clock, backoff, monotonic

log = structlog.get_logger()

POLL_SECONDS = 0.5
WATCH_SECONDS = 1.0
CHECK_SECONDS = 5.0
GROWING_SECONDS = 0.25
"""How long a round of a new partition may be due: the records of one that waits for others wait for theirs too."""


class Stream(Protocol):
    """What the loop asks of Kafka."""

    topic_id: str

    @property
    def trouble(self) -> OrdersError | None: ...
    @property
    def partitions(self) -> list[int]: ...
    @property
    def stops(self) -> Mapping[int, Stop]: ...
    @property
    def is_growing(self) -> bool: ...
    def poll(self, wait: float) -> list[Record]: ...
    def reached(self) -> Mapping[int, Reached]: ...
    def pause(self) -> None: ...
    def resume(self, places: Mapping[int, int]) -> None: ...
    def check(self) -> None: ...
    def return_to_stored(self) -> None: ...
    def mirror(self, offsets: Mapping[int, int]) -> None: ...
    def close(self) -> None: ...


class Ingest:
    """The loop: poll, decode, batch, write; during an outage pause, keep polling, and retry."""

    def __init__(
        self,
        name: str,
        batcher: Batcher,
        writer: Writer,
        memory: SharedMemory,
        clock: Clock = monotonic,
        *,
        at: Callable[[str], None] = unobserved,
        values: Values | None = None,
        read: Callable[[Record], Entry] = decoder.read,
    ) -> None:
        self._name = name
        self._read = read
        self._batcher = batcher
        self._writer = writer
        self._memory = memory
        self._clock = clock
        self._at = at
        self._values = values or private()
        self._paused_by: OrdersError | None = None
        self._outage = Outage(clock)
        self._waits = backoff()
        self._retry_at = 0.0
        self._watched_at = self._checked_at = clock()
        self.stream: Stream

    # -- the consumer's owner --

    def placed(self, partition: int, position: int) -> None:
        self._batcher.place(partition, position)

    def lost(self, partitions: Iterable[int]) -> None:
        self._batcher.forget(partitions)

    @property
    def begins(self) -> Mapping[int, int]:
        return self._batcher.begins

    # -- the loop --

    def run(self, stopping: Callable[[], bool]) -> None:
        """Consumes until `stopping`; then writes what it holds and leaves the group."""
        try:
            while not stopping():
                self.step()
            self._flush("stop")
        finally:
            self.stream.close()

    def step(self) -> None:
        """One turn: at most half a second of waiting, at most one batch."""
        records = self.stream.poll(self._patience())
        now = self._clock()
        self._values.add(CONSUMED, None, len(records))
        self._batcher.add(map(self._read, records), now)
        if not records and not self._paused_by:
            self._batcher.skip_control_records(self.stream.reached(), now)
        if cause := self._cause(now, dry=not records):
            self._flush(cause)
        self._watch()

    def _cause(self, now: float, *, dry: bool) -> BatchCause | None:
        if self._paused_by:
            return "retry" if now >= self._retry_at else None
        return self._batcher.due(now, dry=dry)

    def _patience(self) -> float:
        if self._paused_by:
            return min(max(self._retry_at - self._clock(), 0.0), POLL_SECONDS)
        return POLL_SECONDS if self._batcher.is_empty else 0.0

    def _flush(self, cause: BatchCause) -> None:
        batch = self._batcher.batch()
        try:
            if batch:
                self._count(batch, cause)
                self._writer.write(batch, self.stream.topic_id)
        except PositionsMoved as moved:
            self.stream.return_to_stored()
            if not (batch and batch.spans.keys() & self.stream.stops.keys()):  # else the stop that is logged says why
                log.warning("positions_moved", reason=str(moved))
        except (Unavailable, Misconfigured) as error:
            return self._pause(error)
        else:
            self._batcher.written()
            if batch:
                self._at("before mirror")
                self.stream.mirror({partition: span.end for partition, span in batch.spans.items()})
        return self._resume()

    def _count(self, batch: Batch, cause: BatchCause) -> None:
        if batch.entries:
            self._values.add(BATCHES, cause)
            self._values.observe(BATCH_RECORDS, None, len(batch.entries))

    def _pause(self, error: OrdersError) -> None:
        if self._paused_by is None:
            self.stream.pause()
        self._paused_by = error
        self._note()
        self._retry_at = self._clock() + next(self._waits)

    def _resume(self) -> None:
        if self._paused_by is None:
            return
        self._paused_by = None
        self._waits = backoff()
        self.stream.resume(self._batcher.places)
        self._note()

    @property
    def _trouble(self) -> OrdersError | None:
        return self._paused_by or self.stream.trouble

    def _note(self) -> None:
        """Logs what is in the way, and that nothing is any more; that a partition stopped is logged by its consumer."""
        trouble = self._trouble
        if trouble is None or any(str(trouble).startswith(stop.reason) for stop in self.stream.stops.values()):
            if (seconds := self._outage.end()) is not None:
                log.info("consumption_resumed", seconds=seconds)
        elif self._outage.is_news(str(trouble)):
            log.warning("consumption_paused", reason=str(trouble))

    def _watch(self) -> None:
        """Looks after the topic, and reports to the other processes how this one is."""
        now = self._clock()
        waits = WATCH_SECONDS if self.stream.trouble else CHECK_SECONDS
        every = GROWING_SECONDS if self.stream.is_growing else waits
        if now - self._checked_at >= every:
            self.stream.check()
            self._checked_at = self._clock()
            self._note()  # only now: what a poll reports may be a stop, whose sentence a check finds
        if now - self._watched_at >= WATCH_SECONDS:
            self._watched_at = now
            self._post()

    def _post(self) -> None:
        trouble = self._trouble
        state: IngestState = (
            "running" if trouble is None else "stopped" if isinstance(trouble, Misconfigured) else "paused"
        )
        stopped = {partition: stop.kind for partition, stop in self.stream.stops.items()}
        notice = IngestNotice(tuple(self.stream.partitions), state, self._clock(), str(trouble or ""), stopped)
        self._memory.post(self._name, encode(notice))
