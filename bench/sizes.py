"""How much of everything: the full run of about 15 minutes, and the quick one of about 3."""

from collections.abc import Mapping

from msgspec import Struct


class Sizes(Struct, frozen=True):
    """Numbers of orders, seconds, requests a second, and rounds by contest."""

    name: str
    pace: float
    """How long a round takes, as a part of one at full size."""
    rounds: Mapping[str, int]
    backlog: int
    """Orders in the topic before anything reads; the other contestants of ingest write the same number."""
    inserted: int
    """Orders that are written one by one: fewer, the rates are compared."""
    restored: int
    in_memory: int
    """Orders in memory when GETs are measured."""
    asked: int
    """How many of them are asked for, in turn."""
    get_seconds: float
    latency_seconds: float
    single_seconds: float
    """How long single orders are sent, one by one, at `single_rate` a second."""
    single_rate: float
    turned: int
    """Orders that fill the memory whose size is measured."""
    searched: int
    """Orders in PostgreSQL when pages are measured; about 20,000 of them have one customer and phone number."""
    deep_page: int
    """Which page of a list is the deep one."""
    search_seconds: float
    """How long each kind of page is asked for."""
    lookup_seconds: float
    rows_before: int
    """Orders in the table before what its indexes cost is measured."""
    added: int
    """Orders that are written into it each time, twice."""


FULL = Sizes(
    name="full",
    pace=1.0,
    rounds={
        "ingest": 5,
        "get": 7,
        "restore": 7,
        "latency": 3,
        "single": 3,
        "memory": 1,
        "search": 3,
        "lookup": 5,
        "beside": 5,
        "indexes": 8,
    },
    backlog=300_000,
    inserted=10_000,
    restored=200_000,
    in_memory=100_000,
    asked=10_000,
    get_seconds=4.0,
    latency_seconds=6.0,
    single_seconds=8.0,
    single_rate=100.0,
    turned=200_000,
    searched=1_000_000,
    deep_page=100,
    search_seconds=1.0,
    lookup_seconds=2.0,
    rows_before=10_000_000,
    added=100_000,
)
QUICK = Sizes(
    name="quick",
    pace=0.6,
    rounds={
        "ingest": 2,
        "get": 3,
        "restore": 3,
        "latency": 1,
        "single": 1,
        "memory": 1,
        "search": 1,
        "lookup": 2,
        "beside": 1,
        "indexes": 4,
    },
    backlog=80_000,
    inserted=3_000,
    restored=60_000,
    in_memory=30_000,
    asked=10_000,
    get_seconds=2.0,
    latency_seconds=3.0,
    single_seconds=4.0,
    single_rate=100.0,
    turned=100_000,
    searched=100_000,
    deep_page=20,
    search_seconds=0.2,
    lookup_seconds=0.5,
    rows_before=100_000,
    added=10_000,
)
