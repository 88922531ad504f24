"""The network to PostgreSQL and to Kafka is slow, thin, cut, reset or silent: every wait ends, and all heals."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders import deadlines
from orders.api import reader
from orders.api.reader import OrderReader
from orders.errors import Unavailable
from orders.memory.shared import Memory
from orders.postgres.connection import connect, translated
from orders.postgres.migrations import migrate
from orders.timing import monotonic
from support.proxy import Network


@pytest.fixture
def network(postgres_dsn: str) -> Iterator[Network]:
    """The way to PostgreSQL."""
    place = conninfo_to_dict(postgres_dsn)
    with Network(str(place["host"]), int(str(place["port"]))) as made:
        yield made


@pytest.fixture
def through(postgres_dsn: str, network: Network) -> str:
    """The URL of the test's database, through the network."""
    return make_conninfo(postgres_dsn, port=network.port, sslmode="disable")


def test_an_answer_of_postgresql_that_does_not_come_is_not_waited_for(
    through: str, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer's kernel takes the bytes, so that no time-out of TCP sees it; a rollback is not waited for either."""
    monkeypatch.setattr(deadlines, "SILENT", 0.2)
    connection = connect(through, "test", statement_seconds=0.3)

    def ask() -> None:
        with translated(), connection.transaction():
            network.be("silent")
            connection.execute("select 1")

    began = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        ask()
    assert 0.4 < time.monotonic() - began < 2
    assert connection.closed


@pytest.mark.system
def test_a_pool_of_connections_that_went_silent_is_recreated(
    through: str, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the network never passes a byte of them again: they would all be taken, for ever."""
    monkeypatch.setattr(reader, "STATEMENT_SECONDS", 1)
    monkeypatch.setattr(deadlines, "SILENT", 0.2)
    monkeypatch.setattr(reader, "ANSWER_SECONDS", 0.2)
    migrate(through)
    memory = Memory.create(tmp_path / "memory", 2**20)

    async def ask(asked: OrderReader) -> str:
        try:
            await asked.positions()
        except Unavailable:
            return "away"
        return "there"

    async def scenario() -> None:
        asked = OrderReader(through, "orders", 2, memory, monotonic)
        await asked.open()
        while await ask(asked) == "away":
            pass
        network.be("silent")
        assert {await ask(asked) for _ in range(4)} == {"away"}
        network.forget()
        network.be("open")
        async with asyncio.timeout(10):
            while await ask(asked) == "away":
                pass
        await asked.close()

    asyncio.run(scenario())
    memory.close()
