"""An ingest process put together."""

import socket
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from orders import deadlines, decoder
from orders.ingest.batcher import Batcher
from orders.ingest.dead_letter_limit import Limit
from orders.ingest.loop import Ingest
from orders.ingest.store import Store, connect_writer
from orders.ingest.writer import Writer, unobserved
from orders.kafka import consumer as kafka
from orders.kafka.topic import TopicView
from orders.memory.notices import INGEST
from orders.memory.shared import Memory
from orders.metrics.table import shared
from orders.settings import Settings


def member_id(settings: Settings, number: int) -> str:
    """The same for the same ingest of the same machine and data directory, so that it gets its partitions back."""
    place = zlib.crc32(str(settings.data).encode())
    return f"orders-{socket.gethostname()}-{place:08x}-{number}"


def ingest(
    settings: Settings,
    number: int,
    stopping: Callable[[], bool],
    at: Callable[[str], None] = unobserved,
) -> None:
    """Runs ingest process `number` until `stopping`; the composition root of the write path."""
    memory = Memory.open(Path(settings.memory_path))
    values = shared(Path(settings.memory_path))
    limits = {"statement_seconds": deadlines.STATEMENT, "transaction_seconds": deadlines.TRANSACTION}
    store = Store(lambda: connect_writer(settings.postgres_dsn, **limits), settings.kafka_topic)
    batcher = Batcher(settings.batch_records, settings.batch_bytes, settings.batch_age)
    limit = Limit(settings.dead_letter_window, settings.dead_letter_percent)
    writer = Writer(store, memory, at=at, limit=limit, values=values)
    read = partial(decoder.read, nesting=settings.order_nesting)
    loop = Ingest(f"{INGEST}{number}", batcher, writer, memory, at=at, values=values, read=read)
    config = kafka.consumer_config(
        kafka=settings.kafka,
        group=settings.kafka_group,
        member=member_id(settings, number),
        protocol=settings.kafka_protocol,
        session_seconds=settings.kafka_session_timeout,
        queue_bytes=settings.kafka_queue_bytes,
    )
    view = TopicView(settings.kafka, settings.kafka_topic)
    loop.stream = kafka.OrderConsumer(config, view, store, loop, settings.kafka_growth_seconds)
    try:
        loop.run(stopping)
    finally:
        store.close()
        memory.close()
