"""`orders run`: the whole system, started from the bottom up, kept running, and stopped from the top down."""

import http.client
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import psutil
import structlog

from orders import state
from orders.children import Child, Embedded, stop_all, wait_until_up
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.errors import Away, StartError
from orders.memory import Memory
from orders.migrations import migrate
from orders.place import bind, claimed, memory_directory, url
from orders.settings import Settings, environment, without_password
from orders.state import Process, State, process_of
from orders.steps import Steps
from orders.stopping import Stop, Stopped
from orders.timing import backoff, monotonic
from orders.topic import TopicView, create_topic

log = structlog.get_logger()

TEND_SECONDS = 0.2
AWAY_SECONDS = 30.0
"""How long a given PostgreSQL or Kafka may be away at the start."""
READY_SECONDS = 30.0
"""How long the start waits for /readyz; after that it says what is missing and goes on."""
SHARES = {"serve": 0.3, "ingest": 0.55, "keep": 0.6, "kafka": 0.75, "postgres": 0.85}
"""By which part of the time for stopping each kind is ended, if need be by force."""


def run(settings: Settings) -> None:
    """Runs the system until a signal asks it to stop, then ends by that signal. Raises `OrdersError`."""
    stop = Stop()
    stop.listen()
    try:
        with ExitStack() as stack:
            supervise(settings, stop, Steps(stop), stack)
    except Stopped:
        pass
    stop.obey()
