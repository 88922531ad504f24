"""A hundred orders in one lookup beside a hundred GETs, where memory has all of them and where it has none."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus

import msgspec

from bench.asking import Request, ask
from bench.children import Events
from bench.contest import Comparison, Contest, Contestant, Field, Figure, Values
from bench.filling import filled, some
from bench.get import evenly
from bench.measure import Meter
from bench.press import Pace, generated, gets, only
from bench.servers import Server, ours
from bench.services import Ground, memory
from bench.sizes import Sizes
from orders.errors import StartError

AT_ONCE = 100
LOOKUP, GETS = f"a lookup of {AT_ONCE}", f"{AT_ONCE} GETs"
IN_MEMORY, NOT_IN_MEMORY = ", all in memory", ", none in memory"


def lookups(uids: Sequence[str]) -> list[Request]:
    """Lookups of 100 uids each."""
    parts = [uids[start : start + AT_ONCE] for start in range(0, len(uids), AT_ONCE)]
    return [Request("/orders/lookup", msgspec.json.encode({"order_uids": part})) for part in parts]


def check(server: Server, uids: Sequence[str]) -> None:
    """A lookup gives all of the orders. Raises `StartError`."""
    answer = ask(server.port, lookups(uids[:AT_ONCE])[0])
    if [order["order_uid"] for order in answer["orders"]] != list(uids[:AT_ONCE]):
        raise StartError("a lookup gives other orders than were asked for")


def run(ground: Ground, server: Server, asked: Sequence[bytes], each: int, seconds: float) -> Values:
    """One client that asks for so many orders at a time."""
    meter = Meter(server=[server.pid], postgres=[ground.postgres_pid()])
    load = only(generated(ground.folder, server.port, asked, Pace(seconds, connections=1)), HTTPStatus.OK)
    orders = load.requests * each
    return {**{name: cpu / orders * 1e6 for name, cpu in meter.spent().items()}, "rate": orders / load.seconds}


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Two servers on one database: one with its orders in memory, one with room for a few hundred.

    The second is asked for many more in turn, so that a GET does not find what one before it put there.
    """
    documents = ground.stock.documents(sizes.in_memory)
    entered = Field([])
    with (
        filled(ground, sizes.restored) as dsn,
        memory(ground.folder, documents) as (full, _),
        memory(ground.folder, []) as (small, _),
        ours(ground.settings(dsn, ground.stock.topic(), full), Events()) as quick,
        ours(ground.settings(dsn, ground.stock.topic(), small), Events()) as slow,
    ):
        present = [each.order_uid for each in evenly(documents, sizes.asked)]
        absent = [each.order_uid for each in some(dsn, sizes.asked)]
        for where, server, uids in ((IN_MEMORY, quick, present), (NOT_IN_MEMORY, slow, absent)):
            whole = uids[: len(uids) // AT_ONCE * AT_ONCE]
            check(server, whole)
            for name, asked, each in ((LOOKUP, [r.sent() for r in lookups(whole)], AT_ONCE), (GETS, gets(whole), 1)):
                work = partial(run, ground, server, asked, each, sizes.lookup_seconds)
                entered.contestants.append(Contestant(name + where, work))
        yield entered


CONTEST = Contest(
    name="lookup",
    title=f"{AT_ONCE} orders by their uids at once and one by one, one client",
    figures=(
        Figure("server", "µs CPU/order, serve process", 1),
        Figure("postgres", "µs CPU/order, PostgreSQL", 1),
        Figure("rate", "orders/s", 0, more_is_better=True),
    ),
    open=enter,
    seconds=12,
    comparisons=(
        Comparison("server", LOOKUP + IN_MEMORY, GETS + IN_MEMORY),
        Comparison("server", LOOKUP + NOT_IN_MEMORY, GETS + NOT_IN_MEMORY),
        Comparison("postgres", LOOKUP + NOT_IN_MEMORY, GETS + NOT_IN_MEMORY),
    ),
)
