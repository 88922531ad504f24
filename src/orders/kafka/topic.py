"""What the brokers say of the topic: its identity and where its partitions end."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import AclOperation, NewTopic, OffsetSpec  # type: ignore[attr-defined] # public, not exported

from orders import threads
from orders.errors import Misconfigured, OrdersError, Unavailable
from orders.kafka import clients
from orders.kafka.errors import LastClientError, no_permission, verdict
from orders.timing import Clock, monotonic

REQUEST_SECONDS = 2.0
CREATE_SECONDS = 15.0
RENEWED_SECONDS = 5.0
"""How long a client may go without an answer until it is recreated: one to which a broker named no broker at all, as it
does while it is fenced, may never ask again (librdkafka 2.16)."""
REFRESH_SECONDS = 5.0
"""How old the topic's identity may be before it is asked for again."""
NO_ID = str(Uuid(0, 0))
"""What a broker says that gives topics no ids (KIP-516)."""
REFUSED = frozenset(
    {
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_CONFIG,
        KafkaError.POLICY_VIOLATION,
    }
)
"""What the brokers have against a topic that is to be made: they say it best."""


Right = Literal["Read", "Write"]
PERMISSIONS: Mapping[Right, AclOperation] = {"Read": AclOperation.READ, "Write": AclOperation.WRITE}


class TopicSnapshot(NamedTuple):
    """The topic at one moment; `ends` has the next offset of every partition."""

    topic_id: str
    ends: dict[int, int]


class TopicView:
    """Asks the brokers about one topic; calls block. `kafka` are the properties that lead to the brokers."""

    def __init__(self, kafka: Mapping[str, str], topic: str, clock: Clock = monotonic) -> None:
        self.topic = topic
        self._last_error = LastClientError()
        self._clock = clock
        self._properties = {
            "client.id": "orders",
            # A look that is given up leaves its request on the connection, which is silent until that is over.
            "socket.timeout.ms": int(REQUEST_SECONDS * 1000),
            "reconnect.backoff.max.ms": 1000,
            **kafka,
            "error_cb": self._last_error,
        }
        self._begin()

    def _begin(self) -> None:
        self._admin = clients.admin(self._properties)
        self._last_error.forget()
        self._answered_at = self._clock()

    def look(self, *needed: Right) -> TopicSnapshot:
        """Identity and ends. Raises `Unavailable` or `Misconfigured`, within about two requests' time.

        The permissions that are needed are asked for too: the client reports its lack to a consumer only once, and a
        producer when it is too late.
        """
        with self._asked():
            topic_id, partitions, permissions = self._describe()
            for permission in needed:
                if permissions and PERMISSIONS[permission] not in permissions:
                    raise no_permission(permission, "topic", self.topic)
            return TopicSnapshot(topic_id, self._offsets(partitions, OffsetSpec.latest()))  # type: ignore[no-untyped-call] # untyped

    def starts(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset that there is of each; raises `Unavailable` or `Misconfigured`."""
        with self._asked():
            return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call] # the library's

    def owned(self, group: str) -> set[int] | None:
        """The partitions that members of a consumer group have; None while it hands them out. Raises as `look` does."""
        with self._asked():
            (asked,) = self._admin.describe_consumer_groups([group], request_timeout=REQUEST_SECONDS).values()
            found = asked.result(REQUEST_SECONDS + 1)
        if found.state != ConsumerGroupState.STABLE:
            return None
        places = (place for member in found.members for place in member.assignment.topic_partitions)
        return {place.partition for place in places if place.topic == self.topic}

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except (KafkaException, TimeoutError) as error:
            self._admin.poll(0)
            trouble = self._last_error.trouble(error, self.topic)
            if isinstance(trouble, Unavailable) and self._clock() - self._answered_at >= RENEWED_SECONDS:
                self._begin()
            raise trouble from None
        self._last_error.forget()
        self._answered_at = self._clock()

    def _describe(self) -> tuple[str, list[int], list[AclOperation]]:
        """Id, partitions, and what we may do; no permissions where the broker does not report them."""
        answers = self._admin.describe_topics(
            TopicCollection([self.topic]), request_timeout=REQUEST_SECONDS, include_authorized_operations=True
        )
        found = answers[self.topic].result(REQUEST_SECONDS + 1)
        return (
            identity(found.topic_id, self.topic),
            [each.id for each in found.partitions],
            found.authorized_operations or [],
        )

    def _offsets(self, partitions: Iterable[int], which: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(self.topic, partition): which for partition in partitions}
        answers = self._admin.list_offsets(asked, request_timeout=REQUEST_SECONDS)
        return {place.partition: answer.result(REQUEST_SECONDS + 1).offset for place, answer in answers.items()}


def identity(topic_id: Uuid, topic: str) -> str:
    """The topic's id as text; raises `Misconfigured` where it has none."""
    if str(topic_id) == NO_ID:
        raise Misconfigured(
            f"topic {topic!r} has no id, without which one that was recreated looks the same: upgrade the "
            "brokers to Kafka 2.8 or later, and their inter.broker.protocol.version if it is set"
        )
    return str(topic_id)


def recreated(topic: str) -> str:
    """What is said where the topic that is there is not the one of the stored positions."""
    return f"topic {topic} was recreated: PostgreSQL holds positions of an older topic of that name"


def create_topic(
    kafka: Mapping[str, str],
    topic: str,
    partitions: int,
    replication_factor: int = 1,
    config: Mapping[str, str] | None = None,
) -> bool:
    """Makes a topic, with `config` instead of the brokers' defaults; False where it exists already.

    Raises `Unavailable` or `Misconfigured`.
    """
    admin = clients.admin({"client.id": "orders", "log_level": 0, **kafka})
    wanted = NewTopic(topic, partitions, replication_factor, config=dict(config or {}))
    made = admin.create_topics([wanted], operation_timeout=CREATE_SECONDS)
    try:
        made[topic].result(CREATE_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise _not_made(error.args[0], topic) from None
    except TimeoutError:
        raise Unavailable("Kafka does not answer") from None
    return True


def _not_made(error: KafkaError, topic: str) -> Unavailable | Misconfigured:
    if error.code() not in REFUSED:
        return verdict(error, topic, permission="Create")
    why = error.str().rstrip(".")
    return Misconfigured(f"Kafka refuses to make topic {topic!r}: {why}; see `orders topics create --help`")


class TopicWatch:
    """The last view of a topic, for an event loop: looks in a thread, one look at a time, shared by all who ask."""

    def __init__(self, look: Callable[[], TopicSnapshot], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._last: TopicSnapshot | OrdersError = Unavailable("Kafka was not asked yet")
        self._at = float("-inf")
        self._topic_id: str | None = None
        self._looking: asyncio.Task[None] | None = None

    async def view(self, max_age: float) -> TopicSnapshot:
        """The topic as it was at most `max_age` seconds ago. Raises `Unavailable` or `Misconfigured`."""
        if self._clock() - self._at >= max_age:
            await asyncio.shield(self._refresh())
        if isinstance(self._last, OrdersError):
            raise self._last
        return self._last

    async def identity(self) -> str:
        """The topic's id as last seen; brokers that are unavailable now do not take it back. Raises if never seen."""
        if self._topic_id is None:
            return (await self.view(0)).topic_id
        if self._clock() - self._at >= REFRESH_SECONDS:
            self._refresh()
        return self._topic_id

    def _refresh(self) -> "asyncio.Task[None]":
        if self._looking is None or self._looking.done():
            self._looking = threads.background("topic", self._see())
        return self._looking

    async def _see(self) -> None:
        try:
            self._last = view = await asyncio.to_thread(self._look)
            self._topic_id = view.topic_id
        except OrdersError as error:
            self._last = error
        self._at = self._clock()
