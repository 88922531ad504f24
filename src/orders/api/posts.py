"""A POST: a record that waits for its own outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog

from orders.api.waiting import Outcomes, RecordOutcome
from orders.errors import OrdersError, Unavailable
from orders.kafka.producer import Delivered, Headers, Report
from orders.metrics.kinds import Values
from orders.metrics.table import SENT, private
from orders.order import Content
from orders.record import CONDITION_HEADER, REPLY_HEADER, Positions, RecordCoordinates
from orders.timing import Clock

log = structlog.get_logger()

HEADERS: Headers = ((REPLY_HEADER, b"1"), (CONDITION_HEADER, b"absent"))


class RecordProducer(Protocol):
    """Hands a record to the brokers and reports its place."""

    def produce(self, key: bytes, value: bytes | None, headers: Headers, on_delivery: Report) -> None: ...


class Posts:
    """Produces orders and waits for what became of them.

    `topic_id` and `positions` are asked before a record is produced. `deadline` is in seconds.
    """

    def __init__(
        self,
        producer: RecordProducer,
        topic_id: Callable[[], Awaitable[str]],
        positions: Callable[[], Awaitable[Positions]],
        outcomes: Outcomes,
        *,
        deadline: float,
        clock: Clock,
        values: Values | None = None,
    ) -> None:
        self._producer = producer
        self._topic_id = topic_id
        self._positions = positions
        self._outcomes = outcomes
        self._deadline = deadline
        self._clock = clock
        self._values = values or private()
        self._known: Positions = {}

    async def submit(self, content: Content, wait: float) -> RecordOutcome | None:
        """The outcome of an order that must not exist yet, or None if there is none within the deadline.

        `wait` is how many seconds the outcome is waited for once Kafka has the record, the deadline permitting.

        Raises `Unavailable` or `Misconfigured` if the record was not accepted, or may have been and is not to be found.
        """
        until = self._clock() + self._deadline
        topic_id = await self._topic_id()
        before = await self._read_positions()
        partition, offset = await self._deliver(content, until)
        log.debug("record_sent", partition=partition, offset=offset)
        if offset < before.get((topic_id, partition), 0):
            # Whatever outcome stands at this offset is that of a record that the brokers have lost.
            log.error("log_truncated", partition=partition, offset=offset)
            raise Unavailable("Kafka's log is shorter than what was read from it")
        result = await self._wait(RecordCoordinates(topic_id, partition, offset), min(until, self._clock() + wait))
        if result is not None and result.order_uid not in {None, content.row.order_uid}:
            log.error("outcome_of_another_order", partition=partition, offset=offset)
            raise Unavailable("the outcome found is that of another record")
        return result

    async def _read_positions(self) -> Positions:
        with suppress(
            OrdersError
        ):  # a POST is accepted while PostgreSQL is unavailable; the last positions still bound it
            self._known = await self._positions()
        return self._known

    async def _deliver(self, content: Content, until: float) -> Delivered:
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[Delivered | OrdersError] = loop.create_future()

        def settle(result: Delivered | OrdersError) -> None:
            if not delivered.done():
                delivered.set_result(result)

        def report(result: Delivered | OrdersError) -> None:
            with suppress(RuntimeError):  # the loop may be closed by the time of a late report
                loop.call_soon_threadsafe(settle, result)

        self._producer.produce(content.row.order_uid.encode(), content.text, HEADERS, report)
        self._values.add(SENT, None)
        try:
            result = await asyncio.wait_for(delivered, max(0.0, until - self._clock()))
        except TimeoutError:
            raise Unavailable("Kafka does not answer") from None
        if isinstance(result, OrdersError):
            raise result
        return result

    async def _wait(self, place: RecordCoordinates, until: float) -> RecordOutcome | None:
        try:
            return await self._outcomes.wait(place, max(0.0, until - self._clock()))
        except asyncio.CancelledError:
            return None  # the server stops; the record is in Kafka, which is what 202 says
