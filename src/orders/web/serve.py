"""The HTTP process put together: what answers GETs, POSTs and questions about health."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from orders.lag import times_of
from orders.memory import Memory
from orders.meter import Values
from orders.metrics import LAYOUT, private
from orders.producer import OrderProducer
from orders.settings import Settings
from orders.slots import claim, totals
from orders.timing import monotonic
from orders.topic import TopicView, TopicWatch
from orders.web.api import Parts, run_server
from orders.web.health import Health
from orders.web.posts import Posts
from orders.web.reader import Reader
from orders.web.scrape import Scrape
from orders.web.waiting import Outcomes

DELIVERY_SHARE = 0.8
"""Part of a POST's deadline within which Kafka must have acknowledged: its failure is told, not guessed."""


def parts(settings: Settings, memory: Memory, values: Values | None = None) -> Parts:
    """What the application stands on, from settings; connections are opened by its lifespan."""
    kafka, topic, deadline = settings.kafka, settings.kafka_topic, settings.post_deadline
    values = values or private()
    watch = TopicWatch(partial(TopicView(kafka, topic).look, "Write"), monotonic)
    reader = Reader(settings.postgres_dsn, topic, settings.postgres_connections, memory, monotonic)
    producer = OrderProducer(kafka, topic, deadline * DELIVERY_SHARE)
    outcomes = Outcomes(reader.outcomes, monotonic)
    posts = Posts(
        producer, watch.identity, reader.positions, outcomes, deadline=deadline, clock=monotonic, values=values
    )
    health = Health(reader.positions, watch.view, memory.board, settings.ready_lag, monotonic)
    scrape = Scrape(
        partial(totals, Path(settings.memory_path), LAYOUT, values),
        health.look,
        memory.stats,
        partial(times_of, kafka, topic, settings.kafka_group),
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await reader.open()
        yield
        await asyncio.to_thread(producer.close)
        await reader.close()

    return Parts(
        memory.get, reader.order, posts.submit, health.report, lifespan, settings.default_view, scrape.page, values
    )


def serve(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Serves on bound sockets until SIGTERM or SIGINT. Raises `StartError` if memory cannot be opened."""
    memory = Memory.open(Path(settings.memory_path))
    values = claim(Path(settings.memory_path), LAYOUT)
    try:
        run_server(parts(settings, memory, values), memory.get, sockets)
    finally:
        memory.close()
