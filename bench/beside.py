"""How long a GET of an order in memory takes while as many searches run as the service lets."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from bench.asking import search
from bench.contest import Comparison, Contest, Contestant, Field, Figure, Values
from bench.get import evenly
from bench.latency import LATENCIES, SHARE, WARM_SECONDS, latencies
from bench.load import Load
from bench.press import Pace, closed, generated, generating, gets, only
from bench.search import LIMIT, kinds, searchable
from bench.servers import Server
from bench.services import Ground, memory
from bench.sizes import Sizes
from orders.errors import StartError
from orders.settings import Settings

CLIENTS = Settings().http_waiting_searches
"""As many as one worker lets in."""
ALONE, BESIDE = "alone", f"with {CLIENTS} clients that search all the time"
MARGIN_SECONDS = 2.0
"""How much longer searches come than GETs: a generator needs a moment to begin."""
ANSWERED, BUSY = str(HTTPStatus.OK.value), str(HTTPStatus.SERVICE_UNAVAILABLE.value)


@dataclass
class House:
    """One worker that has orders in memory and others in PostgreSQL; what it is asked for, and for how long."""

    ground: Ground
    server: Server
    gets: Sequence[bytes]
    searches: Sequence[bytes]
    rate: float
    seconds: float

    def run(self) -> Values:
        """Latencies of GETs at a steady rate."""
        pace = Pace(self.seconds, self.rate)
        return latencies(only(generated(self.ground.folder, self.server.port, self.gets, pace), HTTPStatus.OK))

    def run_beside(self) -> Values:
        """The same while others search; raises `StartError` where they ended before the last GET."""
        pace = Pace(self.seconds + MARGIN_SECONDS, connections=CLIENTS)
        with generating(self.ground.folder, self.server.port, self.searches, pace) as searched:
            with generating(self.ground.folder, self.server.port, self.gets, Pace(self.seconds, self.rate)) as got:
                found, ended = got()
            load, searches_ended = searched()
        if searches_ended < ended:
            raise StartError("searches ended before the last GET was answered: the machine is too busy")
        return {**latencies(only(found, HTTPStatus.OK)), **rates(load)}


def rates(load: Load) -> Values:
    """Searches a second that were answered, and that were turned away. Raises `StartError` at any other answer."""
    statuses = Counter(load.statuses)
    if set(statuses) - {ANSWERED, BUSY}:
        raise StartError(f"searches are answered otherwise than with {ANSWERED} or {BUSY}: {load.statuses}")
    return {"searches": statuses[ANSWERED] / load.seconds, "busy": statuses[BUSY] / load.seconds}


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Finds the highest rate of GETs; half of it is what all rounds are asked at."""
    documents = ground.stock.documents(sizes.in_memory)
    uids = [each.order_uid for each in evenly(documents, sizes.asked)]
    with memory(ground.folder, documents) as (path, _), searchable(ground, sizes.searched, path) as (dsn, server):
        generated(ground.folder, server.port, gets(uids), Pace(WARM_SECONDS))
        load = closed(ground.folder, server.port, uids, sizes.get_seconds)
        highest = load.requests / load.seconds
        searches = [search(each, limit=LIMIT).sent() for each in mixed(dsn, sizes.searched)]
        house = House(ground, server, gets(uids), searches, highest * SHARE, sizes.latency_seconds)
        rate = f"the highest rate was {highest:,.0f} requests/s; here {house.rate:,.0f} came each second"
        yield Field([Contestant(ALONE, house.run), Contestant(BESIDE, house.run_beside)], notes=[rate])


def mixed(dsn: str, orders: int) -> Iterator[dict[str, str]]:
    """First pages of all kinds in turn."""
    found = kinds(dsn, orders)
    for number in range(max(len(kind.asked) for kind in found)):
        yield from (dict(kind.asked[number % len(kind.asked)]) for kind in found)


CONTEST = Contest(
    name="beside",
    title="GET of an order in memory at half of the highest rate, open loop, beside searches",
    figures=(
        *LATENCIES,
        Figure("searches", "searches/s answered meanwhile", 0, more_is_better=True),
        Figure("busy", "searches/s turned away meanwhile", 0),
    ),
    open=enter,
    seconds=18,
    comparisons=(Comparison("p50", BESIDE, ALONE), Comparison("p99", BESIDE, ALONE, at_most=2.0)),
)
