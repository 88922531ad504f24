"""Starts an embedded service and waits to be killed: `starter.py kafka|stand-in|zookeeper DIRECTORY`."""

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

from orders.embedded.kafka import KafkaService
from orders.embedded.service import EmbeddedService
from support.standin import StandIn
from support.zookeeper import OldKafka

SERVICES: dict[str, Callable[[Path], EmbeddedService]] = {
    "kafka": KafkaService,
    "stand-in": StandIn,
    "zookeeper": OldKafka,
}

if __name__ == "__main__":
    service = SERVICES[sys.argv[1]](Path(sys.argv[2]))
    service.start()
    print(service.pid, flush=True)  # noqa: T201 - what the test reads
    Event().wait()
