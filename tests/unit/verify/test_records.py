"""Reading a topic up to a position, by a stand-in of Kafka's client: where it ends, and what stops it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, TopicPartition

from orders.errors import Misconfigured, OrdersError, Unavailable
from orders.kafka import clients
from orders.record import Span
from orders.verify import records


class Said(NamedTuple):
    """A message, or an error about a partition."""

    number: int
    at: int
    wrong: int | None = None

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def error(self) -> KafkaError | None:
        return None if self.wrong is None else KafkaError(self.wrong)

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_NOT_AVAILABLE, 0

    def headers(self) -> None:
        return None

    def leader_epoch(self) -> int:
        return 0

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"{}"


class Client:
    """Says what it was given, one after the other, then nothing."""

    def __init__(self, said: Sequence[Said]) -> None:
        self._said = iter(said)
        self.left: list[int] = []
        self.closed = False

    def assign(self, places: list[TopicPartition]) -> None:
        self.begun = {place.partition: place.offset for place in places}

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        self.left += [place.partition for place in places]

    def poll(self, _: float) -> Said | None:
        return next(self._said, None)

    def consume(self, _: int, __: float) -> list[Said]:
        return []

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second later."""
    seconds: Iterator[int] = iter(range(1000))
    monkeypatch.setattr(records.TopicReader.__init__, "__defaults__", (lambda: float(next(seconds)),))


def read(monkeypatch: pytest.MonkeyPatch, spans: dict[int, Span], *said: Said) -> tuple[Client, list[tuple[int, int]]]:
    client, taken = Client(said), list[tuple[int, int]]()
    monkeypatch.setattr(clients, "consumer", lambda _: client)
    try:
        records.read({}, "orders", spans, lambda each: taken.append((each.partition, each.offset)), lambda _: None)
    finally:
        assert client.closed
    return client, taken


def test_each_partition_is_read_up_to_its_position_and_not_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = {0: Span(5, 7), 1: Span(0, 2), 2: Span(3, 3)}
    said = [Said(0, 5), Said(1, 0), Said(0, 6), Said(0, 7), Said(1, 1)]
    client, taken = read(monkeypatch, spans, *said)
    assert client.begun == {0: 5, 1: 0}
    assert taken == [(0, 5), (1, 0), (0, 6), (1, 1)]
    assert client.left == [0, 1]


def test_records_that_are_missing_before_the_position_do_not_keep_it_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction removed the last one: a later record, or the end of the partition, tells that it is over."""
    later = read(monkeypatch, {0: Span(0, 3)}, Said(0, 0), Said(0, 8))
    ended = read(monkeypatch, {0: Span(0, 3)}, Said(0, 0), Said(0, 3, records.END))
    assert later[1] == ended[1] == [(0, 0)]


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (records.END, Unavailable, "became shorter"),
        (KafkaError.OFFSET_OUT_OF_RANGE, Unavailable, "retention removed records of orders/0"),
        (KafkaError.INVALID_MSG, Misconfigured, "orders/0 at offset 1 cannot be read"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Misconfigured, "no Read permission on topic 'orders'"),
    ],
)
def test_what_stops_it_is_said(monkeypatch: pytest.MonkeyPatch, wrong: int, kind: type[OrdersError], said: str) -> None:
    with pytest.raises(kind, match=said):
        read(monkeypatch, {0: Span(0, 5)}, Said(0, 0), Said(0, 1, wrong))


@pytest.mark.usefixtures("ticking")
def test_a_kafka_that_says_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="Kafka is unavailable"):
        read(monkeypatch, {0: Span(0, 5)}, Said(0, 0))
