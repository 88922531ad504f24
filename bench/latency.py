"""How long a GET of an order in memory takes at half of the highest rate.

Alone, while ingest is at full speed, and while a thousand sockets send a byte of a request each second.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from bench.children import Events, awaited, module
from bench.contest import Contest, Contestant, Field, Figure, Values
from bench.get import evenly
from bench.ingest import ingests, is_assigned, positions
from bench.load import Load
from bench.press import Pace, closed, generated, gets, only
from bench.servers import Server, ours
from bench.services import Ground, database, memory
from bench.sizes import Sizes
from bench.stock import Backlog
from orders.memory.shared import Put
from orders.settings import Settings

WARM_SECONDS = 0.3
SHARE = 0.5
"""Of the highest rate."""
TOLD = ("p50", "p99", "p999")
LATENCIES = (
    Figure("p50", "ms, p50", 2),
    Figure("p99", "ms, p99", 2),
    Figure("p999", "ms, p99.9", 2),
    Figure("late", "ms, p99, by which the generator itself was late", 2),
)


class Beside(NamedTuple):
    """What continues beside the GETs."""

    ingests: int = 0
    drips: int = 0


NAMES = {
    Beside(): "alone",
    Beside(ingests=1): "with 1 ingest process at full speed",
    Beside(ingests=2): "with 2 ingest processes at full speed",
    Beside(drips=1000): "with 1,000 sockets that drip a byte a second",
}
CUT_SECONDS = 30.0
"""How long dripping sockets may live before the run fails."""


@dataclass
class House:
    """What the service stands on, who asks for what, and what is to be told of it."""

    ground: Ground
    documents: Sequence[Put]
    uids: Sequence[str]
    backlog: Backlog
    notes: list[str]

    @contextmanager
    def server(self) -> Iterator[tuple[Server, Settings]]:
        """One worker on a memory that has the documents and room for the backlog; the settings of its machine."""
        with (
            memory(self.ground.folder, self.documents, self.backlog.orders) as (path, _),
            database(self.ground.postgres) as dsn,
            ours(settings := self.ground.settings(dsn, self.backlog.topic, path), Events()) as server,
        ):
            generated(self.ground.folder, server.port, gets(self.uids), Pace(WARM_SECONDS))
            yield server, settings

    def highest_rate(self, seconds: float) -> float:
        """Requests a second that the worker answers when it is asked all the time."""
        with self.server() as (server, _):
            load = closed(self.ground.folder, server.port, self.uids, seconds)
        return load.requests / load.seconds

    def run(self, rate: float, seconds: float, beside: Beside) -> Values:
        """Latencies while ingest processes read the backlog, or sockets drip until all were cut at least once."""
        with self.server() as (server, settings), ExitStack() as up:
            events = Events()
            if beside.ingests:
                ingests(up, settings, beside.ingests, events)
                awaited(events, is_assigned)
            if beside.drips:
                told = {"port": server.port, "sockets": beside.drips}
                up.enter_context(module("drips", self.ground.folder, events, told))
                awaited(events, lambda said: said["open"] == beside.drips)
            before = sum(positions(settings.postgres_dsn).values())
            load = generated(self.ground.folder, server.port, gets(self.uids), Pace(seconds, rate))
            after = sum(positions(settings.postgres_dsn).values())
            lived: Values = longest_life(events, beside.drips) if beside.drips else {}
        only(load, HTTPStatus.OK)
        if beside.ingests and after == self.backlog.orders:
            self.notes.append(f"{NAMES[beside]}: ingest was at the end of the backlog before the last request")
        ingested: Values = {"ingested": (after - before) / load.seconds} if beside.ingests else {}
        return {**latencies(load), **ingested, **lived}


def latencies(load: Load) -> Values:
    """In milliseconds."""
    return {**{name: load.latency[name] * 1e3 for name in TOLD}, "late": load.late * 1e3}


def longest_life(events: Events, drips: int) -> Values:
    """Seconds that the longest of the sockets lived, once each was cut. Raises `StartError` where one is not."""
    return {"longest": awaited(events, lambda said: said["cut"] == drips, CUT_SECONDS).said["longest"]}


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Finds the highest rate; half of it is what all rounds are asked at."""
    documents = ground.stock.documents(sizes.in_memory)
    uids = [each.order_uid for each in evenly(documents, sizes.asked)]
    notes: list[str] = []
    house = House(ground, documents, uids, ground.stock.backlog(sizes.backlog), notes)
    highest = house.highest_rate(sizes.get_seconds)
    rate = highest * SHARE
    notes.append(f"the highest rate was {highest:,.0f} requests/s; here {rate:,.0f} came each second, at fixed moments")
    runs = {name: partial(house.run, rate, sizes.latency_seconds, beside) for beside, name in NAMES.items()}
    yield Field([Contestant(name, run) for name, run in runs.items()], notes=notes)


CONTEST = Contest(
    name="latency",
    title="GET of an order in memory at half of the highest rate, open loop",
    figures=(
        *LATENCIES,
        Figure("ingested", "orders/s taken in meanwhile", 0, more_is_better=True),
        Figure("longest", "s, longest life of a socket that dripped", 1),
    ),
    open=enter,
    seconds=56,
)
