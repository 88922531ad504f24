"""New partitions: in whatever order producers write and learn, and ingests read, records are stored in their order."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders.errors import Unavailable
from orders.kafka import growth
from orders.kafka.growth import Growth
from orders.kafka.topic import TopicSnapshot, TopicView
from orders.record import Position, Reached, Record, Round, Stop

SECONDS = 20.0
"""How long new partitions wait; a producer learns of them in half of that time."""
MOST_PARTITIONS = 6
STEPS = 80


class World:
    """Two producers with an order each, which they place in the last partition that they know of; and two ingests."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.now = 0.0
        self.logs: list[list[tuple[int, int]]] = [[] for _ in range(1 + chance.randrange(2))]
        """Of each partition: whose order, and which of its records."""
        self.grown_at: list[float] = [-SECONDS] * len(self.logs)
        self.known = [len(self.logs)] * 2
        self.last = [0, 0]
        self.value = [0, 0]
        self.new_since: dict[int, float] = {}
        self.stored: dict[int, Position] = dict.fromkeys(range(len(self.logs)), Position(0))
        view = cast("TopicView", SimpleNamespace(topic="orders", look=self.look))
        self.ingests = [Growth(view, self, SECONDS) for _ in range(2)]

    # -- what happens --

    def produce(self) -> None:
        """The next record of an order, from a producer whose metadata is not too old."""
        who = self.chance.randrange(2)
        must = sum(at <= self.now - SECONDS / 2 for at in self.grown_at)
        self.known[who] = len(self.logs) if self.chance.random() < 0.3 else max(must, self.known[who])
        self.last[who] += 1
        self.logs[self.known[who] - 1].append((who, self.last[who]))

    def grow(self) -> None:
        if len(self.logs) < MOST_PARTITIONS:
            self.logs.append([])
            self.grown_at.append(self.now)

    def find(self) -> None:
        """An ingest finds partitions without a position."""
        for partition in set(self.ends) - set(self.stored):
            self.new_since[partition] = self.now
            self.stored[partition] = Position(0, below=0, new_for=0.0)

    def check(self) -> None:
        """What an ingest does every now and then."""
        number = self.chance.randrange(2)
        ends = self.look().ends
        self.wait()
        self.ingests[number].step("t", self.ours(number), self.positions(), ends)

    def read(self) -> None:
        """An ingest stores some records of one partition, as far as it may."""
        partition = self.chance.choice(sorted(self.stored))
        position, log = self.stored[partition], self.logs[partition]
        until = min(position.offset + 1 + self.chance.randrange(3), len(log))
        until = until if position.below is None else min(until, position.below)
        for who, which in log[position.offset : until]:
            assert which > self.value[who], "an older record is stored after a newer one"
            self.value[who] = which
        self.stored[partition] = position._replace(offset=max(until, position.offset))

    def wait(self) -> None:
        self.now += self.chance.choice((0.0, 0.5, 3.0))

    def any_event(self) -> None:
        events: tuple[Callable[[], None], ...] = (self.produce, self.find, self.check, self.read, self.wait)
        self.chance.choices((*events, self.grow), weights=(4, 2, 5, 5, 1, 1))[0]()

    # -- what a `Growth` stands on --

    @property
    def ends(self) -> dict[int, int]:
        return {partition: len(log) for partition, log in enumerate(self.logs)}

    def look(self, *_needed: str) -> TopicSnapshot:
        """More is written after the brokers answer."""
        view = TopicSnapshot("t", self.ends)
        for _ in range(self.chance.randrange(4)):
            self.produce()
        return view

    def positions(self) -> dict[int, Position]:
        return {
            n: position if position.below is None else position._replace(new_for=self.now - self.new_since[n])
            for n, position in self.stored.items()
        }

    def ours(self, number: int) -> dict[int, Position]:
        return {n: position for n, position in self.positions().items() if n % 2 == number}

    def open(self, topic_id: str, partition: int, planned: Round) -> bool:
        assert topic_id == "t"
        position = self.stored[partition]
        if position.below is None or (planned.end < position.below and not planned.is_last):
            return False
        if any(n not in self.stored or self.stored[n].offset < end for n, end in planned.awaited.items()):
            return False
        self.stored[partition] = position._replace(below=None if planned.is_last else planned.end)
        return True

    def settle(self) -> None:
        """Nothing new comes, and everybody continues."""
        self.produce = lambda: None  # type: ignore[method-assign]
        for _ in range(40 * MOST_PARTITIONS):
            self.now += 1.0
            self.find()
            for number in range(2):
                self.ingests[number].step("t", self.ours(number), self.positions(), self.ends)
            for _ in range(10):
                self.read()


def play(seed: int) -> World:
    world = World(Random(seed))
    for _ in range(STEPS):
        world.any_event()
    return world


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_an_orders_records_are_stored_in_their_order_and_all_are(seed: int) -> None:
    check_schedule(seed)


def check_schedule(seed: int) -> None:
    world = play(seed)
    world.settle()
    assert {n: position.offset for n, position in world.stored.items()} == world.ends
    assert world.value == world.last
    assert all(position.below is None for position in world.stored.values()), "in the end none is new"


def asked_in_the_wrong_order(patch: pytest.MonkeyPatch) -> None:
    plan = growth.plan
    patch.setattr(growth, "plan", lambda n, ends, later, *others: plan(n, later, ends, *others))


def read_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(growth, "plan", lambda n, ends, *_: Round(ends[n], {}, is_last=False))


def over_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(growth, "is_over", lambda *_: True)


def never_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(growth, "is_over", lambda *_: False)


@pytest.mark.parametrize(
    ("plant", "seed"),
    [(asked_in_the_wrong_order, 539), (read_at_once, 0), (over_at_once, 3), (never_over, 0)],
)
def test_each_clause_of_the_rule_is_needed(
    plant: Callable[[pytest.MonkeyPatch], None], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it this schedule stores an older record after a newer one, or leaves a partition new for good."""
    check_schedule(seed)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check_schedule(seed)


def record(partition: int, offset: int) -> Record:
    return Record(partition, offset, None, None, None)


def test_what_may_not_be_read_yet_is_neither_given_nor_counted_as_passed() -> None:
    """The consumer stops where more comes, and reads on from there once more may be read."""
    view = cast("TopicView", SimpleNamespace(topic="orders", look=lambda _: TopicSnapshot("t", {0: 1, 4: 9})))
    opening = SimpleNamespace(open=lambda *_: True)
    new = Growth(view, opening, SECONDS)
    new.place({0: Position(1), 4: Position(2, below=5, new_for=1.0)})
    given_on, beyond = new.within([record(0, 7), record(4, 4), record(4, 5), record(4, 6)])
    assert ([(r.partition, r.offset) for r in given_on], beyond) == ([(0, 7), (4, 4)], {4})
    assert new.capped(4, Reached(7, 3)) == Reached(5, None)
    assert new.capped(4, Reached(5, 3)) == Reached(5, 3)
    assert new.capped(0, Reached(7, 3)) == Reached(7, 3)
    read = {0: Position(1), 4: Position(5, below=5, new_for=2.0)}
    new.step("t", {4: read[4]}, read, {0: 1, 4: 9})
    assert (new.limits, new.to_send_back) == ({4: 9}, {4}), "it is to be read again from where it was cut"
    assert new.capped(4, Reached(7, 3)) == Reached(5, None), "until then it was read no further"
    assert new.within([record(4, 7)]) == ([], {4})
    new.sent_back([4])
    assert new.capped(4, Reached(7, 3)) == Reached(7, 3)
    new.step("t", {4: read[4]._replace(below=9)}, read, {0: 1, 4: 9})
    assert new.to_send_back == set(), "and only once"
    new.forget([4])
    assert not new.is_limiting


class Client:
    """Kafka's client of one ingest: it gives records of two new partitions, also beyond what may be read."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.fails = True
        self.ends = {0: 0, 4: 0, 5: 0}
        self.stored = {0: Position(0), 4: Position(0, below=0, new_for=SECONDS), 5: Position(0, below=0, new_for=0.0)}
        self.given = {4: 0, 5: 0}
        self.paused: set[int] = set()
        self.new = Growth(cast("TopicView", SimpleNamespace(topic="orders", look=self.look)), self, SECONDS)
        self.new.place(self.stored)

    def produce(self) -> None:
        self.ends[4 + self.chance.randrange(2)] += 1 + self.chance.randrange(3)

    def may_fail(self) -> None:
        if self.fails and self.chance.random() < 0.4:
            raise Unavailable("busy")

    def look(self, *_needed: str) -> TopicSnapshot:
        self.may_fail()
        return TopicSnapshot("t", self.ends)

    def open(self, _topic_id: str, partition: int, planned: Round) -> bool:
        """It may be done all the same where it fails."""
        self.may_fail()
        self.stored[partition] = self.stored[partition]._replace(below=None if planned.is_last else planned.end)
        self.may_fail()
        return True

    def poll(self) -> None:
        """What is given on follows on what was, and no more counts as read."""
        some = [n for n in self.given if n not in self.paused for _ in range(self.chance.randrange(4))]
        records = []
        for partition in some:
            if self.given[partition] < self.ends[partition]:
                records.append(record(partition, self.given[partition]))
                self.given[partition] += 1
        read, beyond = self.new.within(records)
        self.paused |= beyond
        for each in read:
            assert each.offset == self.stored[each.partition].offset, "records are missing"
            self.store(each.partition, each.offset + 1)
        for partition, offset in self.given.items():
            assert self.new.capped(partition, Reached(offset)).offset <= self.stored[partition].offset, "passed over"

    def store(self, partition: int, offset: int) -> None:
        self.stored[partition] = self.stored[partition]._replace(offset=offset)

    def check(self) -> None:
        """The client is sent back at once, or where that fails by the next one."""
        with suppress(Unavailable):
            self.new.step("t", self.stored, self.stored, self.ends)
        with suppress(Unavailable):
            self.may_fail()
            waiting = self.new.to_send_back
            self.given |= {n: self.stored[n].offset for n in waiting}
            self.paused -= waiting
            self.new.sent_back(waiting)


@given(st.integers(0, 2**32))
def test_whatever_fails_what_was_cut_comes_again_before_more_is_passed(seed: int) -> None:
    client = Client(Random(seed))
    for _ in range(40):
        client.chance.choice((client.produce, client.poll, client.check))()
    client.fails = False
    for _ in range(60):
        client.check()
        client.poll()
    assert {n: position.offset for n, position in client.stored.items()} == client.ends


def test_the_stopped_partition_that_a_new_one_waits_for_is_named() -> None:
    view = cast("TopicView", SimpleNamespace(topic="orders", look=lambda _: TopicSnapshot("t", {0: 3, 1: 1, 4: 9})))
    new = Growth(view, SimpleNamespace(open=lambda *_: False), SECONDS)
    stored = {
        0: Position(2, stop=Stop("retention", "passed")),
        1: Position(1, stop=Stop("retention", "read so far")),
        4: Position(0, below=0, new_for=1.0),
    }
    new.place(stored)
    new.step("t", stored, stored, {0: 3, 1: 1, 4: 9})
    assert str(new.blocked(stored)) == "orders/4, which is new, waits for orders/0, which is stopped: passed"
    assert new.blocked({**stored, 0: Position(2)}) is None
