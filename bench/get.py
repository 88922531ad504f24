"""GETs of orders in memory: the server's CPU for each, ours beside nginx with files and FastAPI with a dict."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.children import Events
from bench.contest import Absent, Comparison, Contest, Contestant, Field, Figure, Values
from bench.measure import Meter
from bench.press import closed, has_wrk
from bench.servers import Server, check_answers, fastapi, nginx, ours
from bench.services import Ground, database, memory
from bench.sizes import Sizes
from orders.memory.shared import Put

OURS = "orders, 1 worker"
NGINX = "nginx, 1 worker, the same bytes as files"
FASTAPI = "FastAPI on uvicorn, 1 worker, a dict"
WARM_SECONDS = 1.0
NO_WRK = "wrk is not installed: the load comes from the bench's own generator, which takes more CPU than most servers"


def run(folder: Path, server: Server, uids: Sequence[str], seconds: float) -> Values:
    """CPU of the server between the first request and the last, and how many there were."""
    meter = Meter(server=[server.pid])
    load = closed(folder, server.port, uids, seconds)
    spent = meter.spent()
    return {"cpu": spent["server"] / load.requests * 1e6, "rate": load.requests / load.seconds}


def evenly(documents: Sequence[Put], count: int) -> list[Put]:
    """So many of the documents, from all of memory."""
    return list(documents[:: max(len(documents) // count, 1)][:count])


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Starts all servers, checks what they answer, and warms them up; one at a time is asked."""
    documents = ground.stock.documents(sizes.in_memory)
    asked = evenly(documents, sizes.asked)
    uids = [each.order_uid for each in asked]
    entered = Field([], notes=[] if has_wrk() else [NO_WRK])
    with ExitStack() as up:
        path, _ = up.enter_context(memory(ground.folder, documents))
        dsn = up.enter_context(database(ground.postgres))
        settings = ground.settings(dsn, ground.stock.topic(), path)
        servers: dict[str, AbstractContextManager[Server]] = {
            OURS: ours(settings, Events()),
            NGINX: nginx(ground, asked, entered.notes),
            FASTAPI: fastapi(ground, asked),
        }
        for name, opened in servers.items():
            try:
                server = up.enter_context(opened)
            except Absent as absent:
                entered.absent[name] = str(absent)
                continue
            check_answers(name, server, asked)
            closed(ground.folder, server.port, uids, WARM_SECONDS)
            entered.contestants.append(Contestant(name, partial(run, ground.folder, server, uids, sizes.get_seconds)))
        yield entered


CONTEST = Contest(
    name="get",
    title="GET of an order in memory, 64 connections that ask all the time",
    figures=(Figure("cpu", "µs server CPU/request", 1), Figure("rate", "requests/s", 0, more_is_better=True)),
    open=enter,
    seconds=16,
    comparisons=(Comparison("cpu", OURS, NGINX, at_most=1.3), Comparison("cpu", OURS, FASTAPI)),
)
