"""What must hold: after each COMMIT, at each step, and in the end. The numbers are those of docs/reliability.md."""

from typing import TYPE_CHECKING

from orders.order import document
from support.simulation.kafka import Said
from support.simulation.postgres import Tables
from support.simulation.reference import MOVING, SHARED, Truth, last_of, value_of

if TYPE_CHECKING:
    from support.simulation.world import World

FIRST_COLUMN_AFTER_PLACE = 5
"""Of a dead letter as it is written: key, value."""


def check_memory(world: "World") -> None:
    """9: a GET answers what PostgreSQL holds, byte for byte, or nothing; of what a machine has not heard, the older.

    The rule of memory rests on one clock for all processes of a machine; where clocks step nothing is promised of it.
    """
    if world.clocks_step or not world.has_changed():
        return
    rows = world.server.tables.orders
    for machine in world.machines:
        for order_uid in world.uids:
            served = machine.memory.get(order_uid.encode())
            if served is None or order_uid in machine.unheard:
                continue
            stored = rows.get(order_uid)
            assert stored is not None, f"9 memory has {order_uid}, PostgreSQL has not"
            assert served == stored.document, f"9 memory has an older {order_uid} than PostgreSQL"


def check_commit(world: "World") -> None:
    """1 to 5 and 8 for what the positions say, neither more nor less."""
    tables = world.server.tables
    check_whole(world.before, tables)
    for (topic_id, partition), position in tables.positions.items():
        reached = tables.reached[topic_id, partition]
        log = world.broker.log[partition]
        assert reached <= len(log), f"the position of {partition} is beyond the log"
        truth = world.truth(partition, reached)
        check_orders(tables, partition, truth, read_again=position < reached)
        check_dead_letters(tables, partition, log, truth)
    check_numbers(world.before, tables)
    world.before = tables


def check_whole(before: Tables, now: Tables) -> None:
    """3: what a COMMIT changes of a partition it changes together with its position."""
    for place, position in now.positions.items():
        if before.positions.get(place) == position:
            assert of_partition(before, place[1]) == of_partition(now, place[1]), (
                f"3 partition {place[1]} changed without its position"
            )


def of_partition(tables: Tables, partition: int) -> tuple[object, ...]:
    """Its orders, dead letters and outcomes."""
    orders = {uid: row for uid, row in tables.orders.items() if uid.endswith(f"-{partition}")}
    dead_letters, outcomes = (
        {place: row for place, row in table.items() if place[1] == partition}
        for table in (tables.dead_letters, tables.outcomes)
    )
    return orders, dead_letters, outcomes


def check_orders(tables: Tables, partition: int, truth: Truth, *, read_again: bool) -> None:
    """While a partition is read again, orders that were deleted since may be there for a time."""
    stored = {uid: row for uid, row in tables.orders.items() if uid.endswith(f"-{partition}")}
    more = stored.keys() - truth.amounts.keys()
    assert read_again or not more, f"3 or 8: {sorted(more)} should not be stored"
    for order_uid, amount in truth.amounts.items():
        row = stored.get(order_uid)
        assert row is not None, f"1 or 3: {order_uid} is missing"
        assert row.document == document(row.id, value_of(order_uid, amount)), f"8 {order_uid} is not its last"


def check_dead_letters(tables: Tables, partition: int, log: list[Said], truth: Truth) -> None:
    dead_letters = {place[2]: row for place, row in tables.dead_letters.items() if place[1] == partition}
    missing, more = (
        truth.dead_letters - dead_letters.keys(),
        dead_letters.keys() - truth.dead_letters - truth.possible_dead_letters,
    )
    assert not missing, f"4 no dead letters of {partition}/{sorted(missing)}"
    assert not more, f"5 dead letters of {partition}/{sorted(more)}, which nothing is wrong with"
    for offset, row in dead_letters.items():
        key, value = row[FIRST_COLUMN_AFTER_PLACE : FIRST_COLUMN_AFTER_PLACE + 2]
        assert (key, value) == (log[offset].key, log[offset].value), (
            f"4 dead letter {partition}/{offset} has lost bytes"
        )
    outcomes = {place[2]: row[3] for place, row in tables.outcomes.items() if place[1] == partition}
    assert outcomes == truth.outcomes, f"1 the outcomes of partition {partition} are not what became of its records"


def check_numbers(before: Tables, now: Tables) -> None:
    """2: ids are one each, and a version only rises."""
    ids = [row.id for row in now.orders.values()]
    assert len(set(ids)) == len(ids), "2 two orders have one id"
    for order_uid, row in now.orders.items():
        old = before.orders.get(order_uid)
        assert old is None or old == row or old.version < row.version, f"2 the version of {order_uid} did not rise"


def ailments(world: "World") -> list[str]:
    """Why a world is not yet well."""
    ill = [f"{ingest.name}: {ingest.ailment}" for ingest in world.ingests if ingest.ailment]
    positions = {
        p: n for (topic_id, p), n in world.server.tables.positions.items() if topic_id == world.broker.topic_id
    }
    behind = [f"{p} at {positions.get(p)} of {end}" for p, end in world.broker.ends.items() if positions.get(p) != end]
    deaf = [f"machine {n} has not heard of {sorted(m.unheard)}" for n, m in enumerate(world.machines) if m.unheard]
    return ill + behind + deaf + ["reads that wait"] * bool(world.reads)


def is_healed(world: "World") -> bool:
    return not ailments(world)


def check_end(world: "World") -> None:
    """Everything, once more, where nothing is under way."""
    check_commit(world)
    check_memory(world)
    stored = world.server.tables.orders.get(SHARED)
    possible = last_of(world.broker.log, SHARED)
    expected = {None if amount is None else value_of(SHARED, amount) for amount in possible}
    assert (stored and b"{" + stored.document.partition(b",")[2][:-1]) in expected, (
        "8 the shared order is not a last one"
    )
    check_moving(world)


def check_moving(world: "World") -> None:
    """11: an order whose records moved to a partition that the topic gained is the last that was produced."""
    stored = world.server.tables.orders.get(MOVING)
    expected = None if world.moving is None else value_of(MOVING, world.moving)
    assert world.order_is_lost or (stored and b"{" + stored.document.partition(b",")[2][:-1]) == expected, (
        "11 the order that moved is not its last"
    )
