"""Notices: what one process writes another reads, of this release and of others."""

import json
from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import Unavailable
from orders.memory.notices import (
    GONE_SECONDS,
    Board,
    ChangedOrders,
    IngestNotice,
    KeeperNotice,
    KeeperState,
    changed_orders,
    encode,
    read_board,
)
from orders.metrics.table import IngestState
from orders.order import UID_PATTERN
from orders.record import StopKind

NOW = 100.0
COUNTS = st.integers(0, 2**31 - 1)
TIMES = st.floats(NOW - GONE_SECONDS, NOW + 1)
TEXTS = st.text(st.characters(codec="utf-8"))
INGESTS = st.builds(
    IngestNotice,
    st.lists(COUNTS).map(tuple),
    st.sampled_from(get_args(IngestState)),
    TIMES,
    TEXTS,
    st.dictionaries(COUNTS, st.sampled_from(get_args(StopKind))),
)
KEEPERS = st.builds(KeeperNotice, st.sampled_from(get_args(KeeperState)), TIMES, COUNTS, COUNTS, TEXTS)
CHANGES = st.tuples(st.from_regex(UID_PATTERN), st.integers(0, 2**63 - 1))


def read(board: Mapping[str, bytes]) -> Board:
    return read_board(lambda: board, lambda: NOW)


@given(st.lists(INGESTS, max_size=3), KEEPERS)
def test_what_was_posted_is_read(ingests: list[IngestNotice], keeper: KeeperNotice) -> None:
    board = {f"ingest:{number}": encode(notice) for number, notice in enumerate(ingests)} | {"keeper": encode(keeper)}
    assert read(board) == Board(ingests, keeper)


@given(TEXTS, st.lists(CHANGES, max_size=3))
def test_changed_orders_arrive_as_they_were_sent(memory: str, changes: list[tuple[str, int]]) -> None:
    sent = ChangedOrders(memory, changes)
    assert changed_orders(encode(sent).decode()) == sent


@given(st.binary())
def test_an_unreadable_notice_counts_for_nothing(text: bytes) -> None:
    """Whatever it is, the notices of others are read."""
    ingest = IngestNotice((0,), "running", NOW)
    assert read({"ingest:0": text, "ingest:1": encode(ingest), "keeper": text}) == Board([ingest])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"at": NOW},
        {"state": "running", "partitions": [0]},
        {"state": "a later state", "partitions": [0], "at": NOW},
        {"state": "stopped", "partitions": [0], "at": NOW, "stopped": {"0": "a later kind"}},
    ],
)
def test_an_ingest_of_which_nobody_knows_how_it_is_counts_as_gone(fields: Mapping[str, object]) -> None:
    """A field without a default is missing, or has a value that is not known."""
    assert read({"ingest:0": json.dumps(fields).encode()}) == Board([])


def test_an_earlier_release_leaves_fields_out_and_a_later_one_adds_some() -> None:
    ingest = {"partitions": [0, 1], "state": "paused", "at": NOW}
    keeper = {"state": "waiting", "at": NOW}
    for added in ({}, {"since": 5, "more": {"a": [1]}}):
        board = {"ingest:0": json.dumps(ingest | added).encode(), "keeper": json.dumps(keeper | added).encode()}
        assert read(board) == Board([IngestNotice((0, 1), "paused", NOW)], KeeperNotice("waiting", NOW))
        changed = json.dumps({"memory": "m", "changes": [["a", 1]], **added})
        assert changed_orders(changed) == ChangedOrders("m", [("a", 1)])


def test_notices_as_they_were_written_before_there_were_structs_are_read() -> None:
    """As `json.dumps` wrote them, with all fields."""
    ingest = '{"partitions": [0], "state": "stopped", "reason": "\\u2026", "stopped": {"0": "went_back"}, "at": 99.5}'
    keeper = '{"state": "ready", "restored": 3, "total": 3, "reason": "", "at": 99.5}'
    assert read({"ingest:0": ingest.encode(), "keeper": keeper.encode()}) == Board(
        [IngestNotice((0,), "stopped", 99.5, "…", {0: "went_back"})], KeeperNotice("ready", 99.5, 3, 3)
    )


def test_who_has_not_posted_for_too_long_is_gone() -> None:
    latest, old = NOW - GONE_SECONDS, NOW - GONE_SECONDS - 0.1
    here, gone = IngestNotice((0,), "running", latest), IngestNotice((1,), "running", old)
    board = {"ingest:0": encode(here), "ingest:1": encode(gone), "keeper": encode(KeeperNotice("ready", old))}
    assert read(board) == Board([here])


def test_names_of_nobody_are_passed_over() -> None:
    """As of a process that only a later release has."""
    assert read({"copier": encode(KeeperNotice("ready", NOW))}) == Board([])


def test_a_memory_that_cannot_be_read_has_an_empty_board() -> None:
    def fails() -> Mapping[str, bytes]:
        raise Unavailable("memory")

    assert read_board(fails, lambda: NOW) == Board()
