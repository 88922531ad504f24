"""A consumer on a real Kafka reads from positions of its own, and says why where it cannot."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from orders.embedded.service import EmbeddedService
from orders.errors import Misconfigured, Unavailable
from orders.kafka.consumer import OrderConsumer, consumer_config
from orders.kafka.topic import TopicView
from orders.record import Position, Reached, Record, Round, Stop
from support.services import MakeTopic
from support.waiting import wait_for


class Stored:
    """Positions as PostgreSQL would have them; `away` until told otherwise."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], int] = {}
        self.epochs: dict[tuple[str, int], int] = {}
        self.stops: dict[tuple[str, int], Stop] = {}
        self.away = False

    def positions(self) -> Mapping[tuple[str, int], Position]:
        if self.away:
            raise Unavailable("PostgreSQL cannot be reached")
        return {at: Position(offset, self.epochs.get(at), self.stops.get(at)) for at, offset in self.kept.items()}

    def begin(self, topic_id: str, starts: Mapping[int, int]) -> None:
        for partition, position in starts.items():
            self.kept.setdefault((topic_id, partition), position)

    def open(self, *planned: str | int | Round) -> bool:
        raise AssertionError(f"no partition is new here: {planned}")

    def stop(self, topic_id: str, partition: int, position: int, stop: Stop) -> None:
        assert self.kept[topic_id, partition] == position
        self.stops.setdefault((topic_id, partition), stop)

    def resume(self, topic_id: str, partition: int, position: int) -> None:
        """What `orders resume` does."""
        del self.stops[topic_id, partition]
        self.kept[topic_id, partition] = position


class Noted:
    """The owner: which partitions stand where."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}

    @property
    def begins(self) -> dict[int, int]:
        return self.places

    def placed(self, partition: int, position: int) -> None:
        self.places[partition] = position

    def lost(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.places.pop(partition, None)


class Bench:
    """One topic with consumers on it."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.stored, self.owner = Stored(), Noted()
        self._open: list[OrderConsumer] = []

    @property
    def topic_id(self) -> str:
        return TopicView({"bootstrap.servers": self.bootstrap}, self.topic).look().topic_id

    def produce(self, count: int, partition: int = 0, key: bytes | None = b"k", value: bytes | None = b"{}") -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number in range(count):
            producer.produce(self.topic, value, key, partition, headers=[("n", str(number).encode())])
        assert producer.flush(10) == 0

    def consumer(self, number: int = 0, protocol: str = "classic") -> OrderConsumer:
        kafka = {"bootstrap.servers": self.bootstrap}
        config = consumer_config(
            kafka=kafka,
            group=f"group-{self.topic}",
            member=f"{self.topic}-{number}",
            protocol=protocol,
            session_seconds=6,
            queue_bytes=2**20,
        )
        made = OrderConsumer(config, TopicView(kafka, self.topic), self.stored, self.owner, 600)
        self._open.append(made)
        return made

    def forget(self, before: int) -> None:
        """Retention takes the records of partition 0 before an offset."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.delete_records([TopicPartition(self.topic, 0, before)]).values():
            future.result(10)

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture
def bench(kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[Bench]:
    made = Bench(kafka_bootstrap, make_topic(partitions=2))
    yield made
    made.close()


def records(consumer: OrderConsumer, count: int) -> list[Record]:
    got: list[Record] = []

    def enough() -> bool:
        got.extend(consumer.poll(0.1))
        return len(got) >= count

    wait_for(enough, f"{count} records", 20)
    return got


def test_a_partition_without_a_position_is_read_from_its_start(bench: Bench, protocol: str) -> None:
    bench.produce(3)
    got = records(bench.consumer(protocol=protocol), 3)
    assert [(r.partition, r.offset, r.key, r.value) for r in got] == [(0, n, b"k", b"{}") for n in range(3)]
    assert [r.headers for r in got] == [(("n", str(n).encode()),) for n in range(3)]
    assert all(r.time for r in got)
    assert bench.owner.places == {0: 0, 1: 0}


def test_a_null_value_and_a_missing_key_arrive_as_none(bench: Bench) -> None:
    bench.produce(1, key=None, value=None)
    (got,) = records(bench.consumer(), 1)
    assert (got.key, got.value) == (None, None)


def test_reading_begins_at_the_stored_position_whatever_the_group_committed(bench: Bench) -> None:
    bench.produce(5)
    first = bench.consumer(0)
    records(first, 5)
    first.mirror({0: 5})
    topic_id = first.topic_id
    wait_for(lambda: mirrored(bench) == 5, "the mirror", 10)
    bench.stored.kept[topic_id, 0] = 3
    first.return_to_stored()
    assert [r.offset for r in records(first, 2)] == [3, 4]


def test_what_is_reached_is_never_more_than_was_given(bench: Bench, protocol: str) -> None:
    """Also while another member joins; and after a seek nothing is known of it until the next record."""
    bench.produce(3000)
    first = bench.consumer(0, protocol)
    given = 0
    others: list[OrderConsumer] = []

    def all_given() -> bool:
        nonlocal given
        for each in (first, *others):
            mine = [record for record in each.poll(0.02) if record.partition == 0]
            given = mine[-1].offset + 1 if mine else given
            if 0 in (reached := each.reached()):
                assert reached[0].offset == given
        if given and not others:
            others.append(bench.consumer(1, protocol))
        return given == 3000 and len(bench.owner.places) == 2 and bool(others[0].partitions)

    wait_for(all_given, "all is given, and the other one has a partition", 30)
    owner = first if 0 in first.partitions else others[0]
    bench.stored.kept[owner.topic_id, 0] = 2999
    owner.return_to_stored()
    assert 0 not in owner.reached()
    assert [record.offset for record in records(owner, 1)] == [2999]
    assert owner.reached()[0] == Reached(3000, 0)


def mirrored(bench: Bench) -> int:
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    asked = [ConsumerGroupTopicPartitions(f"group-{bench.topic}")]
    (answer,) = admin.list_consumer_group_offsets(asked).values()
    return int({p.partition: p.offset for p in answer.result(10).topic_partitions}.get(0, -1))


@pytest.mark.parametrize("low", [0, 3])
def test_while_positions_are_unknown_nothing_is_read_and_then_all_is(bench: Bench, low: int) -> None:
    bench.produce(5)
    bench.forget(low)
    bench.stored.away = True
    consumer = bench.consumer()

    def troubled() -> bool:
        assert consumer.poll(0.1) == [] or bench.owner.places == {}
        return isinstance(consumer.trouble, Unavailable) and consumer.partitions == [0, 1]

    wait_for(troubled, "trouble", 20)
    bench.stored.away = False
    consumer.check()
    assert [r.offset for r in records(consumer, 5 - low)] == list(range(low, 5))
    assert consumer.trouble is None


@pytest.mark.parametrize(("position", "said"), [(1, "retention has passed"), (9, "the log was truncated")])
def test_a_position_outside_of_the_log_stops_the_partition_and_says_so(bench: Bench, position: int, said: str) -> None:
    bench.produce(5)
    bench.forget(3)
    consumer = bench.consumer()
    bench.stored.kept = {(bench.topic_id, 0): position, (bench.topic_id, 1): 0}
    stopped(consumer)
    consumer.check()
    assert said in str(consumer.trouble)
    assert "Kafka holds 3 to 5" in str(consumer.trouble)
    assert 0 not in bench.owner.places


def test_a_truncated_log_stays_stopped_when_it_has_grown_past_the_position_again(bench: Bench) -> None:
    """What was written there meanwhile would be skipped; the other partition continues. A restart changes nothing."""
    bench.produce(5)
    consumer = bench.consumer()
    topic_id = bench.topic_id
    bench.stored.kept = {(topic_id, 0): 9, (topic_id, 1): 0}
    stopped(consumer)
    bench.produce(10)
    for _ in range(3):
        consumer.check()
    assert isinstance(consumer.trouble, Misconfigured)
    assert bench.owner.places == {1: 0}
    consumer.close()
    consumer = bench.consumer(1)
    stopped(consumer)
    assert "the log was truncated, below the stored position 9: Kafka holds 0 to 5" in str(consumer.trouble)
    assert (bench.owner.places, list(consumer.stops)) == ({1: 0}, [0])
    bench.stored.resume(topic_id, 0, 5)
    consumer.check()
    assert [r.offset for r in records(consumer, 10)] == list(range(5, 15))
    assert consumer.trouble is None


def stopped(consumer: OrderConsumer) -> None:
    def is_stopped() -> bool:
        consumer.poll(0.1)
        return isinstance(consumer.trouble, Misconfigured)

    wait_for(is_stopped, "trouble", 20)


def test_what_a_disk_damaged_stops_the_partition_and_is_never_taken_for_a_record(
    bench: Bench, kafka: EmbeddedService
) -> None:
    for value in (b"first", b"second", b"third"):
        bench.produce(1, value=value)
    damage(kafka, bench.topic, b"second")
    consumer = bench.consumer()
    stopped(consumer)
    consumer.check()
    assert "at offset 1 cannot be read" in str(consumer.trouble)
    assert 0 not in bench.owner.places
    bench.stored.resume(consumer.topic_id, 0, 2)
    consumer.check()
    assert [r.value for r in records(consumer, 1)] == [b"third"]


def damage(kafka: EmbeddedService, topic: str, value: bytes) -> None:
    (log,) = (kafka._directory / "data" / f"{topic}-0").glob("*.log")
    log.write_bytes(log.read_bytes().replace(value, value.swapcase()))


@pytest.mark.parametrize("kind", ["retention", "went_back", "unreadable", "anew", "dead_letters"])
def test_a_stop_is_logged_once(bench: Bench, kafka: EmbeddedService, kind: str) -> None:
    """However often it is looked at, and though the partition goes and comes back; nothing else is logged of it."""
    bench.produce(4)
    bench.produce(1, value=b"damaged")
    bench.forget(3)
    consumer = bench.consumer()
    topic_id, position = bench.topic_id, {"retention": 1, "went_back": 9}.get(kind, 4)
    bench.stored.kept = {("older" if kind == "anew" else topic_id, 0): position, (topic_id, 1): 0}
    if kind == "anew":
        del bench.stored.kept[topic_id, 1]
    if kind == "unreadable":
        damage(kafka, bench.topic, b"damaged")
    if kind == "dead_letters":
        bench.stored.stops = {(topic_id, 0): Stop("dead_letters", "too many")}
    with capture_logs() as logs:
        stopped(consumer)
        for _ in range(2):
            consumer.check()
        assert consumer.stops[0].kind == kind
        named = consumer._named([0])
        consumer._on_revoke(consumer._consumer, named)
        consumer._on_assign(consumer._consumer, named)
        consumer.check()
    partitions = [0, 1] if kind == "anew" else [0]
    told = [each for each in logs if not each["event"].startswith("partitions_")]
    assert [(each["event"], each["partition"]) for each in told] == [("partition_stopped", n) for n in partitions]
    assert told[0]["reason"] == consumer.stops[0].reason


def test_while_one_partition_is_stopped_the_others_are_compared_all_the_same(bench: Bench) -> None:
    """A standby that takes over may lack the last commits of any of them."""
    consumer = bench.consumer()
    topic_id = bench.topic_id
    bench.stored.kept = {(topic_id, 0): 9, (topic_id, 1): 0}
    stopped(consumer)
    bench.produce(5, partition=1)
    records(consumer, 5)
    bench.owner.places[1] = bench.stored.kept[topic_id, 1] = 5  # written
    consumer.check()
    assert bench.owner.places == {1: 5}
    bench.stored.kept[topic_id, 1] = 3
    consumer.check()
    assert bench.owner.places == {1: 3}
    assert [(r.partition, r.offset) for r in records(consumer, 2)] == [(1, 3), (1, 4)]
    assert "the log was truncated" in str(consumer.trouble)
    assert list(consumer.stops) == [0]


def test_a_member_that_another_one_replaced_ends_and_says_so(bench: Bench) -> None:
    """Its polls would bring nothing for ever."""
    first = bench.consumer()
    wait_for(lambda: first.poll(0.1) == [] and first.partitions == [0, 1], "assigned", 20)
    second = bench.consumer()

    def ended() -> bool:
        second.poll(0.05)
        try:
            return first.poll(0.05) != []
        except Misconfigured as error:
            return "fenced" in str(error)

    wait_for(ended, "the end", 20)


class WentAndCameBack:
    """The client, whose partition 0 goes and comes back between the first message of a poll and the others."""

    def __init__(self, consumer: OrderConsumer) -> None:
        self._consumer = consumer
        self._client: Consumer = consumer._consumer
        self._done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def consume(self, count: int, seconds: float) -> list[Message]:
        if self._done:
            return self._client.consume(count, seconds)
        self._done = True
        partition = [TopicPartition(self._consumer._topic, 0)]
        self._consumer._on_revoke(self._client, partition)
        self._consumer._on_assign(self._client, partition)
        return []


def test_what_was_read_before_a_partition_came_back_is_read_again(bench: Bench) -> None:
    """Else its offset would stand for those before it, which were forgotten when the partition went."""
    bench.produce(5)
    consumer = bench.consumer()
    consumer._consumer = WentAndCameBack(consumer)  # type: ignore[assignment]  # plays a rebalance
    assert [r.offset for r in records(consumer, 5)] == [0, 1, 2, 3, 4]


def test_a_topic_recreated_stops_consumption_and_says_what_to_do(bench: Bench) -> None:
    bench.stored.kept = {("an-older-topic", 0): 100}
    consumer = bench.consumer()

    def stopped() -> bool:
        consumer.poll(0.1)
        return consumer.trouble is not None

    wait_for(stopped, "trouble", 20)
    assert "recreated" in str(consumer.trouble)
    assert bench.owner.places == {}


def test_a_topic_recreated_is_read_from_its_start_once_that_was_decided(bench: Bench) -> None:
    """Under a running consumer, whose client may have given the partition up."""
    bench.produce(3)
    consumer = bench.consumer()
    records(consumer, 3)
    recreate(bench, consumer)
    bench.stored.kept.clear()
    bench.produce(2)
    got: list[Record] = []

    def read_on() -> bool:
        consumer.check()
        got.extend(consumer.poll(0.1))
        return len(got) >= 2

    wait_for(read_on, "the new topic's records", 20)
    assert [r.offset for r in got] == [0, 1]
    assert consumer.trouble is None


class NoSeek:
    """Kafka's client in a state in which it refuses to seek."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def seek(self, place: TopicPartition) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE, f"no seek to {place.offset}"))


def test_where_the_client_refuses_to_seek_the_partition_is_assigned_again(bench: Bench) -> None:
    bench.produce(3)
    consumer = bench.consumer()
    records(consumer, 3)
    consumer._consumer = cast("Consumer", NoSeek(consumer._consumer))
    bench.stored.kept[consumer.topic_id, 0] = 1
    consumer.return_to_stored()
    assert [r.offset for r in records(consumer, 2)] == [1, 2]
    bench.produce(1)
    assert [r.offset for r in records(consumer, 1)] == [3]


def recreate(bench: Bench, consumer: OrderConsumer) -> None:
    """Deletes the topic, makes it again, and waits until the consumer says so."""
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    for future in admin.delete_topics([bench.topic]).values():
        future.result(10)
    wait_for(lambda: made_again(admin, bench.topic), "the topic anew", 10)

    def stopped() -> bool:
        consumer.poll(0.05)
        consumer.check()
        return "recreated" in str(consumer.trouble)

    wait_for(stopped, "trouble", 20)


def test_what_was_met_in_the_old_topic_stops_nothing_in_the_new_one(bench: Bench) -> None:
    """The client's word of it may come after the new topic was seen."""
    bench.produce(3)
    consumer = bench.consumer()
    records(consumer, 3)
    recreate(bench, consumer)
    consumer._stops_met[0] = None  # as of an offset that only the old topic had
    consumer.check()
    bench.stored.kept |= {(consumer.topic_id, partition): 0 for partition in (0, 1)}

    def goes_on() -> bool:
        consumer.poll(0.05)
        consumer.check()
        return not consumer.stops

    wait_for(goes_on, "both partitions continue", 20)
    bench.produce(1)
    assert [r.offset for r in records(consumer, 1)] == [0]


def made_again(admin: AdminClient, topic: str) -> bool:
    (future,) = admin.create_topics([NewTopic(topic, 2, 1)]).values()
    return future.exception(10) is None


def test_a_missing_topic_is_the_set_ups_fault_and_comes_with_the_command(kafka_bootstrap: str) -> None:
    with pytest.raises(Misconfigured, match=r"topic 'nowhere' does not exist.*orders topics create"):
        TopicView({"bootstrap.servers": kafka_bootstrap}, "nowhere").look("Read")


def test_two_members_share_the_partitions(bench: Bench) -> None:
    one, two = bench.consumer(0), bench.consumer(1)

    def shared() -> bool:
        one.poll(0.05)
        two.poll(0.05)
        return sorted(one.partitions + two.partitions) == [0, 1] and len(one.partitions) == 1

    wait_for(shared, "a share each", 30)


def test_held_partitions_stay_ours_and_bring_nothing_until_they_continue(bench: Bench) -> None:
    consumer = bench.consumer()
    wait_for(lambda: consumer.poll(0.1) == [] and consumer.partitions == [0, 1], "assigned", 20)
    consumer.pause()
    bench.produce(1)
    for _ in range(10):
        assert consumer.poll(0.05) == []
    consumer.resume(bench.owner.places)
    assert [r.offset for r in records(consumer, 1)] == [0]
