"""The HTTP process put together: what answers GETs, POSTs and questions about health."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from orders import libraries, threads
from orders.api.app import create_app
from orders.api.dependencies import Dependencies
from orders.api.health import Health, never
from orders.api.posts import Posts
from orders.api.reader import OrderReader
from orders.api.request_metrics import HTTP_SECONDS, SERVE_LAYOUT
from orders.api.scrape import Scrape
from orders.api.startup import Startup
from orders.api.waiting import Outcomes
from orders.http.durations import Durations
from orders.http.hosts import Unknown
from orders.http.limits import limits_of
from orders.http.server import Stopping, server
from orders.kafka.lag import times_of
from orders.kafka.producer import OrderProducer
from orders.kafka.topic import TopicView, TopicWatch
from orders.memory.shared import Memory
from orders.metrics.files import totals
from orders.metrics.kinds import Values
from orders.metrics.table import shared
from orders.search.finder import OrderFinder
from orders.settings import Settings
from orders.timing import monotonic

DELIVERY_SHARE = 0.8
"""Part of a POST's deadline within which Kafka must have acknowledged: its failure is reported, not guessed."""


def dependencies(
    settings: Settings, memory: Memory, values: Values | None = None, stopping: Callable[[], bool] = never
) -> Dependencies:
    """What the application stands on, from settings; connections are opened by its lifespan."""
    kafka, topic, deadline = settings.kafka, settings.kafka_topic, settings.post_deadline
    values = values or Values(SERVE_LAYOUT)
    watch = TopicWatch(partial(TopicView(kafka, topic).look, "Write"), monotonic)
    reader = OrderReader(settings.postgres_dsn, topic, settings.postgres_connections, memory, monotonic)
    producer = OrderProducer(kafka, topic, deadline * DELIVERY_SHARE)
    outcomes = Outcomes(reader.outcomes, monotonic)
    posts = Posts(
        producer, watch.identity, reader.positions, outcomes, deadline=deadline, clock=monotonic, values=values
    )
    health = Health(
        reader.positions,
        watch.view,
        memory.board,
        memory.restore_wanted,
        ready_lag=settings.ready_lag,
        clock=monotonic,
        stopping=stopping,
    )
    startup = Startup(reader.positions, memory.board, monotonic)
    scrape = Scrape(
        partial(totals, Path(settings.memory_path), SERVE_LAYOUT, values),
        health.look,
        memory.stats,
        partial(times_of, kafka, topic, settings.kafka_group),
        reader.index_states,
    )

    finder = OrderFinder(settings.postgres_dsn, settings.search_connections, monotonic)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(libraries.in_loop)
        await reader.open()
        await finder.open()
        watching = threads.background("startup", startup.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(producer.close)
        await finder.close()
        await reader.close()

    return Dependencies(
        memory.get,
        reader.order,
        posts.submit,
        health.report,
        lifespan,
        settings.default_view,
        scrape.page,
        values,
        startup.report,
        deadline,
        topic,
        limits_of(settings),
        health.suspect,
        finder,
    )


def serve(settings: Settings, sockets: Sequence[socket.socket], stopping: Stopping) -> None:
    """Serves on bound sockets until `stopping` and drained. Raises `StartError` if memory cannot be opened."""
    memory = Memory.open(Path(settings.memory_path))
    values = shared(Path(settings.memory_path), SERVE_LAYOUT)
    try:
        app = create_app(dependencies(settings, memory, values, stopping))
        lookup = memory.get if settings.default_view == "standard" else None
        running = server(
            app,
            lookup,
            Durations(HTTP_SECONDS, values),
            stopping,
            settings.drain_seconds,
            hosts=settings.hosts,
            unknown=Unknown(Path(settings.memory_path)),
            limits=limits_of(settings),
        )
        running.run(list(sockets))
    finally:
        memory.close()
