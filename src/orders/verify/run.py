"""`orders verify`: PostgreSQL at one moment, then the topic up to there, then memory; what is compared with what."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from orders.errors import Misconfigured, Unavailable
from orders.kafka.admin import Brokers
from orders.kafka.admin import TopicDescription as Held
from orders.memory.shared import Memory
from orders.postgres.connection import Connection, connect
from orders.record import Record, Span
from orders.settings import Settings
from orders.system import state
from orders.system.progress_bar import CountingBar
from orders.verify import fields, records, served
from orders.verify.compare import Comparison
from orders.verify.findings import Findings
from orders.verify.history import Ground, TopicExtent
from orders.verify.report import Compared, VerifyReport, report
from orders.verify.scratch import Scratch, scratch
from orders.verify.stored import DatabaseReader, Snapshot


def verify(settings: Settings, *, memory: bool, limit: int) -> VerifyReport:
    """Compares all, `memory` too if this machine has one; the first `limit` differences are listed one by one.

    Raises our errors where something cannot be read.
    """
    state.require(settings, "kafka_bootstrap", "postgres_dsn")
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())  # what it says comes as an error
    findings = Findings(limit)
    with scratch() as kept, connect(settings.postgres_dsn, "verify") as connection:
        read, snapshot = _topic(settings, connection, kept, findings)
        entries = _memory(settings, connection, findings) if memory else None
    compared = Compared(read, snapshot.orders, snapshot.dead_letters, entries)
    return report(settings.kafka_topic, compared, findings)


def _topic(settings: Settings, connection: Connection, kept: Scratch, findings: Findings) -> tuple[int, Snapshot]:
    """Compares topic and PostgreSQL; how many records were read, and what there was in PostgreSQL."""
    brokers, name = Brokers(settings.kafka), settings.kafka_topic
    brokers.count()  # a wrong address is reported at once
    topic_id = _held(brokers, name).topic_id
    with CountingBar(None, text="PostgreSQL") as bar:
        snapshot = DatabaseReader(connection, name, topic_id, kept, findings).read(bar.advance)
    held = _held(brokers, name)  # after the snapshot: what was read up to then must be there
    begun = placed(snapshot.positions, held, findings)
    comparison = Comparison(kept, findings, snapshot.skips, settings.order_nesting)
    counts = _read(settings, begun, comparison)
    if not topic_id == held.topic_id == _held(brokers, name).topic_id:
        raise Unavailable(f"topic {name} was recreated while it was read: run this again")
    lengths = {p: span.end - span.begin for p, span in spans(begun).items()}
    grounds = {p: ground._replace(whole=counts[p] == max(lengths[p], 0)) for p, ground in begun.items()}
    with CountingBar(snapshot.orders, text="comparison") as bar:
        comparison.judge(TopicExtent(grounds, snapshot.foreign), bar.advance)
    with suppress(Unavailable):  # the differences stand without the names of the fields
        fields.report(findings, partial(_fetch, settings), served.reader(connection))
    return sum(counts.values()), snapshot


def _held(brokers: Brokers, topic: str) -> Held:
    held = brokers.topic(topic)
    if held is None:
        raise Misconfigured(f"topic {topic!r} does not exist: name the one that is consumed with --kafka-topic")
    return held


def placed(positions: dict[tuple[str, int], int], held: Held, findings: Findings) -> dict[int, Ground]:
    """What is known of each partition that has a position, and what is wrong with positions. Raises `Unavailable`."""
    ours = {partition: position for (topic_id, partition), position in positions.items() if topic_id == held.topic_id}
    if positions and not ours:
        findings.differ("position lost")
    grounds = dict[int, Ground]()
    for partition, position in ours.items():
        if partition in held.leaderless:
            raise Unavailable(f"partition {partition} has no leader and cannot be read: see `orders doctor`")
        if partition not in held.partitions:
            findings.differ("position elsewhere", place=(partition, position))
            continue
        low, end, *_ = held.partitions[partition]
        grounds[partition] = Ground(low, end, position)
        if not low <= position <= end:
            wrong = "position before the start" if position < low else "position beyond the end"
            findings.differ(wrong, place=(partition, position))
    return grounds


def spans(grounds: dict[int, Ground]) -> dict[int, Span]:
    """What is to be read: from the first offset up to the position, if that is there."""
    return {p: Span(each.low, max(min(each.position, each.end), each.low)) for p, each in grounds.items()}


def _read(settings: Settings, grounds: dict[int, Ground], comparison: Comparison) -> dict[int, int]:
    """Reads the records; how many there were in each partition."""
    wanted = spans(grounds)
    with CountingBar(sum(span.end - span.begin for span in wanted.values()), text="topic") as bar:
        return records.read(_config(settings), settings.kafka_topic, wanted, comparison.take, bar.advance)


def _fetch(settings: Settings, wanted: Mapping[int, Span]) -> list[Record]:
    """The records of spans that are known to be there."""
    found = list[Record]()
    records.read(_config(settings), settings.kafka_topic, wanted, found.append, lambda _: None)
    return found


def _config(settings: Settings) -> dict[str, Any]:
    return records.config_of(settings.kafka, settings.kafka_group, settings.kafka_queue_bytes)


def _memory(settings: Settings, connection: Connection, findings: Findings) -> int | None:
    """Compares memory with PostgreSQL; how many orders it had, None where this machine has none."""
    path = Path(settings.memory_path)
    if not settings.memory_path or not path.exists():
        return None
    memory = Memory.open(path)
    try:
        with CountingBar(memory.stats().documents, text="memory") as bar:
            return served.compare(memory, served.reader(connection), findings, bar.advance)
    finally:
        memory.close()
