"""Both lanes over real sockets and a real memory: the same bytes for the same requests."""

from collections.abc import Iterator

import pytest

from orders.memory.shared import Memory, Put
from orders.timing import monotonic
from support.wire import CLOSE, DOCUMENT, HIT, MEMORY, REQUESTS, TAG, UID, Address, exchange, plain_app, serving


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    made = Memory.create(tmp_path_factory.mktemp("lanes") / "memory" / "file", 2**20)
    puts = [Put(uid.decode(), 1, document) for uid, document in MEMORY.items()]
    assert made.put(puts, monotonic()) == len(puts)
    yield made
    made.close()


@pytest.fixture(scope="module")
def lanes(memory: Memory) -> Iterator[tuple[Address, Address]]:
    app = plain_app(find=memory.get)
    with serving(app, memory.get) as fast, serving(plain_app(find=memory.get), None) as slow:
        yield fast, slow


@pytest.fixture(autouse=True)
def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request id that the service makes is another each time; here it is the same."""
    monkeypatch.setattr("orders.http.instrumented.new_id", lambda: b"made")


@pytest.mark.parametrize("name", REQUESTS)
def test_lanes_answer_alike(lanes: tuple[Address, Address], name: str) -> None:
    """Whatever is sent, both servers send back the same, and close at the same point."""
    fast, slow = (exchange(address, REQUESTS[name] + CLOSE) for address in lanes)
    assert fast == slow
    assert fast.startswith(b"HTTP/1.1 ")


def test_a_hit(lanes: tuple[Address, Address]) -> None:
    """Status line, date, what a cache needs, type, length and the stored bytes; nothing else."""
    cache = b"cache-control: private, no-cache\r\nvary: accept-encoding\r\netag: %b\r\n" % TAG
    head = b"HTTP/1.1 200 OK\r\ndate: -\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    head %= cache, len(DOCUMENT)
    got = exchange(lanes[0], HIT + CLOSE)
    assert got.startswith(head + DOCUMENT + b"HTTP/1.1 200 OK\r\n")
    assert UID in got
