"""Kafka to records: assignment at the stored positions, pause and resume. Group offsets are never read.

All callbacks run inside `poll`, in the same thread.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol, cast

import structlog
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from orders.errors import Misconfigured, OrdersError, Unavailable
from orders.kafka import clients
from orders.kafka.errors import verdict
from orders.kafka.growth import Growth, Opening
from orders.kafka.topic import TopicView, recreated
from orders.record import Position, Reached, Record, Stop

log = structlog.get_logger()

REQUEST_SECONDS = 5.0
HEARTBEAT_MILLISECONDS = 500
CONSUME_MOST = 500
"""Most messages taken at once: more gains nothing, and each holds 1.5 KB until it is a record."""
LARGEST_RECORD = 2**20
"""Kafka's default limit of a record, about. Kafka's client counts what it has fetched ahead by values alone; a count of
records bounds keys and headers too. It fetches again once fewer are left, which costs no throughput (80,000 orders)."""
BEYOND_ERRORS = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001 - as above
UNREADABLE_ERRORS = (
    KafkaError._BAD_MSG,  # noqa: SLF001 - as above
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - as above
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001 - as above; a codec that the client lacks
    KafkaError.INVALID_MSG,
    KafkaError.MSG_SIZE_TOO_LARGE,
)
"""The client skips what these are about, or asks for it for ever."""
DECIDE = "decide where to continue: `orders resume --help`"
find_end = re.compile(r"truncation detected.* broker end offset is (\d+)").search
"""What the client says of a log that was truncated and has grown again (KIP-320): the first offset that was lost."""
GROUP_PROTOCOLS = {
    "classic": {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.remote.assignor": "uniform"},
}


RawHeaders = Iterable[tuple[str, str | bytes | None]]


class PositionStore(Opening, Protocol):
    """Where the partitions of the topic stand, as PostgreSQL has it."""

    def positions(self) -> Mapping[tuple[str, int], Position]: ...
    def begin(self, topic_id: str, starts: Mapping[int, int]) -> None: ...
    def stop(self, topic_id: str, partition: int, position: int, stop: Stop) -> None: ...


class AssignmentListener(Protocol):
    """Who hears which partitions come and go, and knows which positions it has reached in those that it has."""

    @property
    def begins(self) -> Mapping[int, int]: ...
    def placed(self, partition: int, position: int) -> None: ...
    def lost(self, partitions: Iterable[int]) -> None: ...


def consumer_config(
    *, kafka: Mapping[str, str], group: str, member: str, protocol: str, session_seconds: float, queue_bytes: int
) -> dict[str, Any]:
    """Properties of an ingest's consumer; queue and fetch limits are the bound of its memory."""
    config: dict[str, Any] = {
        "group.id": group,
        "client.id": member,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",  # any other value skips silently where retention has passed us
        "queued.max.messages.kbytes": max(queue_bytes // 1024, 1),
        "queued.min.messages": max(queue_bytes // LARGEST_RECORD, 1),
        "check.crcs": True,  # else what a disk made of a record is taken for it
        "fetch.message.max.bytes": LARGEST_RECORD,
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 20,  # else a full queue is looked at again after a second, and runs dry meanwhile
        "socket.timeout.ms": 15_000,  # how long a silent broker goes unnoticed, and a whole fetch may take
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    if protocol == "classic":
        # A static member that died comes back to its partitions at once. Under KIP-848 the broker refuses
        # it until the old session ends, so that there a new member is faster.
        # A member learns from its heartbeat that another one joins; until then partitions stand idle.
        config |= {
            "group.instance.id": member,
            "session.timeout.ms": int(session_seconds * 1000),
            "heartbeat.interval.ms": HEARTBEAT_MILLISECONDS,
        }
    return config | GROUP_PROTOCOLS[protocol] | dict(kafka)


class OrderConsumer:
    """A member of the consumer group, reading one topic.

    A partition whose position cannot be determined is assigned paused, and `trouble` says why until `place` finds it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        view: TopicView,
        positions: PositionStore,
        owner: AssignmentListener,
        growth_seconds: float,
    ) -> None:
        """`growth_seconds` is how long a producer may take to learn that the topic has more partitions."""
        self._consumer = clients.consumer(config)
        self._view = view
        self._topic = view.topic
        self._positions = positions
        self._owner = owner
        self._assigned: set[int] = set()
        self._unplaced: set[int] = set()
        self._placed: set[int] = set()
        self._epochs: dict[int, Reached] = {}
        """Seeking with the leader epoch of what was read last finds a log truncation (KIP-320)."""
        self._stops_met: dict[int, Stop | None] = {}
        """What Kafka's client met, not yet in PostgreSQL; None: a position outside, below or above is to be seen."""
        self.stops: dict[int, Stop] = {}
        """Why partitions of ours are not read on."""
        self._growth = Growth(view, positions, growth_seconds)
        self._logged: dict[int, Stop] = {}
        """The same of partitions that were ours, until they are read on: a stop that comes back is not logged again."""
        self._is_paused = False
        self._group = config["group.id"]
        self._is_classic = config.get("group.protocol") == "classic"
        self._barred: OrdersError | None = None
        """Why the group does not let us in; nothing but an assignment says that it does again."""
        self._trouble: OrdersError | None = None
        self._blocked: OrdersError | None = None
        """Which stopped partition a new one of ours waits for."""
        self.topic_id = ""
        self._subscribe()

    @property
    def trouble(self) -> OrdersError | None:
        """Why some partition of ours is not read; None if all are."""
        return self._blocked or self._trouble

    @property
    def partitions(self) -> list[int]:
        """Partitions that are assigned to us, sorted."""
        return sorted(self._assigned)

    def poll(self, wait: float) -> list[Record]:
        """Records that are there, after at most `wait` seconds for the first; raises `Misconfigured`."""
        try:
            messages = self._take(wait)
        except KafkaException as error:
            raise ended(error.args[0]) from None
        records = [record_of(message) for message in messages if not self._failed(message)]
        if self._growth.is_limiting:
            records = self._within(records)
        self._epochs |= {record.partition: Reached(record.offset + 1, record.epoch) for record in records}
        return records

    def reached(self) -> dict[int, Reached]:
        """Up to where `poll` has given each partition, with the control records, which are never given.

        It is Kafka's client's own position, which moves as records and control records leave its queue, in their order.
        After a seek it is not known until the next of either leaves.
        """
        reported = self._consumer.position(self._named(self._assigned - self._unplaced))
        reached = {
            place.partition: self._growth.capped(place.partition, Reached(place.offset, place.leader_epoch))
            for place in reported
            if place.offset >= 0
        }
        self._epochs |= reached
        return reached

    def _within(self, records: list[Record]) -> list[Record]:
        """Those that may be read yet; the client is stopped where it goes beyond, and seeks back once more may be."""
        records, beyond = self._growth.within(records)
        self._pause(beyond)
        return records

    def _take(self, wait: float) -> list[Message]:
        first = self._consumer.poll(wait)
        if first is None:
            return []
        self._placed.clear()
        more = self._consumer.consume(CONSUME_MOST, 0)
        # A partition that went and came back meanwhile begins again; what was read of it before would leave a gap.
        return more if first.partition() in self._placed else [first, *more]

    def _failed(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._FATAL:  # noqa: SLF001 - as above; `fatal()` says no, and polling would continue
            raise ended(error)
        partition = message.partition() or 0
        if error.code() in (*BEYOND_ERRORS, *UNREADABLE_ERRORS):
            # Of one that waits for its position it says nothing: that was fetched from where nobody wants it now.
            if partition not in self._unplaced:
                self._meet(partition, message, error)
            return True
        log.warning("kafka_error", reason=error.name(), partition=message.partition())
        if isinstance(wrong := verdict(error, self._topic, permission="Read", group=self._group), Misconfigured):
            self._trouble = wrong
            if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                self._barred = wrong
        return True

    def _meet(self, partition: int, message: Message, error: KafkaError) -> None:
        """Reads no further until `place` has looked at it."""
        place = f"{self._topic}/{partition}"
        reason = f"where {place} was read lies outside of what Kafka holds"
        self._stops_met[partition] = stop = None
        if error.code() in UNREADABLE_ERRORS:
            what = f"what Kafka holds in {place} at offset {message.offset()} cannot be read ({error.name()})"
            self._stops_met[partition] = stop = Stop("unreadable", f"{what}; {DECIDE}")
        elif end := find_end(error.str()):
            lost = f"what it held from offset {end[1]} on is lost, and other records took its place"
            what = f"the log of {place} was truncated: {lost}"
            self._stops_met[partition] = stop = Stop("went_back", f"{what}; {DECIDE}")
        self._unplace([partition], Misconfigured(stop.reason if stop else reason))

    def _outside(self, partition: int, position: int, low: int, high: int) -> Stop:
        held = f"Kafka holds {low} to {high} of {self._topic}/{partition}"
        if position < low:
            return Stop("retention", f"retention has passed the stored position {position}: {held}; {DECIDE}")
        return Stop("went_back", f"the log was truncated, below the stored position {position}: {held}; {DECIDE}")

    # -- assignment --

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [p.partition for p in partitions]
        self._assigned.update(numbers)
        self._barred = None
        found = self._try_positions(numbers)
        places = self._harmless([n for n in numbers if n not in found]) | found
        consumer.incremental_assign([self._place(*place) for place in places.items()])
        found = found if self._start(found) else {}  # librdkafka 2.16 looks at an epoch where it seeks alone
        self._unplaced.update(set(numbers) - set(found))
        self._pause(numbers if self._is_paused else [n for n in numbers if n not in found])
        log.info("partitions_assigned", partitions=numbers, waiting=sorted(self._unplaced))
        self._tell(found)

    def _harmless(self, partitions: Iterable[int]) -> dict[int, int]:
        """Where partitions are assigned, paused, whose positions cannot be determined: at an offset that is there.

        A logical one such as `OFFSET_BEGINNING` would be asked of the broker, and where the answer is late librdkafka
        asks again and goes there, wherever it was sent to seek meanwhile.
        """
        places = dict.fromkeys(partitions, 0)
        with suppress(Unavailable):
            for partition in places:
                places[partition] = self._watermarks(partition)[0]
        return places

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [p.partition for p in partitions]
        self._assigned.difference_update(numbers)
        self._unplaced.difference_update(numbers)
        for partition in numbers:
            self.stops.pop(partition, None)
            self._epochs.pop(partition, None)
        self._growth.forget(numbers)
        self._owner.lost(numbers)
        consumer.incremental_unassign(partitions)
        log.info("partitions_revoked", partitions=numbers)

    def _tell(self, found: Mapping[int, int]) -> None:
        self._placed.update(found)
        for partition, position in found.items():
            self._owner.placed(partition, position)
        self.mirror(found)

    def place(self) -> None:
        """Tries again to find positions that could not be determined; `trouble` says what is in the way."""
        waiting = sorted(self._unplaced)
        found = self._try_positions(waiting) if waiting else {}
        if len(found) == len(waiting):
            self._trouble = None
        if self._start(found):
            self._unplaced.difference_update(found)
            self._tell(found)

    def _start(self, places: Mapping[int, int]) -> bool:
        """Goes to `places`, and fetches from there unless paused; False where Kafka's client is not ready for it."""
        try:
            self._go_to([self._place(*place) for place in places.items()])
        except KafkaException as error:
            self._unplace(places, Unavailable(f"Kafka cannot seek yet ({error.args[0].name()})"))
            return False
        self._growth.sent_back(places)
        if not self._is_paused:
            self._consumer.resume(self._named(places))
        return True

    def _place(self, partition: int, position: int) -> TopicPartition:
        """Where to read; with the epoch of the record before, by which the brokers notice that they have lost it."""
        offset, epoch = self._epochs.get(partition, Reached(position))
        if epoch is None or offset != position:
            return TopicPartition(self._topic, partition, position)
        return TopicPartition(self._topic, partition, position, leader_epoch=epoch)

    def _go_to(self, places: list[TopicPartition]) -> None:
        try:
            self._seek(places)
        except KafkaException:
            # The client refuses for good where it gave a partition up, as after its topic was recreated.
            self._consumer.incremental_unassign(places)
            self._consumer.incremental_assign(places)
            self._pause(place.partition for place in places)
            with suppress(KafkaException):
                self._seek(places)

    def _seek(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            self._consumer.seek(place)

    def check(self) -> None:
        """Whether this is still the topic that was assigned, and its positions ours; to be called every few seconds.

        Positions go back where a standby takes over that lacks the last commits. A batch would meet that, but there is
        none as long as nothing comes. The log is truncated where brokers get older data, their own epochs with it: such
        ones answer no fetch that names a later epoch, and the client asks for ever.
        """
        if self._unplaced:
            self.place()  # the others are looked at all the same: one that is stopped may stay so for days
        try:
            topic = self._view.look("Read")
            stored = {} if self._is_paused else self._stored()
        except OrdersError as error:
            self._trouble = error
            return
        if not self._unplaced:
            self._trouble = self._barred
        same = topic.topic_id == self.topic_id and (self._is_paused or self._is_in_place(topic.ends, stored))
        self._blocked = None
        if not same and self._assigned:
            self.return_to_stored()
        elif not self._is_paused:
            self._let_in(topic.ends, stored)

    def _stored(self) -> dict[int, Position]:
        positions = self._positions.positions().items()
        return {partition: position for (topic_id, partition), position in positions if topic_id == self.topic_id}

    def _is_in_place(self, ends: Mapping[int, int], stored: Mapping[int, Position]) -> bool:
        begins = self._owner.begins
        return all(n in stored and stored[n].offset == begin <= ends.get(n, begin) for n, begin in begins.items())

    # -- new partitions --

    @property
    def is_growing(self) -> bool:
        """Whether a partition of ours is a new one, which `check` lets be read bit by bit."""
        return bool(self._growth.limits)

    def _let_in(self, ends: Mapping[int, int], stored: Mapping[int, Position]) -> None:
        ours = {n: stored[n] for n in self._owner.begins}
        try:
            self._growth.step(self.topic_id, ours, stored, ends)
            self._join_for(stored)
            self._blocked = self._growth.blocked(stored)
        except OrdersError as error:
            self._trouble = error
        self._start({n: ours[n].offset for n in self._growth.to_send_back if n in ours})

    def _join_for(self, stored: Mapping[int, Position]) -> None:
        """Joins the group again where it has given a new partition to nobody.

        A static member that came back in time gets what it had (KIP-345): the topic that grew meanwhile no member
        looks at. Under KIP-848 the brokers do.
        """
        if not self._is_classic:
            return
        new = {n for n, position in stored.items() if position.below is not None} - self._assigned
        owned = self._view.owned(self._group) if new else None
        if owned is not None and new - owned:
            log.info("group_joined_again", partitions=sorted(new - owned))
            self._consumer.unsubscribe()
            self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def return_to_stored(self) -> None:
        """Goes back to the stored positions, in all partitions."""
        self._unplace(self.partitions, None)
        self.place()

    def _unplace(self, partitions: Iterable[int], trouble: OrdersError | None) -> None:
        numbers = [p for p in partitions if p in self._assigned]
        self._unplaced.update(numbers)
        self._owner.lost(numbers)
        self._pause(numbers)
        self._trouble = trouble or self._trouble

    def _try_positions(self, partitions: list[int]) -> dict[int, int]:
        said, found = str(self._trouble), dict[int, int]()
        try:
            found = self._find_positions(partitions)
        except OrdersError as error:
            self._trouble = error
        unknown = [n for n in partitions if n not in found and n not in self.stops]
        if unknown and str(self._trouble) != said:
            log.warning("positions_unknown", partitions=unknown, reason=str(self._trouble))
        return found

    def _find_positions(self, partitions: list[int]) -> dict[int, int]:
        topic = self._view.look("Read")
        if topic.topic_id != self.topic_id:
            self._stops_met.clear()
        self.topic_id = topic.topic_id
        stored = self._positions.positions()
        if stored and not any(topic_id == self.topic_id for topic_id, _ in stored):
            stop = Stop("anew", f"{recreated(self._topic)}; {DECIDE}")
            for partition in self.partitions:
                self._stop(partition, stop)
            self._stops_met.clear()  # nothing is read of the new topic: what the client says late is of the old one
            raise Misconfigured(stop.reason)
        if lacking := [n for n in topic.ends if (self.topic_id, n) not in stored]:
            self._positions.begin(self.topic_id, self._view.starts(lacking))
            if stored:
                log.info("partitions_added", partitions=lacking)
            stored = self._positions.positions()
        if unlisted := [n for n in partitions if (self.topic_id, n) not in stored]:
            raise Unavailable(f"the brokers do not list partitions {unlisted} of {self._topic} yet")
        places = {n: stored[self.topic_id, n] for n in partitions}
        for partition, position in places.items():
            self._look_at(partition, position)
        if reasons := [self.stops[n].reason for n in places if n in self.stops]:
            others = f" (and {len(reasons) - 1} partitions more are stopped)" if reasons[1:] else ""
            self._trouble = Misconfigured(reasons[0] + others)
        found = {n: position for n, position in places.items() if n not in self.stops}
        self._epochs |= {n: Reached(position.offset, position.epoch) for n, position in found.items()}
        self._growth.place(found)
        return {n: position.offset for n, position in found.items()}

    def _look_at(self, partition: int, position: Position) -> None:
        """Notes why a partition may not continue from here, or that it may."""
        if stop := position.stop or self._see(partition, position.offset):
            self._stop(partition, stop)
        else:
            self.stops.pop(partition, None)
            self._logged.pop(partition, None)
        self._stops_met.pop(partition, None)

    def _stop(self, partition: int, stop: Stop) -> None:
        if self._logged.get(partition) != stop:
            log.error("partition_stopped", partition=partition, reason=stop.reason)
        self.stops[partition] = self._logged[partition] = stop

    def _see(self, partition: int, position: int) -> Stop | None:
        """Why Kafka gives no way to continue from here; said in PostgreSQL, since a truncated log grows again."""
        low, high = self._watermarks(partition)
        if partition not in self._stops_met and low <= position <= high:
            return None
        stop = self._stops_met.get(partition) or self._outside(partition, position, low, high)
        self._positions.stop(self.topic_id, partition, position, stop)
        return stop

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            watermarks = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), REQUEST_SECONDS)
        except KafkaException as error:
            raise Unavailable(f"Kafka cannot report its offsets ({error.args[0].name()})") from error
        if watermarks is None:
            raise Unavailable("Kafka did not report its offsets in time")
        return watermarks

    # -- flow --

    def pause(self) -> None:
        """Stops fetching; polling must continue, or the group takes the partitions away."""
        self._is_paused = True
        self._pause(self.partitions)

    def resume(self, places: Mapping[int, int]) -> None:
        """Fetches again from `places`, the next offset of each partition that has a position.

        Without the seek, what librdkafka had fetched when it was paused would be skipped now and then.
        """
        self._is_paused = False
        self._start(places)

    def _pause(self, partitions: Iterable[int]) -> None:
        self._consumer.pause(self._named(partitions))

    def mirror(self, offsets: Mapping[int, int]) -> None:
        """Shows positions as the group's offsets, for lag tools and scalers; nothing depends on it."""
        if not offsets:
            return
        try:
            self._consumer.commit(
                offsets=[TopicPartition(self._topic, p, o) for p, o in offsets.items()], asynchronous=True
            )
        except KafkaException as error:
            log.debug("mirror_failed", reason=error.args[0].name())

    def _named(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, p) for p in sorted(partitions)]

    def close(self) -> None:
        self._consumer.close()


def ended(error: KafkaError) -> Misconfigured:
    """What a client cannot get over, such as another one with its member id."""
    return Misconfigured(f"Kafka's client cannot continue: {error.str()}")


def record_of(message: Message) -> Record:
    """Our own value for Kafka's message, which is not kept: it holds more memory than its bytes."""
    kind, time = message.timestamp()
    headers = headers_of(message)
    return Record(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        time=None if kind == TIMESTAMP_NOT_AVAILABLE or time < 0 else time,  # -1 is Kafka's own word for none
        key=value_bytes(message.key()),
        value=value_bytes(message.value()),
        headers=headers or (),
        headers_lost=headers is None,
        epoch=message.leader_epoch(),
    )


def headers_of(message: Message) -> tuple[tuple[str, bytes | None], ...] | None:
    """None where a name is not UTF-8, which Kafka's client does not give; it may even leave by a `SystemError`."""
    try:
        return tuple((name, value_bytes(value)) for name, value in cast("RawHeaders", message.headers() or ()))
    except UnicodeDecodeError:
        return None
    except SystemError as error:  # it returns with the other exception set
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        return None


def value_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
