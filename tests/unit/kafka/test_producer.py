"""The producer on librdkafka's own mock cluster: reports, limits, and errors in our words."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from orders.errors import Misconfigured, OrdersError, TooLarge, Unavailable
from orders.kafka import clients
from orders.kafka.errors import verdict
from orders.kafka.producer import MAX_MESSAGE_BYTES, OUTSTANDING, OUTSTANDING_BYTES, Delivered, OrderProducer, Room
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
    on_result: list[int] = []
    assert producer.send(((b"%d" % n, None) for n in range(2_000)), lambda number, _: on_result.append(number)) == 2_000
    assert sorted(on_result) == list(range(2_000))


def test_a_record_that_is_too_large_for_the_client_is_left_out_and_the_others_are_sent(producer: OrderProducer) -> None:
    """Kafka's client itself refuses it, and says its own limit, not a topic's."""
    on_result: dict[int, Delivered | OrdersError] = {}
    values = [b"a", b"x" * (MAX_MESSAGE_BYTES + 1), b"b"]
    assert producer.send(((b"k", value) for value in values), on_result.__setitem__) == 2
    assert [type(on_result[number]) for number in range(3)] == [Delivered, TooLarge, Delivered]
    assert str(on_result[1]) == f"larger than the {MAX_MESSAGE_BYTES} bytes that Kafka's client sends at most"


def test_large_records_wait_for_room_in_place_of_failing(producer: OrderProducer) -> None:
    """More bytes than the client's queue holds are sent one after the other."""
    assert producer.send(((None, b"x" * 1_000_000) for _ in range(80)), lambda *_: None) == 80


@given(st.lists(st.integers(0, 2 * OUTSTANDING_BYTES), max_size=20))
def test_room_is_never_more_than_its_bound_and_a_record_always_gets_in(sizes: list[int]) -> None:
    """Whatever its size, it enters once all before it have left."""
    room = Room()
    inside: list[int] = []
    for size in sizes:
        while inside and sum(inside) + size > OUTSTANDING_BYTES:
            room.leave(inside.pop(0))
        room.enter(size)
        inside.append(size)
    assert len(inside) <= OUTSTANDING


def test_send_stops_at_the_first_failure(producer: OrderProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be delivered ends it, with the reason."""
    monkeypatch.setattr(producer, "_result", lambda _error, _message: Unavailable("the brokers"))
    with pytest.raises(Unavailable, match="the brokers"):
        producer.send(((b"k", b"v") for _ in range(100)), lambda *_: None)


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
    assert isinstance(results[0], Unavailable)
    producer.close(0.1)


def test_a_bug_in_a_report_ends_the_process(producer: OrderProducer, process_ends: list[str]) -> None:
    """Else nobody would hear of any later record."""

    def report(_: Delivered | OrdersError) -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        producer.produce(b"a", b"{}", (), report)
        wait_for(lambda: process_ends, "the end of the process")
    process_ends.clear()
    assert [(each["event"], each["thread"]) for each in logs] == [("thread_ended", "producer")]


FATAL = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)


def test_records_of_a_producer_that_ended_are_reported_as_failed_and_flush_waits_for_that() -> None:
    """The next producer knows nothing of them; they count until each has its report."""
    producer = OrderProducer({"bootstrap.servers": "127.0.0.1:1"}, "orders", 60)
    reports: list[Delivered | OrdersError] = []
    for _ in range(3):
        producer.produce(b"a", b"{}", (), reports.append)
    assert producer.flush(0) == 3
    producer._failed(FATAL)
    producer.produce(b"a", b"{}", (), reports.append)
    assert producer.flush(1) == 1, "that of the next one waits"
    assert [type(report) for report in reports] == [Unavailable] * 3
    producer._failed(FATAL)
    assert producer.flush(10) == 0
    assert len(reports) == 4
    producer.close(0.1)


class Fatal:
    """Kafka's client after a fatal error: it raises it instead of reporting, once."""

    def __init__(self, client: Producer) -> None:
        self._client = client
        self._told = False

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            raise KafkaException(FATAL)

    def poll(self, seconds: float) -> int:
        self._tell()
        return self._client.poll(seconds)

    def flush(self, seconds: float) -> int:
        self._tell()
        return self._client.flush(seconds)

    def __len__(self) -> int:
        return len(self._client)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_a_fatal_error_is_reported_in_the_reports_and_raised_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither flush nor send lets an error of Kafka's client out."""
    monkeypatch.setattr(clients, "producer", lambda _config: Fatal(Producer({"bootstrap.servers": "127.0.0.1:1"})))
    producer = OrderProducer({}, "orders", 60)
    with pytest.raises(Unavailable):
        producer.send([(b"k", b"v")] * 10, lambda *_: None)
    assert producer.flush(10) == 0
    producer.close(0.1)


def test_a_full_queue() -> None:
    """More than the queue holds is refused at once."""
    producer = OrderProducer({"bootstrap.servers": "127.0.0.1:1"}, "orders", 1)

    def fill() -> None:
        for _ in range(100):
            producer.produce(b"a", b"x" * 1_000_000, (), lambda _: None)

    with pytest.raises(Unavailable, match="slowly"):
        fill()
    producer.close(0.1)


def test_a_producer_that_is_beyond_repair_is_replaced(producer: OrderProducer) -> None:
    """After a fatal error the next record goes through a producer of its own."""
    before = producer._current()
    assert isinstance(producer._failed(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)), Unavailable)
    assert producer._current() is not before
    reports: list[Delivered | OrdersError] = []
    producer.produce(b"a", b"{}", (), reports.append)
    wait_for(lambda: reports)
    assert isinstance(reports[0], Delivered)


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Misconfigured, "`orders topics create`"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Misconfigured, "kafka-acls.sh"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, Misconfigured, "login"),
        (KafkaError.MSG_SIZE_TOO_LARGE, TooLarge, "max.message.bytes"),
        (KafkaError._MSG_TIMED_OUT, Unavailable, "unavailable"),
        (KafkaError.NOT_ENOUGH_REPLICAS, Unavailable, "unavailable"),
    ],
)
def test_errors_in_our_words(code: int, kind: type[OrdersError], word: str) -> None:
    """Something is misconfigured, with the command that fixes it, or Kafka is unavailable."""
    error = verdict(KafkaError(code), "orders")
    assert type(error) is kind
    assert word in str(error)
