"""Kafka to records: assignment at the stored positions, pause and resume. Group offsets are never read.

Like `producer` and `topic` it knows the Kafka client. All callbacks run inside `poll`, in the same thread.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, cast

import structlog
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from orders import clients
from orders.errors import Away, OrdersError, SetupWrong
from orders.record import Record
from orders.topic import TopicView
from orders.troubles import verdict

log = structlog.get_logger()

REQUEST_SECONDS = 5.0
HEARTBEAT_MILLISECONDS = 500
CONSUME_MOST = 500
"""Most messages taken at once: more gains nothing, and each holds 1.5 KB until it is a record."""
LARGEST_RECORD = 2**20
"""Kafka's default limit of a record, about. Kafka's client counts what it has fetched ahead by values alone; a count of
records bounds keys and headers too. It fetches anew once fewer are left, which costs no throughput (80,000 orders)."""
BEYOND_ERRORS = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001 - as above
UNREADABLE_ERRORS = (
    KafkaError._BAD_MSG,  # noqa: SLF001 - as above
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - as above
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001 - as above; a codec that the client lacks
    KafkaError.INVALID_MSG,
    KafkaError.MSG_SIZE_TOO_LARGE,
)
"""The client skips what these are about, or asks for it for ever."""
DECIDE = "decide where to go on and set the partition's row in table positions"
GROUP_PROTOCOLS = {
    "classic": {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.remote.assignor": "uniform"},
}


Headers = Iterable[tuple[str, str | bytes | None]]


class Positions(Protocol):
    """Where the partitions of the topic stand, as PostgreSQL has it."""

    def positions(self) -> Mapping[tuple[str, int], int]: ...
    def begin(self, topic_id: str, partition: int, position: int) -> None: ...


class Owner(Protocol):
    """Who is told which partitions come and go."""

    def placed(self, partition: int, position: int) -> None: ...
    def lost(self, partitions: Iterable[int]) -> None: ...


class Stop(NamedTuple):
    """Why a partition is not read on, until its stored position is no longer this one; None: it was not read yet."""

    position: int | None
    reason: str


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

    A partition whose position cannot be told is assigned paused, and `trouble` says why until `place` finds it.
    """

    def __init__(self, config: Mapping[str, Any], view: TopicView, positions: Positions, owner: Owner) -> None:
        self._consumer = clients.consumer(config)
        self._view = view
        self._topic = topic = view.topic
        self._positions = positions
        self._owner = owner
        self._assigned: set[int] = set()
        self._unplaced: set[int] = set()
        self._unstarted: set[int] = set()
        self._placed: set[int] = set()
        self._stops: dict[int, Stop] = {}
        self._held = False
        self._group = config["group.id"]
        self._barred: OrdersError | None = None
        """Why the group does not let us in; nothing but an assignment says that it does again."""
        self.trouble: OrdersError | None = None
        self.topic_id = ""
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    @property
    def partitions(self) -> list[int]:
        """Partitions that are assigned to us, sorted."""
        return sorted(self._assigned)

    def poll(self, wait: float) -> list[Record]:
        """Records that are there, after at most `wait` seconds for the first; raises `SetupWrong`."""
        try:
            messages = self._take(wait)
        except KafkaException as error:
            raise ended(error.args[0]) from None
        return [record_of(message) for message in messages if not self._failed(message)]

    def _take(self, wait: float) -> list[Message]:
        first = self._consumer.poll(wait)
        if first is None:
            return []
        self._placed.clear()
        more = self._consumer.consume(CONSUME_MOST, 0)
        # A partition that went and came back meanwhile begins anew; what was read of it before would leave a gap.
        return more if first.partition() in self._placed else [first, *more]

    def _failed(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._FATAL:  # noqa: SLF001 - as above; `fatal()` says no, and polling would go on
            raise ended(error)
        log.warning("kafka_error", reason=error.name(), partition=message.partition())
        partition = message.partition() or 0
        if partition in self._unstarted and error.code() in (*BEYOND_ERRORS, *UNREADABLE_ERRORS):
            return True  # fetched before the pause took hold, from where nobody wanted it
        if error.code() in BEYOND_ERRORS:
            self._stop(partition, self._beyond(partition))
        elif error.code() in UNREADABLE_ERRORS:
            self._stop(partition, self._unreadable(message, error))
        elif isinstance(wrong := verdict(error, self._topic, right="Read", group=self._group), SetupWrong):
            self.trouble = wrong
            if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                self._barred = wrong
        return True

    def _stop(self, partition: int, reason: str) -> None:
        self._stops[partition] = Stop(None, reason)
        self._unplace([partition], SetupWrong(reason))

    def _beyond(self, partition: int) -> str:
        return (
            f"the stored position of {self._topic}/{partition} was outside of what Kafka holds: retention has passed "
            f"it, or the log went back; {DECIDE}"
        )

    def _unreadable(self, message: Message, error: KafkaError) -> str:
        place = f"{self._topic}/{message.partition()} at offset {message.offset()}"
        return f"what Kafka holds in {place} cannot be read ({error.name()}); {DECIDE}"

    # -- assignment --

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [p.partition for p in partitions]
        self._assigned.update(numbers)
        self._barred = None
        found = self._try_positions(numbers)
        places = self._harmless([n for n in numbers if n not in found]) | found
        consumer.incremental_assign([TopicPartition(self._topic, *place) for place in places.items()])
        self._unstarted.update(set(numbers) - set(found))
        self._unplaced.update(set(numbers) - set(found))
        self._pause(numbers if self._held else [n for n in numbers if n not in found])
        log.info("partitions_assigned", partitions=numbers, waiting=sorted(self._unplaced))
        self._tell(found)

    def _harmless(self, partitions: Iterable[int]) -> dict[int, int]:
        """Where partitions are assigned, paused, whose positions cannot be told: at an offset that is there.

        A logical one such as `OFFSET_BEGINNING` would be asked of the broker, and where the answer is late librdkafka
        asks again and goes there, wherever it was told to seek meanwhile.
        """
        places = dict.fromkeys(partitions, 0)
        with suppress(Away):
            for partition in places:
                places[partition] = self._watermarks(partition)[0]
        return places

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [p.partition for p in partitions]
        self._assigned.difference_update(numbers)
        self._unplaced.difference_update(numbers)
        self._unstarted.difference_update(numbers)
        self._owner.lost(numbers)
        consumer.incremental_unassign(partitions)
        log.info("partitions_revoked", partitions=numbers)

    def _tell(self, found: Mapping[int, int]) -> None:
        self._placed.update(found)
        for partition, position in found.items():
            self._owner.placed(partition, position)
        self.mirror(found)

    def place(self) -> None:
        """Tries again to find positions that could not be told; `trouble` says what is in the way."""
        waiting = sorted(self._unplaced)
        found = self._try_positions(waiting) if waiting else {}
        if len(found) == len(waiting):
            self.trouble = None
        if self._start(found):
            self._unplaced.difference_update(found)
            self._unstarted.difference_update(found)
            self._tell(found)

    def _start(self, places: Mapping[int, int]) -> bool:
        """Goes to `places`, and fetches from there unless held; False where Kafka's client is not ready for it."""
        try:
            self._go_to([TopicPartition(self._topic, p, position) for p, position in places.items()])
        except KafkaException as error:
            self._unplace(places, Away(f"Kafka cannot seek yet ({error.args[0].name()})"))
            return False
        if not self._held:
            self._consumer.resume(self._named(places))
        return True

    def _go_to(self, places: list[TopicPartition]) -> None:
        try:
            for place in places:
                self._consumer.seek(place)
        except KafkaException:
            # The client refuses for good where it gave a partition up, as after its topic was made anew.
            self._consumer.incremental_unassign(places)
            self._consumer.incremental_assign(places)
            self._pause(place.partition for place in places)

    def check(self) -> None:
        """Whether this is still the topic that was assigned; to be called every few seconds."""
        if self._unplaced:
            return self.place()
        try:
            same = self.read_topic_id() == self.topic_id
        except OrdersError as error:
            self.trouble = error
            return None
        self.trouble = self._barred
        return None if same or not self._assigned else self.replace()

    def replace(self) -> None:
        """Goes back to the stored positions, in all partitions."""
        self._unplace(self.partitions, None)
        self.place()

    def _unplace(self, partitions: Iterable[int], trouble: OrdersError | None) -> None:
        numbers = [p for p in partitions if p in self._assigned]
        self._unplaced.update(numbers)
        self._owner.lost(numbers)
        self._pause(numbers)
        self.trouble = trouble or self.trouble

    def _try_positions(self, partitions: list[int]) -> dict[int, int]:
        said, found = str(self.trouble), dict[int, int]()
        try:
            found = self._find_positions(partitions)
        except OrdersError as error:
            self.trouble = error
        if len(found) < len(partitions) and str(self.trouble) != said:
            log.warning("positions_unknown", partitions=partitions, reason=str(self.trouble))
        return found

    def _find_positions(self, partitions: list[int]) -> dict[int, int]:
        topic_id = self.read_topic_id()
        if topic_id != self.topic_id:
            self._stops.clear()
        self.topic_id = topic_id
        stored = self._positions.positions()
        if stored and not any(topic_id == self.topic_id for topic_id, _ in stored):
            raise SetupWrong(
                f"topic {self._topic} was made anew: PostgreSQL holds positions of an older topic of that name; "
                "to read the new one from its start, delete the rows of this topic from table positions"
            )
        places = {n: self._position(n, stored.get((self.topic_id, n))) for n in partitions}
        reasons = {n: reason for n, position in places.items() if (reason := self._reason(n, position))}
        for reason in reasons.values():
            self.trouble = SetupWrong(reason)
        return {n: position for n, position in places.items() if n not in reasons}

    def _position(self, partition: int, stored: int | None) -> int:
        if stored is not None:
            return stored
        self._positions.begin(self.topic_id, partition, self._watermarks(partition)[0])
        return self._positions.positions()[self.topic_id, partition]

    def _reason(self, partition: int, position: int) -> str:
        """Why a partition cannot go on from here, or "". A log that went back grows again, past the position."""
        low, high = self._watermarks(partition)
        stop = self._stops.pop(partition, None)
        if stop is None or stop.position not in {None, position}:
            stop = None if low <= position <= high else Stop(position, self._beyond(partition))
        if stop is None:
            return ""
        self._stops[partition] = stop._replace(position=position)
        return stop.reason

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            marks = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), REQUEST_SECONDS)
        except KafkaException as error:
            raise Away(f"Kafka cannot tell its offsets ({error.args[0].name()})") from error
        if marks is None:
            raise Away("Kafka did not tell its offsets in time")
        return marks

    def read_topic_id(self) -> str:
        """The topic's id, which changes when a topic is made anew; raises `Away` or `SetupWrong`."""
        return self._view.look("Read").topic_id

    # -- flow --

    def hold(self) -> None:
        """Stops fetching; polling must go on, or the group takes the partitions away."""
        self._held = True
        self._pause(self.partitions)

    def go_on(self, places: Mapping[int, int]) -> None:
        """Fetches again from `places`, the next offset of each partition that has a position.

        Without the seek, what librdkafka had fetched when it was paused would be skipped now and then.
        """
        self._held = False
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


def ended(error: KafkaError) -> SetupWrong:
    """What a client cannot get over, such as another one with its member id."""
    return SetupWrong(f"Kafka's client cannot go on: {error.str()}")


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
    )


def headers_of(message: Message) -> tuple[tuple[str, bytes | None], ...] | None:
    """None where a name is not UTF-8, which Kafka's client does not give; it may even leave by a `SystemError`."""
    try:
        return tuple((name, value_bytes(value)) for name, value in cast("Headers", message.headers() or ()))
    except UnicodeDecodeError:
        return None
    except SystemError as error:  # it returns with the other exception set
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        return None


def value_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
