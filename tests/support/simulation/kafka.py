"""Kafka as `consumer.OrderConsumer` sees it: a topic's log, a group that moves partitions about, and a client.

Modelled: the log of each partition with its end, the topic's id, static members whose partitions come and go in their
own `poll` (cooperative: given up by one before another gets it), members that the group has given up and that learn of
it when they poll, brokers that are unavailable, positions out of range with `auto.offset.reset=error`, a pause whose
fetched records are skipped now and then unless a seek follows, a seek that the client refuses, records that come twice,
control records of transactions, which the client steps over in silence, and its own position, unknown after a seek.

Not modelled: the bytes of a fetch and their limits, KIP-848 apart from the classic protocol (both look alike from
here), and a broker's own replication.
"""

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import NamedTuple, cast

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from orders.errors import Unavailable
from orders.kafka.topic import TopicSnapshot, TopicView
from orders.record import CONDITION_HEADER, REPLY_HEADER
from support.simulation.chance import Chance

TOPIC = "orders"
MOST_AT_ONCE = 6
"""Records that one poll brings at most."""
LEADER_EPOCH = 0
"""Of every record: no leader of the log ever changes here."""
CONTROL_RECORD = "control_record"
"""The kind of what a transaction leaves in the log where it ends."""
CREATE_TIME = 1
"""The kind of timestamp that Kafka's producers make."""
MOST_AHEAD = 3
"""Most records that a paused client may have fetched already."""
METADATA_SECONDS = 20.0
"""How long a producer may take to learn that there are more partitions."""
MOST_AGAIN = 3
"""Most records that come twice at once."""


class Said(NamedTuple):
    """A record of the log, and what it means; `amount` is None where an order is deleted or nothing is valid.

    Or the control record of a transaction, which nobody reads.
    """

    kind: str
    order_uid: str
    amount: int | None
    key: bytes | None
    value: bytes | None
    time: int
    wants_reply: bool = False
    only_if_absent: bool = False

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        reply = [(REPLY_HEADER, b"1")] if self.wants_reply else []
        return [*reply, (CONDITION_HEADER, b"absent")] if self.only_if_absent else reply


class Message:
    """What the client hands out: a record, or an error about a partition."""

    def __init__(self, partition: int, offset: int, said: Said | None, error: KafkaError | None = None) -> None:
        self._partition, self._offset, self._said, self._error = partition, offset, said, error

    def error(self) -> KafkaError | None:
        return self._error

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def leader_epoch(self) -> int | None:
        return LEADER_EPOCH

    def key(self) -> bytes | None:
        return self._said.key if self._said else None

    def value(self) -> bytes | None:
        return self._said.value if self._said else None

    def headers(self) -> list[tuple[str, bytes]] | None:
        return (self._said.headers or None) if self._said else None

    def timestamp(self) -> tuple[int, int]:
        return CREATE_TIME, self._said.time if self._said else 0


class Broker:
    """One topic and one consumer group. `at(owner, point)` is called inside of the client's calls, and may raise."""

    def __init__(self, chance: Chance, partitions: int) -> None:
        self.chance = chance
        self.topic_id = "topic-1"
        self.log: list[list[Said]] = [[] for _ in range(partitions)]
        self.grown_at: list[float] = []
        self.is_away = False
        self.refuses_seeks = False
        self.wanted: dict[int, str] = {}
        self.held: dict[int, str] = {}
        self.offsets: dict[int, int] = {}
        """The group's offsets, which nobody of ours may read."""
        self.at: Callable[[str, str], None] = lambda _owner, _point: None
        self.pass_time: Callable[[float], None] = lambda _seconds: None

    @property
    def ends(self) -> dict[int, int]:
        return {partition: len(log) for partition, log in enumerate(self.log)}

    def look(self, *_needed: str) -> TopicSnapshot:
        self.at("a consumer", "look")
        if self.is_away:
            raise Unavailable("Kafka is unavailable")
        return TopicSnapshot(self.topic_id, self.ends)

    @property
    def view(self) -> TopicView:
        return cast("TopicView", SimpleNamespace(topic=TOPIC, look=self.look, starts=self.starts, owned=self.owned))

    def owned(self, _group: str) -> set[int]:
        if self.is_away:
            raise Unavailable("Kafka is unavailable")
        return set(self.wanted)

    def starts(self, partitions: Iterable[int]) -> dict[int, int]:
        if self.is_away:
            raise Unavailable("Kafka is unavailable")
        return dict.fromkeys(partitions, 0)

    # -- the group --

    def share_out(self, members: list[str]) -> None:
        """Gives each partition to some member; a member that is left out loses what it has when it polls."""
        self.wanted = {partition: self.chance.pick(members) for partition in self.ends} if members else {}

    def give_up(self, member: str, others: list[str]) -> None:
        """The session of a member has ended: its partitions are free at once, and it does not know."""
        self.held = {partition: owner for partition, owner in self.held.items() if owner != member}
        self.share_out(others)


class Fetching:
    """A partition that is assigned to a client: where it continues, and how many records it fetched beyond that."""

    def __init__(self, position: int) -> None:
        self.start = self.position = position
        self.is_paused = False
        self.is_under_way = False
        """Whether a fetch may be on its way: the client was polled since it continues from here."""
        self.skips = 0
        self.failed = False
        self.reached: int | None = None
        """Up to where records and control records have left the client's queue."""


OnChange = Callable[["Client", list[TopicPartition]], None]


class Client:
    """A member of the group with the methods of `confluent_kafka.Consumer` that `OrderConsumer` calls."""

    def __init__(self, broker: Broker, member: str) -> None:
        self._broker = broker
        self.member = member
        self.owned: set[int] = set()
        self.fetching: dict[int, Fetching] = {}
        self._on_assign: OnChange
        self._on_revoke: OnChange

    def subscribe(self, _topics: list[str], *, on_assign: OnChange, on_revoke: OnChange) -> None:
        self._on_assign, self._on_revoke = on_assign, on_revoke

    @property
    def offsets(self) -> Mapping[int, int]:
        """The group's offsets, for a bug to be planted."""
        return self._broker.offsets

    # -- polling --

    def poll(self, wait: float) -> Message | None:
        self._broker.at(self.member, "poll")
        self._follow_group()
        message = self._next()
        if message is None:
            self._broker.pass_time(wait)
        return message

    def consume(self, most: int, _wait: float) -> list[Message]:
        self._broker.at(self.member, "consume")
        if self._broker.chance.one_in(4):
            self._follow_group()
        wanted = min(self._broker.chance.below(MOST_AT_ONCE), most)
        found = (self._next() for _ in range(wanted))
        return [message for message in found if message is not None]

    def _next(self) -> Message | None:
        if self._broker.is_away:
            return None
        for fetching in self.fetching.values():
            fetching.is_under_way = not fetching.is_paused
        ready = [p for p, fetching in sorted(self.fetching.items()) if not fetching.is_paused and self._has_more(p)]
        return self._fetch(self._broker.chance.pick(ready)) if ready else None

    def _has_more(self, partition: int) -> bool:
        fetching = self.fetching[partition]
        return not fetching.failed and fetching.position != len(self._broker.log[partition])

    def _fetch(self, partition: int) -> Message | None:
        fetching, log = self.fetching[partition], self._broker.log[partition]
        if not 0 <= fetching.position <= len(log):
            fetching.failed = True
            return Message(partition, fetching.position, None, KafkaError(KafkaError._AUTO_OFFSET_RESET))
        if self._broker.chance.one_in(15):  # what came already comes again
            fetching.position = max(fetching.position - self._broker.chance.below(MOST_AGAIN + 1), fetching.start)
        while fetching.position < len(log) and log[fetching.position].kind == CONTROL_RECORD:
            fetching.position += 1
            fetching.reached = fetching.position
        if fetching.position == len(log):
            return None
        offset = fetching.position
        fetching.position += 1
        fetching.reached = fetching.position
        return Message(partition, offset, log[offset])

    def _follow_group(self) -> None:
        if self._broker.is_away:
            return
        wanted, held = self._broker.wanted, self._broker.held
        gone = [p for p in sorted(self.owned) if wanted.get(p) != self.member or held.get(p) != self.member]
        if gone:
            self.owned.difference_update(gone)
            self._on_revoke(self, named(gone))
        self._broker.held = {p: owner for p, owner in held.items() if owner != self.member or wanted.get(p) == owner}
        self._join()

    def _join(self) -> None:
        wanted, held = self._broker.wanted, self._broker.held
        mine = [p for p, owner in wanted.items() if owner == self.member and held.get(p, self.member) == self.member]
        new = sorted(set(mine) - self.owned)
        if new:
            self.owned.update(new)
            held.update(dict.fromkeys(new, self.member))
            self._on_assign(self, named(new))

    # -- where to read --

    def incremental_assign(self, places: Iterable[TopicPartition]) -> None:
        self.fetching.update({place.partition: Fetching(place.offset) for place in places})

    def incremental_unassign(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            self.fetching.pop(place.partition, None)

    def pause(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            fetching = self.fetching[place.partition]
            left = len(self._broker.log[place.partition]) - fetching.position
            if fetching.is_under_way and not fetching.is_paused and left > 0:
                fetching.skips = min(self._broker.chance.below(MOST_AHEAD + 1), left)
            fetching.is_paused = True

    def resume(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            fetching = self.fetching[place.partition]
            fetching.position += fetching.skips
            fetching.skips, fetching.is_paused = 0, False

    def seek(self, place: TopicPartition) -> None:
        self._broker.at(self.member, "seek")
        if self._broker.refuses_seeks or place.partition not in self.fetching:
            raise KafkaException(KafkaError(KafkaError._STATE))
        fetching = self.fetching[place.partition]
        fetching.start = fetching.position = place.offset
        fetching.skips = 0
        fetching.failed = fetching.is_under_way = False
        fetching.reached = None

    def position(self, places: Iterable[TopicPartition]) -> list[TopicPartition]:
        reached = {place.partition: self.fetching[place.partition].reached for place in places}
        return [
            TopicPartition(TOPIC, n, OFFSET_INVALID if offset is None else offset, leader_epoch=LEADER_EPOCH)
            for n, offset in reached.items()
        ]

    def get_watermark_offsets(self, place: TopicPartition, _wait: float) -> tuple[int, int]:
        self._broker.at(self.member, "watermarks")
        if self._broker.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return 0, len(self._broker.log[place.partition])

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert asynchronous, "nobody waits for what nothing depends on"
        self._broker.at(self.member, "mirror")
        if self._broker.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self._broker.offsets.update({place.partition: place.offset for place in offsets})

    def close(self) -> None:
        self._on_revoke(self, named(self.owned))
        self._broker.held = {p: owner for p, owner in self._broker.held.items() if owner != self.member}


def named(partitions: Iterable[int]) -> list[TopicPartition]:
    return [TopicPartition(TOPIC, partition) for partition in sorted(partitions)]


def made(config: Mapping[str, str], broker: Broker) -> Client:
    """In place of `clients.consumer`."""
    return Client(broker, config["client.id"])
