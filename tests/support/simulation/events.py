"""What may happen in a schedule, and how often."""

from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING

from psycopg import errors

from orders.memory.shared import Put
from support.simulation.kafka import CONTROL_RECORD, METADATA_SECONDS, Said
from support.simulation.postgres import REFUSED_AMOUNT, Session, Work
from support.simulation.reference import MOVING, POISONED, SHARED, value_of

if TYPE_CHECKING:
    from support.simulation.world import World

KINDS = {"upsert": 6, "delete": 2, "post": 3, "invalid": 1, "poison": 1, "shared": 2, CONTROL_RECORD: 2, MOVING: 3}
"""Kinds of records, by weight."""
RUBBISH = (b"", b"{", b'{"order_uid":1}', b"\xff")
OUTAGES = ("down", "full", "read only", "refuses all")
MOST_PARTITIONS = 4
HOUR = 3600.0
MOST_LOST = 3
MOST_AHEAD = 33
"""Numbers of a sequence that PostgreSQL's log is ahead of what was drawn (SEQ_LOG_VALS in its sequence.c, and one)."""
TROUBLES: Mapping[str, type[Exception] | None] = {
    "the connection is lost": None,
    "a deadlock": errors.DeadlockDetected,
    "the statement takes too long": errors.QueryCanceled,
    "the disk is full": errors.DiskFull,
}


# -- the topic --


def say(world: "World") -> None:
    """Some records are produced into a partition."""
    partition = world.chance.below(len(world.broker.log))
    for _ in range(1 + world.chance.below(4)):
        said = record(world, world.chance.weighed(KINDS), partition)
        if said.kind == MOVING:
            append(world, known_last(world), said)
            world.moving = said.amount
        else:
            append(world, partition, said)


def append(world: "World", partition: int, said: Said) -> None:
    world.broker.log[partition].append(said)
    place = f"{partition}/{len(world.broker.log[partition]) - 1}"
    world.tell(f"{place} is {said.kind} {said.order_uid} {said.amount}")


def known_last(world: "World") -> int:
    """The last partition that the producer of `MOVING` knows of; what it learned it does not forget."""
    since = world.now - METADATA_SECONDS
    must = world.partitions_at_first + sum(at < since for at in world.broker.grown_at)
    world.known_partitions = len(world.broker.log) if world.chance.one_in(3) else max(must, world.known_partitions)
    return world.known_partitions - 1


def record(world: "World", kind: str, partition: int) -> Said:
    chance, time = world.chance, int(world.now * 1000)
    if kind == CONTROL_RECORD:
        return Said(kind, "", None, None, None, time)
    if kind == "invalid":
        return Said(kind, "", None, chance.pick((None, b"\xff")), chance.pick(RUBBISH), time, chance.one_in(2))
    names = {"poison": f"{POISONED}-{partition}", "shared": SHARED, MOVING: MOVING}
    order_uid = names.get(kind) or f"{chance.pick('ab')}-{partition}"
    key = order_uid.encode()
    if kind == "delete" or (kind in {"shared", MOVING} and chance.one_in(4)):
        return Said(kind, order_uid, None, key, None, time, kind == "delete" and chance.one_in(2))
    amount = some_amount(world, kind)
    return Said(kind, order_uid, amount, key, value_of(order_uid, amount), time, kind == "post", kind == "post")


def some_amount(world: "World", kind: str) -> int:
    """Mostly one that never was; else one that may be there already."""
    if kind == "poison" and world.chance.one_in(2):
        return REFUSED_AMOUNT
    world.last_amount += 1
    return 1 if world.chance.one_in(4) else world.last_amount


def add_partition(world: "World") -> None:
    if len(world.broker.log) < MOST_PARTITIONS:
        world.tell("the topic grows")
        world.broker.log.append([])
        world.broker.grown_at.append(world.now)
        share_out(world)


# -- the group --


def share_out(world: "World") -> None:
    """Partitions move: some of the members get them all."""
    names = [ingest.name for ingest in world.ingests]
    members = [name for name in names if world.chance.one_in(1.5)] or names
    world.tell(f"partitions move to {members}")
    world.broker.share_out(members)


def give_up(world: "World") -> None:
    """The group takes a member for dead, whether it is or not."""
    names = [ingest.name for ingest in world.ingests]
    name = world.chance.pick(names)
    world.tell(f"the group gives {name} up")
    world.broker.give_up(name, [other for other in names if other != name] or names)


def kafka_goes(world: "World") -> None:
    world.broker.is_away = world.chance.one_in(2)
    world.broker.refuses_seeks = not world.broker.is_away


def kafka_comes(world: "World") -> None:
    world.broker.is_away = world.broker.refuses_seeks = False


# -- processes --


def ingest(world: "World") -> None:
    """An ingest takes some turns."""
    process = world.chance.pick(world.ingests)
    for _ in range(1 + world.chance.below(4)):
        world.run(process)


def keep(world: "World") -> None:
    """A keeper connects and follows for a while."""
    world.run(world.chance.pick(world.keepers))


def kill(world: "World") -> None:
    """A process ends between two turns."""
    process = world.chance.pick(world.processes)
    if process.name not in world.busy:
        world.tell(f"{process.name} is killed")
        world.bury(process)


def restart(world: "World") -> None:
    for process in world.processes:
        if not process.is_running and process.name not in world.busy:
            world.tell(f"{process.name} starts again")
            process.start()


def step_clock(world: "World") -> None:
    """The clock of one ingest steps by an hour, and maybe back later, in a world where clocks do."""
    if not world.clocks_step:
        return
    process = world.chance.pick(world.ingests)
    process.skew = world.chance.pick((0.0, HOUR, -HOUR))
    world.tell(f"the clock of {process.name} is {process.skew:+.0f} s off")


def mend_clocks(world: "World") -> None:
    """All clocks are right again, and what a wrong one made somebody wait for is over."""
    for process in world.ingests:
        process.skew = 0.0
    world.pass_time(2 * HOUR)


def wait(world: "World") -> None:
    world.pass_time(world.chance.pick((1.0, 6.0, 10.0, 31.0, 61.0)))


# -- reads --


def read(world: "World") -> None:
    """A GET that misses is answered from PostgreSQL, maybe slowly."""
    if world.outage != "down":
        as_of = world.now
        world.pass_time(world.chance.pick((0.0, 0.0, 0.5, 5.0)))
        rows = world.server.tables.orders
        puts = [Put(uid, row.version, row.document) for uid, row in rows.items()]
        world.keep_read(world.chance.pick(world.machines), puts, as_of)


def put(world: "World") -> None:
    """What was read is put into memory, maybe much later."""
    if world.reads:
        machine, puts, as_of = world.reads.pop(world.chance.below(len(world.reads)))
        machine.memory.put(puts, as_of)
        machine.writes += 1


# -- PostgreSQL --


def postgres_goes(world: "World") -> None:
    """An outage of some kind. A check that no order meets comes only where no writer stands between two tries."""
    kind = world.chance.pick(OUTAGES)
    if world.outage or (kind == "refuses all" and world.busy):
        return
    world.tell(f"PostgreSQL is {kind}")
    world.outage = kind
    world.server.is_read_only = kind == "read only"
    world.server.refuses_all = kind == "refuses all"
    if kind == "down":
        world.server.end_sessions()


def postgres_comes(world: "World") -> None:
    if not (world.outage == "refuses all" and world.busy):
        end_postgres_outage(world)


def end_postgres_outage(world: "World") -> None:
    world.outage = ""
    world.server.is_read_only = world.server.refuses_all = False


def postgres_restarts(world: "World") -> None:
    world.tell("every backend is killed")
    world.server.end_sessions()


def postgres_fails_over(world: "World") -> None:
    """A standby takes over; what memory has of the commits that it lacks stands until its keeper finds out."""
    lost = 1 + world.chance.below(min(MOST_LOST, len(world.server.past) or 1))
    if lost <= len(world.server.past):
        world.server.fail_over(lost, world.chance.below(MOST_AHEAD))
        world.before = world.server.tables
        world.tell(f"a standby takes over without {lost} commits: {sorted(world.server.tables.positions.items())}")
        for machine in world.machines:
            machine.unheard.update(dict.fromkeys(world.uids, inf))


def go_back(world: "World") -> None:
    """A person sets a partition's position back to its start, while no transaction holds it."""
    places = [place for place in world.server.tables.positions if not world.server.is_locked(place)]
    if places:
        place = world.chance.pick(places)
        world.tell(f"the position of {place} is set back")
        work = Work()
        work.positions[place] = 0
        world.order_is_lost = True
        world.server.commit(work)


def end_outages(world: "World") -> None:
    end_postgres_outage(world)
    kafka_comes(world)


def trouble(world: "World", session: Session, point: str) -> str:
    """Something goes wrong with one statement, or with the reply to COMMIT."""
    if point == "committed":
        session.lose_reply()
        return "the reply is lost"
    name = world.chance.pick(list(TROUBLES))
    world.pass_time(world.chance.pick((0.0, 0.0, 3.0, 15.0)))
    if (error := TROUBLES[name]) is not None:
        session.next_error = error()
    else:
        session.end()
    return name


Event = Callable[["World"], None]

EVENTS: Mapping[Event, float] = {
    say: 8,
    ingest: 16,
    keep: 1.5,
    read: 4,
    put: 2.5,
    wait: 1.2,
    share_out: 0.6,
    give_up: 0.4,
    kill: 0.5,
    restart: 2,
    postgres_goes: 0.6,
    postgres_comes: 1.5,
    postgres_restarts: 0.2,
    postgres_fails_over: 0.15,
    kafka_goes: 0.3,
    kafka_comes: 1.0,
    go_back: 0.1,
    step_clock: 0.3,
    add_partition: 0.25,
}
"""What may happen next, by weight."""
