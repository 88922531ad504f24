"""A POST without services: what it is told, and what a truncated log may not make it say."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence

import pytest

from orders.api.posts import Posts
from orders.api.waiting import Outcomes, RecordOutcome
from orders.errors import OrdersError, Unavailable
from orders.kafka.producer import Delivered, Headers, Report
from orders.metrics.kinds import Values
from orders.metrics.table import private
from orders.record import CONDITION_HEADER, REPLY_HEADER, RecordCoordinates
from orders.timing import monotonic
from support.entries import TOPIC_ID, content
from support.metrics import counted

CREATED = RecordOutcome("created", "a", "", "")


class Log:
    """A producer whose brokers are a list; it reports from another thread."""

    def __init__(self, result: Callable[[int], Delivered | OrdersError | None]) -> None:
        self.records: list[tuple[bytes, bytes | None, Headers]] = []
        self._result = result

    def produce(self, key: bytes, value: bytes | None, headers: Headers, on_delivery: Report) -> None:
        self.records.append((key, value, headers))
        result = self._result(len(self.records) - 1)
        if result is not None:
            threading.Thread(target=on_delivery, args=(result,)).start()


def submit(
    log: Log,
    told: RecordOutcome | None = CREATED,
    positions: Mapping[tuple[str, int], int] | OrdersError | None = None,
    *,
    deadline: float = 5,
    wait: float = 60,
    values: Values | None = None,
) -> tuple[RecordOutcome | None, list[RecordCoordinates]]:
    """What one POST of the order `a` is told, and the places that were asked for."""
    asked: list[RecordCoordinates] = []

    async def topic_id() -> str:
        return TOPIC_ID

    async def read_positions() -> Mapping[tuple[str, int], int]:
        assert not log.records, "positions are read before the record is produced"
        if isinstance(positions, OrdersError):
            raise positions
        return positions or {}

    async def fetch(places: Sequence[RecordCoordinates]) -> dict[RecordCoordinates, RecordOutcome]:
        asked.extend(places)
        return {} if told is None else dict.fromkeys(places, told)

    async def scenario() -> RecordOutcome | None:
        posts = Posts(
            log,
            topic_id,
            read_positions,
            Outcomes(fetch, monotonic),
            deadline=deadline,
            clock=monotonic,
            values=values,
        )
        return await posts.submit(content("a"), wait)

    return asyncio.run(scenario()), asked


def at(offset: int) -> Log:
    return Log(lambda _: Delivered(1, offset))


def test_an_order_becomes_a_record_that_wants_an_outcome() -> None:
    """Key, canonical text, and the headers that ask for an outcome and for absence."""
    log = at(7)
    told, asked = submit(log)
    assert told == CREATED
    assert set(asked) == {RecordCoordinates(TOPIC_ID, 1, 7)}
    ((key, value, headers),) = log.records
    assert (key, value) == (b"a", content("a").text)
    assert dict(headers) == {REPLY_HEADER: b"1", CONDITION_HEADER: b"absent"}


def test_a_record_that_is_sent_is_counted() -> None:
    values = private()
    submit(at(7), values=values)
    assert list(counted(values).values()) == [1]


def test_no_outcome_within_the_time_that_is_waited() -> None:
    """The record is in Kafka; the deadline is far away."""
    log = at(7)
    assert submit(log, told=None, deadline=600, wait=0)[0] is None
    assert len(log.records) == 1


def test_no_outcome_within_the_deadline() -> None:
    """Accepted by Kafka, not yet decided: None."""
    assert submit(at(7), told=None, deadline=0.1)[0] is None


def test_postgresql_away_does_not_refuse_an_order() -> None:
    """Without positions the record is produced all the same."""
    log = at(7)
    assert submit(log, positions=Unavailable("PostgreSQL"))[0] == CREATED
    assert log.records


def test_a_truncated_log() -> None:
    """An offset that was consumed before the record existed cannot be the record's: its outcome is not ours."""
    with pytest.raises(Unavailable, match="shorter"):
        submit(at(7), positions={(TOPIC_ID, 1): 8})
    assert submit(at(7), positions={(TOPIC_ID, 1): 7, (TOPIC_ID, 0): 99, ("other", 1): 99})[0] == CREATED


def test_outcome_of_another_order() -> None:
    """An outcome that names another order is not taken for ours."""
    with pytest.raises(Unavailable, match="another"):
        submit(at(7), told=CREATED._replace(order_uid="b"))


def test_delivery_fails() -> None:
    """What the brokers did not take is not accepted."""
    with pytest.raises(Unavailable, match="broker"):
        submit(Log(lambda _: Unavailable("broker")))


def test_no_delivery_report() -> None:
    """Brokers that say nothing are unavailable."""
    with pytest.raises(Unavailable, match="answer"):
        submit(Log(lambda _: None), deadline=0.05)


def test_a_server_that_stops_says_accepted() -> None:
    """A POST that is cut off while it waits for its outcome has been accepted: None, not an error."""

    async def scenario() -> RecordOutcome | None:
        async def topic_id() -> str:
            return TOPIC_ID

        async def positions() -> Mapping[tuple[str, int], int]:
            return {}

        waiting = asyncio.Event()

        async def fetch(_: Sequence[RecordCoordinates]) -> dict[RecordCoordinates, RecordOutcome]:
            waiting.set()
            return {}

        posts = Posts(at(7), topic_id, positions, Outcomes(fetch, monotonic), deadline=60, clock=monotonic)
        task = asyncio.create_task(posts.submit(content("a"), 60))
        await waiting.wait()
        task.cancel()
        return await task

    assert asyncio.run(scenario()) is None
