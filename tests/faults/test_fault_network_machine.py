"""A whole machine whose network to PostgreSQL, or to Kafka, is slow, thin, cut, reset or silent under load.

While it lasts: GETs from memory continue, a POST is 201, 202 or 503, a miss is answered in bounded time, `/readyz` says
why. After it: all heals without a person, and every row, dead letter and GET is as the topic says.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from support.load import Load
from support.machine import Machine
from support.proxied import ProxiedKafka
from support.proxy import Mode, Network
from support.services import Topics, open_folder
from support.waiting import wait_for

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

MEMORY_BYTES = 2**28
"""Nothing is evicted in the minutes that this takes: what was in memory is answered while PostgreSQL is unavailable."""
KINDS = ("ingest", "keep", "serve")
FAULTS: Sequence[tuple[Mode, bool]] = (
    ("slow", False),
    ("thin", False),
    ("cut", False),
    ("reset", False),
    ("silent", False),
    ("silent", True),
)
"""What the network is, and whether it forgets its connections meanwhile."""
BROKEN = frozenset({"cut", "reset", "silent"})
POST_MOST = 4.0 + 2.0
"""The machine's deadline for a POST, and what a loaded computer takes."""
MISS_MOST = 5.0
NOTICED_MOST = 5.0
HEALED_MOST = 30.0


class Scene(NamedTuple):
    load: Load
    network: Network


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def to_postgres(tmp_path: Path, postgres_dsn: str, kafka_bootstrap: str, stack: ExitStack) -> Scene:
    place = conninfo_to_dict(postgres_dsn)
    network = stack.enter_context(Network(str(place["host"]), int(str(place["port"]))))
    through = make_conninfo(postgres_dsn, port=network.port, sslmode="disable")
    topics = Topics(kafka_bootstrap)
    stack.callback(topics.delete)
    logins = {kind: {"ORDERS_POSTGRES_DSN": through} for kind in KINDS}
    machine = Machine(tmp_path, postgres_dsn, kafka_bootstrap, topics.make(), logins=logins, memory_bytes=MEMORY_BYTES)
    return begun(machine, network, stack)


@pytest.fixture
def to_kafka(tmp_path: Path, postgres_dsn: str, stack: ExitStack) -> Scene:
    network = stack.enter_context(Network())
    kafka = ProxiedKafka(stack.enter_context(open_folder()) / "kafka", network)
    stack.callback(kafka.stop)
    kafka.start()
    logins = {kind: {"ORDERS_KAFKA_BOOTSTRAP": kafka.through} for kind in KINDS}
    topic = Topics(kafka.bootstrap).make()
    return begun(Machine(tmp_path, postgres_dsn, kafka.bootstrap, topic, logins=logins), network, stack)


def begun(machine: Machine, network: Network, stack: ExitStack) -> Scene:
    stack.enter_context(machine)
    load = Load(machine, seed=6)
    stack.callback(load.close)
    return Scene(load, network)


SECONDS = pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.faults)])


@SECONDS
def test_a_bad_network_to_postgresql(to_postgres: Scene, seconds: float) -> None:
    """Takes over a minute: six faults of 5 s each under load, and after each all has to heal."""
    load, network = to_postgres
    with load.going_on():
        for mode, forgets in FAULTS:
            suffer(load, network, mode, seconds, forgets=forgets, part="postgres", missed=503)
    load.check()


@SECONDS
def test_a_bad_network_to_kafka(to_kafka: Scene, seconds: float) -> None:
    """Takes over a minute: six faults of 5 s each under load, and after each all has to heal."""
    load, network = to_kafka
    with load.going_on():
        for mode, forgets in FAULTS:
            suffer(load, network, mode, seconds, forgets=forgets, part="kafka", missed=404)
    load.check()


def suffer(load: Load, network: Network, mode: Mode, seconds: float, *, forgets: bool, part: str, missed: int) -> None:
    """The network is bad for `seconds`; `missed` is what a GET of an unknown order is answered while it is broken."""
    load.poster.begin_again()
    network.be(mode)
    endure(load, seconds, part=part if mode in BROKEN else "", missed=missed)
    if forgets:
        network.forget()
    network.be("open")
    healed = monotonic()
    wait_for(load.machine.is_ready, f"ready after {mode}", HEALED_MOST)
    load.catch_up(HEALED_MOST)
    took, poster = monotonic() - healed, load.poster
    log.info(
        "%s (forgets: %s): healed in %.1f s, %s, slowest %.1f s", mode, forgets, took, poster.answers, poster.slowest
    )
    assert poster.slowest < POST_MOST
    assert took < HEALED_MOST


def endure(load: Load, seconds: float, *, part: str, missed: int) -> None:
    """While it lasts; `part` is what /readyz must complain of in the end, if of anything, and say why."""
    until, answers = monotonic() + seconds, list[int]()

    def told() -> bool:
        status, waited = load.missed()
        answers.append(status)
        assert waited < MISS_MOST
        return monotonic() >= until and (not part or bool(load.reason(part)))

    wait_for(told, f"/readyz complains of {part}", seconds + NOTICED_MOST)
    assert set(answers) <= {404, 503}
    assert not part or answers[-1] == missed
