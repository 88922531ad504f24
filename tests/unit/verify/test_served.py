"""Memory against PostgreSQL while both change: what continues changing, or goes away, is not a difference."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from orders.memory.shared import Memory, Put
from orders.timing import monotonic
from orders.verify import served
from orders.verify.findings import Findings


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory.create(tmp_path / "memory", 2**20)
    yield made
    made.close()


def put(memory: Memory, *puts: Put) -> None:
    assert memory.put(puts, monotonic()) == len(puts)


def reading(stored: dict[str, Put]) -> served.Read:
    def read(uids: Sequence[str]) -> Mapping[str, Put]:
        return {uid: stored[uid] for uid in uids if uid in stored}

    return read


def compared(memory: Memory, stored: dict[str, Put], wait: Callable[[float], None] = lambda _: None) -> dict[str, int]:
    """How many differences there are of each kind; `wait` is what happens between two looks."""
    findings = Findings(10)
    assert served.compare(memory, reading(stored), findings, lambda _: None, wait) == memory.stats().documents
    return dict(findings.differences)


def test_more_entries_than_are_read_at_once_are_all_compared(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "ENTRIES_AT_ONCE", 3)
    monkeypatch.setattr(served, "SUSPECTS_AT_ONCE", 4)
    puts = [Put(f"u{n}", 1, b"{}") for n in range(20)]
    put(memory, *puts)
    stored = {each.order_uid: each for each in puts}
    assert compared(memory, stored) == {}
    assert compared(memory, {}) == {"memory unknown": 20}
    assert compared(memory, {uid: each._replace(document=b"") for uid, each in stored.items()}) == {
        "memory content": 20
    }


def test_what_postgresql_shows_a_little_later_is_no_difference(memory: Memory) -> None:
    put(memory, Put("a", 2, b"new"))
    stored = {"a": Put("a", 1, b"old")}

    def catch_up(_: float) -> None:
        stored["a"] = Put("a", 2, b"new")

    assert compared(memory, stored, catch_up) == {}
    stored["a"] = Put("a", 1, b"old")
    assert compared(memory, stored) == {"memory version": 1}


def test_an_entry_that_goes_away_is_no_difference(memory: Memory) -> None:
    put(memory, Put("a", 2, b"new"))
    findings = Findings(10)
    served.compare(memory, reading({}), findings, lambda _: None, lambda _: memory.empty())
    assert not findings.differences


def test_an_entry_that_is_replaced_while_postgresql_is_read_is_looked_at_again(memory: Memory) -> None:
    """PostgreSQL was read before the commit, memory after it."""
    put(memory, Put("a", 1, b"old"))

    def read(uids: Sequence[str]) -> Mapping[str, Put]:
        if memory.look(["a"])["a"].version == 1:
            put(memory, Put("a", 2, b"new"))
        return {uid: Put("a", 3, b"newer") for uid in uids}

    assert served.false_ones([Put("a", 1, b"old")], memory, read) == {}
    assert served.false_ones([Put("a", 2, b"new")], memory, read) == {"a": "memory version"}
