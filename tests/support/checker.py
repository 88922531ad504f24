"""Whether a machine holds what its topic says, invariant by invariant; a failure names the broken ones and the seed.

What cannot be seen after the fact (6, 7, 10 and the moments of 3 and 9) is measured beside the test by `watching`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import httpx2
import psycopg

from orders.http.problems import problem
from orders.kafka.topic import TopicView
from orders.memory.keeper import rows_from
from orders.postgres.connection import connect
from orders.settings import Settings
from support.traffic import Letter, Model
from support.waiting import wait_for

INVARIANTS = {
    1: "what was acknowledged is stored and can be read",
    2: "no duplicates and nothing invented: each order once, exactly as it was sent",
    3: "a batch is whole or absent",
    4: "each invalid message is a dead letter once, with its bytes, key, headers, place and reason",
    5: "the valid neighbours of an invalid message are stored",
    6: "it heals without a person, and consumption is back in time",
    7: "the memory of each process stays under its bound",
    8: "the last record of an order wins",
    9: "GET says what PostgreSQL holds",
    10: "no 5xx but 503, and no crash",
}
MOST_TOLD = 10
"""How many breaches of one check are told in full: the first ones say what is wrong."""

BEYOND = """
select o.topic_id, o.partition, o."offset" from {} o join positions p using (topic_id, partition)
where o."offset" >= p.next_offset limit 5
"""
DEAD_LETTERS = 'select partition, "offset", key, value, header_names, header_values, reason from dead_letters'


class Breach(NamedTuple):
    """An invariant that does not hold, and where."""

    invariant: int
    where: str


class Broken(AssertionError):
    """Names every broken invariant and the seed."""

    def __init__(self, breaches: list[Breach], seed: int) -> None:
        self.invariants = {breach.invariant for breach in breaches}
        counts = Counter(breach.invariant for breach in breaches)
        lines = [f"invariant {number} ({INVARIANTS[number]}), {count} times:" for number, count in counts.items()]
        told = [breach.where for number in counts for breach in breaches if breach.invariant == number][:MOST_TOLD]
        super().__init__("\n".join((f"broken with seed {seed}:", *lines, *told)))


class Checked(Protocol):
    """What is checked: a `Machine`, or whatever else has its settings and its address."""

    @property
    def settings(self) -> Settings: ...
    @property
    def url(self) -> str: ...


class Found(NamedTuple):
    """What a machine holds."""

    orders: dict[str, bytes]
    """Served bytes by uid."""
    dead_letters: list[tuple[Letter, str]]
    """With their reasons."""
    counts: tuple[int, ...]
    """Rows, different ids, different versions."""
    beyond: list[str]
    """What lies at or after the position of its partition."""
    behind: dict[int, int]
    """Positions that are not the end of their partition."""


def caught_up(machine: Checked, seconds: float = 60) -> None:
    """Until every partition's position is its end."""
    view = TopicView(machine.settings.kafka, machine.settings.kafka_topic)
    with psycopg.connect(machine.settings.postgres_dsn, autocommit=True) as connection:
        wait_for(lambda: positions(connection) == view.look().ends, "all is consumed", seconds)


def positions(connection: "psycopg.Connection[tuple[int, int]]") -> dict[int, int]:
    return dict(connection.execute("select partition, next_offset from positions").fetchall())


def check(machine: Checked, model: Model, promised: Mapping[str, bytes]) -> None:
    """Compares rows, dead letters, positions and the answers of GETs with the model. Raises `Broken`."""
    found = look(machine)
    breaches = [
        *of_orders(found.orders, model),
        *of_promises(found.orders, model, promised),
        *of_dead_letters(found.dead_letters, model),
        *of_counts(found),
        *of_answers(machine, found.orders, model),
    ]
    if breaches:
        raise Broken(breaches, model.seed)


def look(machine: Checked) -> Found:
    topic = TopicView(machine.settings.kafka, machine.settings.kafka_topic).look()
    with connect(machine.settings.postgres_dsn, "test") as connection:
        dead_letters = connection.execute(f"{DEAD_LETTERS} where topic_id = %s", (topic.topic_id,)).fetchall()
        counts = connection.execute("select count(*), count(distinct id), count(distinct version) from orders")
        stored = positions(connection)
        return Found(
            {put.order_uid: put.document for put in rows_from(connection, 0)},
            [dead_letter_of(row) for row in dead_letters],
            counts.fetchall()[0],
            beyond(connection),
            {
                partition: stored.get(partition, 0)
                for partition, end in topic.ends.items()
                if stored.get(partition) != end
            },
        )


def dead_letter_of(row: tuple[Any, ...]) -> tuple[Letter, str]:
    """A row of dead_letters, and its reason."""
    partition, offset, key, value, names, values, reason = row
    return Letter(partition, offset, key, value, tuple(zip(names, values, strict=True))), reason


def beyond(connection: "psycopg.Connection[tuple[object, ...]]") -> list[str]:
    """What is stored of records that their positions do not cover: a part of a batch. There is none at any moment."""
    tables = ("orders", "dead_letters", "outcomes")
    rows = [(table, row) for table in tables for row in connection.execute(BEYOND.format(table)).fetchall()]
    return [f"{table} at {row}" for table, row in rows]


def of_orders(stored: Mapping[str, bytes], model: Model) -> Iterator[Breach]:
    """Rows against what the topic says."""
    for order_uid in sorted(model.orders.keys() - stored.keys()):
        yield Breach(5 if order_uid in model.neighbours else 1, f"{order_uid} is not stored")
    for order_uid in sorted(stored.keys() - model.orders.keys()):
        deleted = order_uid in model.uids
        yield Breach(
            8 if deleted else 2, f"{order_uid} is stored, and {'was deleted' if deleted else 'nobody sent it'}"
        )
    for order_uid in sorted(stored.keys() & model.orders.keys()):
        text = without_id(stored[order_uid])
        if text != model.orders[order_uid]:
            known = text in model.texts
            yield Breach(8 if known else 2, f"{order_uid} is as {'another record' if known else 'nobody'} sent it")


def of_promises(stored: Mapping[str, bytes], model: Model, promised: Mapping[str, bytes]) -> Iterator[Breach]:
    """What a POST was told is stored."""
    for order_uid, text in promised.items():
        if order_uid not in stored or without_id(stored[order_uid]) != text or model.orders.get(order_uid) != text:
            yield Breach(1, f"{order_uid} was acknowledged and is not stored as it was sent")


def of_dead_letters(dead_letters: list[tuple[Letter, str]], model: Model) -> Iterator[Breach]:
    """Dead letters against the invalid messages of the topic."""
    kept = Counter(dead_letter for dead_letter, _ in dead_letters)
    for dead_letter in sorted(model.dead_letters - kept.keys(), key=place):
        yield Breach(4, f"no dead letter is as the message at {dead_letter.partition}/{dead_letter.offset}")
    for dead_letter in sorted((each for each in kept if kept[each] > 1 or each not in model.dead_letters), key=place):
        yield Breach(
            4, f"no message is as the dead letter at {dead_letter.partition}/{dead_letter.offset}, or it is there twice"
        )
    for dead_letter in sorted((dead_letter for dead_letter, reason in dead_letters if not reason), key=place):
        yield Breach(4, f"the dead letter at {dead_letter.partition}/{dead_letter.offset} has no reason")


def place(dead_letter: Letter) -> tuple[int, int]:
    return dead_letter.partition, dead_letter.offset


def of_counts(found: Found) -> Iterator[Breach]:
    """Numbers that are drawn once, and positions that cover what is stored."""
    if found.counts != (len(found.orders),) * 3:
        yield Breach(2, f"rows, different ids, different versions: {found.counts}")
    for where in found.beyond:
        yield Breach(3, f"{where} lies beyond its position")
    if found.behind:
        yield Breach(6, f"not all is consumed: {found.behind}")


def of_answers(machine: Checked, stored: Mapping[str, bytes], model: Model) -> Iterator[Breach]:
    """GETs of all orders that ever were, and of one that never was."""
    with httpx2.Client(base_url=machine.url, timeout=10) as http:
        for order_uid in sorted(model.uids | {"nobody"}):
            answer = http.get(f"/orders/{order_uid}")
            yield from of_answer(order_uid, (answer.status_code, answer.content), stored.get(order_uid))


def of_answer(order_uid: str, got: tuple[int, bytes], served: bytes | None) -> Iterator[Breach]:
    """One answer to a GET against the bytes that PostgreSQL makes of the order."""
    if got[0] == 503:
        yield Breach(1, f"{order_uid} cannot be read: {got[1].decode()}")
    elif got[0] >= 500:
        yield Breach(10, f"GET of {order_uid} is {got[0]}")
    elif got != expected(served):
        yield Breach(9, f"GET of {order_uid} is {got[0]} and not what PostgreSQL holds")


def without_id(served: bytes) -> bytes:
    """The text of a served order as it was sent; as it is where it cannot be one of ours."""
    head, _, rest = served.partition(b",")
    return b"{" + rest[:-1] if head.startswith(b'{"order":{"id":') else served


def expected(served: bytes | None) -> tuple[int, bytes]:
    return (200, served) if served else (404, problem("order-not-found"))
