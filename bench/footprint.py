"""What shared memory takes: bytes of its file for each byte of the documents that it serves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.contest import Contest, Contestant, Field, Figure, Values
from bench.services import MEMORY_PER_DOCUMENT, Ground, memory_path
from bench.sizes import Sizes
from orders.errors import StartError
from orders.memory.shared import Memory, Put
from orders.timing import monotonic

BLOCK = 512
AT_ONCE = 2000
FILLED = "filled"
TURNED = "turned"


def run(folder: Path, documents: Sequence[Put]) -> Values:
    """Two thirds of the documents fill the budget; then half as many more come, and the oldest go."""
    fill = len(documents) * 2 // 3
    with memory_path(folder, len(documents) * MEMORY_PER_DOCUMENT) as path:
        shared = Memory.create(path, room_for(folder, documents[:fill]))
        try:
            put(shared, documents[:fill])
            filled = file_share(path, shared, documents)
            put(shared, documents[fill:])
            return {FILLED: filled, TURNED: file_share(path, shared, documents)}
        finally:
            shared.close()


def room_for(folder: Path, documents: Sequence[Put]) -> int:
    """The budget that these documents just fill: what a memory with more than enough room says that it uses."""
    budget = len(documents) * MEMORY_PER_DOCUMENT
    with memory_path(folder, budget) as path:
        shared = Memory.create(path, budget)
        try:
            put(shared, documents)
            return shared.stats().used
        finally:
            shared.close()


def put(shared: Memory, documents: Sequence[Put]) -> None:
    """In transactions of the size that ingest has."""
    for start in range(0, len(documents), AT_ONCE):
        part = documents[start : start + AT_ONCE]
        if shared.put(part, monotonic()) != len(part):
            raise StartError("memory did not take all documents")


def file_share(path: Path, shared: Memory, documents: Sequence[Put]) -> float:
    """Bytes of the file that take room, by the bytes of the documents that can be had from it."""
    served = [document for each in documents if (document := shared.get(each.order_uid.encode()))]
    if len(served) != shared.stats().documents:
        raise StartError("memory holds other documents than were put")
    return path.stat().st_blocks * BLOCK / sum(map(len, served))


@contextmanager
def enter(ground: Ground, sizes: Sizes) -> Iterator[Field]:
    """Documents alone are needed."""
    documents = ground.stock.documents(sizes.turned)
    yield Field([Contestant("orders, shared memory", partial(run, ground.folder, documents))])


CONTEST = Contest(
    name="memory",
    title="Bytes of memory's file for each byte of the documents in it",
    figures=(
        Figure(FILLED, "file bytes per document byte, filled", 2),
        Figure(TURNED, "file bytes per document byte, half of it turned over", 2),
    ),
    open=enter,
    seconds=12,
)
