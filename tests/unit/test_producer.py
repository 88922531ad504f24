"""The producer on librdkafka's own mock cluster: reports, limits, and errors in our words."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from orders import clients
from orders.errors import Away, OrdersError, SetupWrong
from orders.producer import Delivered, OrderProducer
from orders.troubles import verdict
from support.waiting import wait_for


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderProducer]:
    monkeypatch.setattr(clients, "producer", _mocked)
    made = OrderProducer({}, "orders", 5)
    yield made
    made.close()


def _mocked(config: dict[str, Any]) -> Producer:
    rest = {name: value for name, value in config.items() if name != "bootstrap.servers"}
    return Producer(rest | {"test.mock.num.brokers": 1})


def test_delivery_is_reported(producer: OrderProducer) -> None:
    """Each record has one report with its place, and a key has one partition."""
    reports: list[Delivered | OrdersError] = []
    for _ in range(3):
        producer.produce(b"a", b"{}", [("orders-reply", b"1")], reports.append)
    wait_for(lambda: len(reports) == 3)
    partitions = {report.partition for report in reports if isinstance(report, Delivered)}
    assert len(partitions) == 1
    assert [report.offset for report in reports if isinstance(report, Delivered)] == [0, 1, 2]


def test_largest_order_is_taken(producer: OrderProducer) -> None:
    """An order of the largest size goes through with its key and headers."""
    reports: list[Delivered | OrdersError] = []
    producer.produce(b"a" * 128, b"x" * 1_000_000, [("orders-condition", b"absent")], reports.append)
    wait_for(lambda: reports)
    assert isinstance(reports[0], Delivered)


def test_send_counts_and_waits(producer: OrderProducer) -> None:
    """All records are acknowledged when `send` returns, and progress has told of each."""
    acknowledged: list[int] = []
    assert producer.send(((b"%d" % n, None) for n in range(2_000)), acknowledged.append) == 2_000
    assert sum(acknowledged) == 2_000


def test_send_stops_at_the_first_failure(producer: OrderProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be delivered ends it, with the reason."""
    monkeypatch.setattr(producer, "_result", lambda _error, _message: Away("the brokers"))
    with pytest.raises(Away, match="the brokers"):
        producer.send(((b"k", b"v") for _ in range(100)), lambda _: None)


def test_nobody_there() -> None:
    """Without brokers a record is reported as failed when its time is over."""
    producer = OrderProducer({"bootstrap.servers": "127.0.0.1:1"}, "orders", 0.3)
    reported = threading.Event()
    results: list[Delivered | OrdersError] = []

    def report(result: Delivered | OrdersError) -> None:
        results.append(result)
        reported.set()

    producer.produce(b"a", b"{}", (), report)
    assert reported.wait(10)
    assert isinstance(results[0], Away)
    producer.close(0.1)


def test_a_full_queue() -> None:
    """More than the queue holds is refused at once."""
    producer = OrderProducer({"bootstrap.servers": "127.0.0.1:1"}, "orders", 1)

    def fill() -> None:
        for _ in range(100):
            producer.produce(b"a", b"x" * 1_000_000, (), lambda _: None)

    with pytest.raises(Away, match="slowly"):
        fill()
    producer.close(0.1)


def test_a_producer_that_is_beyond_repair_is_replaced(producer: OrderProducer) -> None:
    """After a fatal error the next record goes through a producer of its own."""
    before = producer._current()
    assert isinstance(producer._failed(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)), Away)
    assert producer._current() is not before
    reports: list[Delivered | OrdersError] = []
    producer.produce(b"a", b"{}", (), reports.append)
    wait_for(lambda: reports)
    assert isinstance(reports[0], Delivered)


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, SetupWrong, "`orders topics create`"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, SetupWrong, "kafka-acls.sh"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, SetupWrong, "login"),
        (KafkaError.MSG_SIZE_TOO_LARGE, SetupWrong, "max.message.bytes"),
        (KafkaError._MSG_TIMED_OUT, Away, "away"),
        (KafkaError.NOT_ENOUGH_REPLICAS, Away, "away"),
    ],
)
def test_errors_in_our_words(code: int, kind: type[OrdersError], word: str) -> None:
    """The set-up is wrong, with the command that mends it, or Kafka is away."""
    error = verdict(KafkaError(code), "orders")
    assert type(error) is kind
    assert word in str(error)
