"""Shared memory: the served bytes of the newest orders in one LMDB file, for all processes of a machine.

Readers never wait: `get` is one read transaction. Every change is one write transaction, and all that decides about
it is looked at inside, the time too: a process may have been stopped on its way there. The rule is in `coherence`, the
layout in `layout`. PostgreSQL is the truth; so a put that fails is dropped, and what cannot be kept true is emptied.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import lmdb

from orders.errors import StartError, Unavailable
from orders.memory import coherence
from orders.memory.layout import Change, MemoryState, Put, Trees, Work, document_of, size
from orders.timing import Clock, monotonic

__all__ = ["Change", "Memory", "Put", "Stats"]

LEAST_MAP = 16 * 2**20
"""Smallest map in bytes: room for fences, minimum versions and the board beside a small budget."""
MAX_READERS = 1024
MOST_RESTRICTIONS = 600_000
"""Most orders with fences or minimum versions; with more, memory is emptied and restored. An expired restriction stays
for up to a round of sweeps: so many allow 8,300 changes a second."""
RESTRICTIONS_SHARE = 4
"""Restrictions take at most this part of the map."""
LOOKED_AT_ONCE = 25_000
"""Restrictions that one sweep looks at, for it runs on the thread that hears notices: about 15 ms."""
SWEPT_AT_ONCE = 1000
"""Expired restrictions dropped in one write transaction: nobody waits long for the writer lock."""
FAILED = (lmdb.Error, OSError)

T = TypeVar("T")


class Stats(NamedTuple):
    """Number of documents, number of orders with fences or minimum versions, bytes used and allowed."""

    documents: int
    restrictions: int
    used: int
    budget: int


class Memory:
    """One process' door to the shared memory. Any thread may call it; open it after the last fork.

    A `writer` names one transaction (64 bits, never used again): who removes a fence must not remove one that
    stands for an earlier transaction of which nobody knows whether it was committed.
    """

    def __init__(self, env: lmdb.Environment, trees: Trees, clock: Clock) -> None:
        self._env = env
        self._trees = trees
        self._clock = clock
        self._sweep_from = b""
        with env.begin() as txn:
            self.identity = trees.identity(txn)
        # What `get` needs, one attribute away.
        self._begin = env.begin
        self._numbers = trees.numbers
        self._documents = trees.documents

    @classmethod
    def create(cls, path: Path, budget: int, clock: Clock = monotonic) -> Self:
        """Makes the file, readable for its owner alone, with `budget` bytes for documents. Raises `StartError`."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            env = _environment(path, max(2 * budget, LEAST_MAP))
            return cls(env, Trees.create(env, MemoryState(budget, emptied_at=clock())), clock)
        except FAILED as error:
            raise StartError(f"the shared memory {path} cannot be made: {error}") from error

    @classmethod
    def open(cls, path: Path, clock: Clock = monotonic) -> Self:
        """Opens what `create` made, once per process. Raises `StartError`."""
        try:
            path.stat()  # LMDB would make a file that is not there
            env = _environment(path, 0)
            return cls(env, Trees.open(env), clock)
        except FAILED as error:
            raise StartError(f"the shared memory {path} cannot be opened: {error}") from error

    def get(self, order_uid: bytes) -> bytes | None:
        """The served bytes of an order; None: ask PostgreSQL. Never waits for a writer."""
        try:
            txn = self._begin()
            number = txn.get(order_uid, None, self._numbers)
            entry = None if number is None else txn.get(number, None, self._documents)
            txn.abort()
        except lmdb.Error:
            return None
        return None if entry is None else document_of(entry, order_uid)

    def look(self, uids: Sequence[str]) -> dict[str, Put]:
        """What memory has of these orders, with its version, at one moment. Raises `Unavailable`."""
        with _unavailable(), self._env.begin() as txn:
            found = [self._trees.entry(txn, order_uid) for order_uid in uids]
        return {put.order_uid: put for put in found if put is not None}

    def entries(self, most: int) -> Iterator[list[Put]]:
        """All that memory has, oldest first, `most` at a time. Raises `Unavailable`.

        What is put meanwhile is left out. Each part is a read transaction of its own: a long one would keep all pages
        that are dropped meanwhile.
        """
        with _unavailable():
            first, end = 0, self._state().next_number
        while part := self._part(first, end, most):
            yield [put for _, put in part]
            first = part[-1][0] + 1

    def _part(self, first: int, end: int, most: int) -> list[tuple[int, Put]]:
        with _unavailable(), self._env.begin() as txn:
            return [each for each in islice(self._trees.entries(txn, first), most) if each[0] < end]

    # -- puts --

    def put(self, puts: Sequence[Put], as_of: float) -> int:
        """Puts what was read or committed after `as_of` by the rule; returns how many. What fails is dropped."""
        try:
            return self._write(lambda work: work.put(puts, as_of, coherence.may_put))
        except FAILED:
            return 0

    # -- a transaction's way --

    def fence(self, uids: Sequence[str], writer: int) -> None:
        """Before COMMIT: drops the entries of known orders and sets the writer's fences. Raises `Unavailable`."""
        self._write_firmly(lambda work: work.fence(uids, writer))

    def settle(self, changes: Sequence[Change], writer: int, as_of: float) -> None:
        """After COMMIT: removes the fences, raises the minimum versions, puts the new bytes by the rule.

        What fails is left: the fences keep stale bytes out for as long as any can come.
        """

        def settle(work: Work) -> None:
            work.settle(changes, writer)

        def settle_and_put(work: Work) -> None:
            work.settle(changes, writer)
            work.put((Put(u, v, d) for u, v, d in changes if d is not None), as_of, coherence.may_put)

        try:
            self._write(settle_and_put)
        except FAILED:
            with suppress(*FAILED):
                self._write(settle)

    def unfence(self, uids: Sequence[str], writer: int) -> None:
        """After a rollback that is certain; what fails is left to expire."""
        with suppress(*FAILED):
            self._write(lambda work: work.unfence(uids, writer))

    # -- the keeper's --

    def raise_minimum_versions(self, versions: Sequence[tuple[str, int]]) -> None:
        """What other machines changed, as uid and version; older entries are dropped. Raises `Unavailable`."""
        self._write_firmly(lambda work: work.raise_minimum_versions(versions))

    def empty(self) -> None:
        """Drops all documents; reads that began before are no longer put. Raises `Unavailable`."""
        with _unavailable():
            self._write(Work.empty)

    def seal(self, since: float) -> bool:
        """Empties memory and refuses puts until a restore begins, unless one began after `since`; whether it did.

        For `run`, while nobody hears what other machines change. Raises `Unavailable`.
        """
        with _unavailable():
            return self._write(lambda work: work.seal(since))

    def begin_restore(self) -> float:
        """Empties and opens memory; fences and minimum versions do not expire from now on. Take the snapshot after.

        Returns the token of this restore.
        """
        with _unavailable():
            return self._write(Work.begin_restore)

    def restore(self, puts: Sequence[Put], token: float) -> bool:
        """Puts a part of the snapshot by the rule, however old; False: memory was emptied, begin again."""

        def restore(work: Work) -> bool:
            work.put(puts, token, coherence.may_restore)
            return work.is_same_restore(token)

        try:
            return self._write(restore)
        except FAILED:
            return True

    def end_restore(self, token: float) -> None:
        """The snapshot is put. Without effect if memory was emptied meanwhile. Raises `Unavailable`."""
        with _unavailable():
            self._write(lambda work: work.end_restore(token))

    def restore_wanted(self) -> bool:
        """Whether no restore has come to its end since memory was made or last emptied. Raises `Unavailable`."""
        with _unavailable():
            state = self._state()
        return state.restored_at != state.emptied_at

    def sweep(self) -> None:
        """Drops the expired ones of the next restrictions, round and round; empties memory if there are too many.

        Raises `Unavailable`.
        """
        with _unavailable():
            spent = iter(self._spent())
            while batch := list(islice(spent, SWEPT_AT_ONCE)):
                self._write(partial(Work.drop_spent, keys=batch))
            if self._is_crowded():
                self._write(Work.empty)

    def _spent(self) -> list[bytes]:
        """Keys of expired restrictions among the next, read without the writer lock; who drops them looks again."""
        with self._env.begin() as txn:
            at = self._trees.state(txn).view(self._clock())
            restrictions = list(islice(self._trees.restrictions_from(txn, self._sweep_from), LOOKED_AT_ONCE))
        self._sweep_from = restrictions[-1][0] + b"\0" if len(restrictions) == LOOKED_AT_ONCE else b""
        expired = ((key, packed) for key, packed in restrictions if not coherence.holds(coherence.time_of(packed), at))
        return [key for key, packed in expired if coherence.is_spent(coherence.unpack(packed), at)]

    def _is_crowded(self) -> bool:
        with self._env.begin() as txn:
            entries = txn.stat(self._trees.restrictions)["entries"]
            return (
                entries > MOST_RESTRICTIONS
                or size(txn, self._trees.restrictions) * RESTRICTIONS_SHARE > self._env.info()["map_size"]
            )

    def clear_dead_readers(self) -> int:
        """Gives back what killed readers hold; without it the map fills. Returns how many there were."""
        with _unavailable():
            return self._env.reader_check()

    # -- the notice board and the figures --

    def post(self, name: str, state: bytes) -> None:
        """Puts a notice of `notices`, encoded, in place of the last one of that name; may be dropped."""
        with suppress(*FAILED):
            self._write(lambda work: work.post(name, state))

    def board(self) -> dict[str, bytes]:
        """All notices by name, for `notices.read_board`. Raises `Unavailable`."""
        with _unavailable(), self._env.begin() as txn:
            return dict(self._trees.notices(txn))

    def stats(self) -> Stats:
        """Raises `Unavailable`."""
        with _unavailable(), self._env.begin() as txn:
            documents = txn.stat(self._documents)["entries"]
            restrictions = txn.stat(self._trees.restrictions)["entries"]
            return Stats(documents, restrictions, self._trees.used(txn), self._trees.state(txn).budget)

    def close(self) -> None:
        self._env.close()

    # -- transactions --

    def _state(self) -> MemoryState:
        with self._env.begin() as txn:
            return self._trees.state(txn)

    def _write(self, change: Callable[[Work], T]) -> T:
        with self._env.begin(write=True) as txn:
            return change(Work(txn, self._trees, self._clock()))

    def _write_firmly(self, change: Callable[[Work], None]) -> None:
        """For what must not be missed: a failure empties memory, and the change is tried once more."""
        try:
            self._write(change)
        except FAILED:
            with _unavailable():
                self._env.reader_check()  # a killed reader's pages may be all that is missing
                self._write(Work.empty)
                self._write(change)


def _environment(path: Path, map_size: int) -> lmdb.Environment:
    """`map_size` 0: what the file says."""
    return lmdb.open(
        str(path),
        map_size=map_size,
        subdir=False,
        mode=0o600,
        max_dbs=len(Trees._fields),
        max_readers=MAX_READERS,
        sync=False,
        metasync=False,
    )


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except FAILED as error:
        raise Unavailable(f"the shared memory fails: {error}") from error
