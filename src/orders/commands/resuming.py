"""`orders resume`: where a stopped partition continues, who said so, and what that skips."""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from orders.errors import StartError, UsageError
from orders.os_users import name_of
from orders.record import NEW, Stop
from orders.settings import Settings
from orders.system import state

if TYPE_CHECKING:
    from orders.kafka.admin import PartitionReplicas, TopicDescription
    from orders.postgres.connection import Connection

STATEMENT_SECONDS = 600
"""What Kafka lost is looked for in all orders."""
SKIP = "--skip"
FORGOTTEN = ("forget_orders", "forget_dead_letters", "forget_actions", "forget_copies", "forget_outcomes")
"""What remembers offsets that Kafka lost, and gives to other records."""


class ResumeRequest(NamedTuple):
    """What a person asks for; `start` is `stored`, `beginning`, `end` or an offset."""

    partitions: Sequence[int] = ()
    every: bool = False
    start: str = "stored"
    records: int = 0
    skip: bool = False


class StoppedPartition(NamedTuple):
    """A partition that is not read on; one of a topic that was recreated has no offset."""

    offset: int | None
    stop: Stop


ResumeState = Literal["reading", "idle", "stopped", "waiting"]
"""Of a partition that was resumed: an ingest reads it, there is nothing to read, it stopped again, or none of these."""


class Resumed(Struct, frozen=True):
    """A partition that was resumed."""

    partition: Annotated[int, Meta(description="its number")]
    stop: Annotated[str, Meta(description="the kind of stop that it was resumed from; `new`: it had not been read yet")]
    from_offset: Annotated[
        int | None, Meta(description="where it stood; null where the topic was recreated, and it had no position yet")
    ]
    to_offset: Annotated[int, Meta(description="the offset that it continues at")]
    counted_from: Annotated[int, Meta(description="dead letters below this offset do not count towards the limit")]
    end_offset: Annotated[int, Meta(description="where it ended in Kafka when it was resumed")]
    state: Annotated[
        ResumeState,
        Meta(description="`reading`: an ingest reads it; `idle`: it has nothing to read; `stopped`: it stopped again"),
    ] = "waiting"
    position: Annotated[int, Meta(description="where it stands in PostgreSQL at last")] = 0
    reason: Annotated[str, Meta(description="why it stopped again, or why it still waits; else empty")] = ""


class ResumeResult(NamedTuple):
    """The partitions that were resumed, and the id of their topic."""

    topic_id: str
    partitions: Sequence[Resumed]


def resume(settings: Settings, asked: ResumeRequest) -> ResumeResult:
    """Resumes stopped partitions, all that are asked for or none.

    Raises `UsageError`, `StartError`, `Unavailable`, ….
    """
    from orders.kafka.admin import Brokers  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.postgres.connection import connect, translated  # noqa: PLC0415 - PostgreSQL, for this command alone

    refuse_nonsense(asked)
    state.require(settings, "postgres_dsn", "kafka_bootstrap")
    name = settings.kafka_topic
    topic = Brokers(settings.kafka).topic(name)
    if topic is None:
        raise StartError(f"there is no topic {name}")
    with (
        connect(settings.postgres_dsn, "resume", statement_seconds=STATEMENT_SECONDS) as connection,
        translated(),
        connection.transaction(),
    ):
        stopped = chosen(stopped_of(connection, name, topic), asked, name)
        resumed = [plan(number, each, held_of(topic, number, name), asked) for number, each in stopped.items()]
        for each in resumed:
            _write(connection, name, topic.topic_id, each, stopped[each.partition].stop)
        return ResumeResult(topic.topic_id, resumed)


def refuse_nonsense(asked: ResumeRequest) -> None:
    """Raises `UsageError` for options that say nothing or too much."""
    if asked.every == bool(asked.partitions):
        raise UsageError("say which partitions: --partition N, as often as needed, or --all")
    if not (asked.start in {"stored", "beginning", "end"} or asked.start.isdecimal()):
        raise UsageError(f"--from is stored, beginning, end or an offset, not {asked.start!r}")
    if asked.start.isdecimal() and len(set(asked.partitions)) != 1:
        raise UsageError("an offset belongs to one partition: give one --partition N with it")


def stopped_of(connection: "Connection", name: str, topic: "TopicDescription") -> dict[int, StoppedPartition]:
    """The partitions that are stopped or new, locked for the transaction. Of a recreated topic all are stopped."""
    from orders.kafka.topic import recreated  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.postgres.connection import queries  # noqa: PLC0415 - PostgreSQL, for this command alone

    rows = connection.execute(queries["lock_places"], {"topic": name}).fetchall()
    if rows and not any(topic_id == topic.topic_id for topic_id, *_ in rows):
        return dict.fromkeys(sorted(topic.partitions), StoppedPartition(None, Stop("anew", recreated(name))))
    return {
        partition: StoppedPartition(offset, Stop(kind, reason) if kind else Stop("new", NEW))
        for topic_id, partition, offset, kind, reason, below in rows
        if topic_id == topic.topic_id and (kind is not None or below is not None)
    }


def chosen(stopped: Mapping[int, StoppedPartition], asked: ResumeRequest, name: str) -> dict[int, StoppedPartition]:
    """Those that are asked for. Raises `StartError` where one is not stopped, or a new topic would be begun in part."""
    every = (number for number, each in stopped.items() if each.stop.kind != "new")
    wanted = sorted(set(every if asked.every else asked.partitions))
    if others := [number for number in wanted if number not in stopped]:
        raise StartError(f"not stopped: {', '.join(f'{name}/{number}' for number in others)}; nothing was changed")
    if len(wanted) < len(stopped) and any(each.offset is None for each in stopped.values()):
        raise UsageError(f"topic {name} was recreated, and its partitions begin together: give --all")
    return {number: stopped[number] for number in wanted}


def held_of(topic: "TopicDescription", number: int, name: str) -> "PartitionReplicas":
    """What Kafka holds of a partition. Raises `StartError` where that cannot be determined."""
    if number not in topic.partitions:
        raise StartError(f"{name}/{number} has no leader: bring its brokers back; nothing was changed")
    return topic.partitions[number]


def plan(number: int, stopped: StoppedPartition, held: "PartitionReplicas", asked: ResumeRequest) -> Resumed:
    """Where a partition continues. Raises `UsageError` where it cannot, or would skip records and nobody said so."""
    target = target_of(number, stopped, held, asked)
    if not held.low <= target <= held.end:
        raise UsageError(
            f"offset {target} of partition {number} is not in Kafka, which holds {held.low} to {held.end}: "
            "choose another --from"
        )
    if (skipped := skips(stopped, held, target)) and not asked.skip:
        raise UsageError(f"continuing at {target} skips {skipped} of partition {number}: add {SKIP} if that is right")
    counted_from = target + asked.records
    return Resumed(number, stopped.stop.kind, stopped.offset, target, counted_from, held.end, position=target)


def target_of(number: int, stopped: StoppedPartition, held: "PartitionReplicas", asked: ResumeRequest) -> int:
    """The offset that `--from` means."""
    if asked.start == "stored":
        if stopped.offset is None:
            raise UsageError(f"partition {number} has no position in the new topic: give --from beginning or end")
        return stopped.offset
    if asked.start == "beginning":
        return held.low
    return held.end if asked.start == "end" else int(asked.start)


def skips(stopped: StoppedPartition, held: "PartitionReplicas", target: int) -> str:
    """Which records nobody will read, in words; "" for none.

    After a log truncation those that took the old offsets begin somewhere: only from the beginning on all are read.
    """
    if stopped.stop.kind == "went_back" and target > held.low:
        return f"what was written again below offset {target}"
    unread = max(stopped.offset or 0, held.low)
    return f"{target - unread} records ({unread} to {target - 1})" if target > unread else ""


def _write(connection: "Connection", name: str, topic_id: str, resumed: Resumed, stop: Stop) -> None:
    from orders.postgres.connection import queries  # noqa: PLC0415 - PostgreSQL, for this command alone

    values = {
        "topic": name,
        "topic_id": topic_id,
        "partition": resumed.partition,
        "from_offset": resumed.from_offset,
        "to_offset": resumed.to_offset,
        "counted_from": resumed.counted_from,
        "stop": stop.kind,
        "stop_reason": stop.reason,
        "who": f"{name_of(os.getuid())}@{socket.gethostname()}",
        "forget_epoch": stop.kind == "went_back",
        "is_released": stop.kind == "new",
    }
    went_back = FORGOTTEN if stop.kind == "went_back" else ()
    for query in (*went_back, "resume_partition", "add_resume"):
        connection.execute(queries[query], values)


def text(resumed: Sequence[Resumed], name: str) -> str:
    """What was done, in one sentence."""
    if not resumed:
        return f"no partition of {name} is stopped"
    places = ", ".join(f"{each.partition} at {each.to_offset}" for each in resumed)
    uncounted = max(each.counted_from - each.to_offset for each in resumed)
    counted = f"; {uncounted} records of each do not count towards the limit" if uncounted else ""
    released = any(each.stop == "new" for each in resumed)
    older = "; what waits in older partitions may now take the place of newer orders" if released else ""
    return f"{name} continues: partition {places}{counted}{older}"
