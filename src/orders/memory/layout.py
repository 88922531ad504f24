"""The trees inside the shared memory's file, and one write transaction on them.

documents   number → version, uid, document; numbers only grow, so that every put appends
numbers     uid → number
restrictions uid → minimum version and fences (`coherence.Restriction`)
meta        the state of the whole, its identity, and the notice board

Appending makes full pages: 1.35 bytes of file for a byte of document, where one tree keyed by uid takes 1.88.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf, nextafter
from secrets import token_hex
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, Self

import lmdb

from orders.memory import coherence
from orders.memory.coherence import UNRESTRICTED, MemoryView, Restriction

if TYPE_CHECKING:
    from lmdb import _Database

    Txn = lmdb.Transaction[bytes]

STATE = b"state"
IDENTITY = b"identity"
BOARD = b"board:"

FEWEST_DOCUMENTS = 4
"""A document that leaves no room for so many of its size is not kept: it would drive out too much."""

WEIGHINGS = 64
"""Pages are counted after each such part of the budget, and at the end: for every document it took a third of a put."""

Rule = Callable[[int, float, int, Restriction, MemoryView], bool]
"""`coherence.may_put` or `coherence.may_restore`."""

_NUMBER = Struct(">Q")
_HEAD = Struct(">QB")
HEAD_BYTES = _HEAD.size
_STATE = Struct(">QQdd??")


class Put(NamedTuple):
    """An order's version and the whole served body, `{"order":{…}}`."""

    order_uid: str
    version: int
    document: bytes


class Change(NamedTuple):
    """What a transaction made of a known order; no document: deleted."""

    order_uid: str
    version: int
    document: bytes | None


class MemoryState(NamedTuple):
    """What holds for memory as a whole.

    `restored_at` is the `emptied_at` after which a restore has come to its end. `sealed`: nothing is put before one
    begins.
    """

    budget: int
    next_number: int = 1
    emptied_at: float = 0.0
    restored_at: float = -inf
    restoring: bool = False
    sealed: bool = False

    def view(self, now: float) -> MemoryView:
        return MemoryView(now, self.emptied_at, self.restoring, self.sealed)

    def is_restored_since(self, time: float) -> bool:
        """Whether the last emptying began a restore, and not before `time`."""
        return self.emptied_at >= time and (self.restoring or self.restored_at == self.emptied_at)


class Trees(NamedTuple):
    documents: "_Database"
    numbers: "_Database"
    restrictions: "_Database"
    meta: "_Database"

    @classmethod
    def open(cls, env: lmdb.Environment) -> Self:
        return cls(*(env.open_db(name.encode(), create=False) for name in cls._fields))

    @classmethod
    def create(cls, env: lmdb.Environment, state: MemoryState) -> Self:
        """In one transaction, so that nobody opens them half made."""
        with env.begin(write=True) as txn:
            trees = cls(*(env.open_db(name.encode(), txn) for name in cls._fields))
            trees.save(txn, state)
            txn.put(IDENTITY, token_hex(8).encode(), db=trees.meta)
        return trees

    def state(self, txn: "Txn") -> MemoryState:
        return MemoryState(*_STATE.unpack(txn.get(STATE, b"", self.meta)))

    def save(self, txn: "Txn", state: MemoryState) -> None:
        txn.put(STATE, _STATE.pack(*state), db=self.meta)

    def identity(self, txn: "Txn") -> str:
        """Names this memory among those of other machines."""
        return txn.get(IDENTITY, b"", self.meta).decode()

    def used(self, txn: "Txn") -> int:
        """Bytes of the pages that hold documents and their numbers."""
        return size(txn, self.documents) + size(txn, self.numbers)

    def fenced_restrictions(self, txn: "Txn") -> Iterator[tuple[bytes, Restriction]]:
        """The restrictions that have fences."""
        return (
            (key, coherence.unpack(packed))
            for key, packed in txn.cursor(self.restrictions)
            if coherence.has_fences(packed)
        )

    def restrictions_from(self, txn: "Txn", key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and packed restrictions, in the order of their keys from one on."""
        cursor = txn.cursor(self.restrictions)
        return iter(cursor) if (cursor.set_range(key) if key else cursor.first()) else iter(())

    def entry(self, txn: "Txn", order_uid: str) -> Put | None:
        """What memory has of an order."""
        number = txn.get(order_uid.encode(), None, self.numbers)
        entry = None if number is None else txn.get(number, None, self.documents)
        return None if entry is None else put_of(entry)

    def entries(self, txn: "Txn", first: int) -> Iterator[tuple[int, Put]]:
        """What memory has, by ascending numbers from `first` on."""
        cursor = txn.cursor(self.documents)
        if cursor.set_range(_NUMBER.pack(first)):
            for number, entry in cursor:
                yield _NUMBER.unpack(number)[0], put_of(entry)

    def notices(self, txn: "Txn") -> Iterator[tuple[str, bytes]]:
        cursor = txn.cursor(self.meta)
        cursor.set_range(BOARD)
        for key, notice in cursor:
            if not key.startswith(BOARD):
                return
            yield key.removeprefix(BOARD).decode(), notice


def size(txn: "Txn", tree: "_Database") -> int:
    """Bytes of the pages of a tree."""
    stat = txn.stat(tree)
    return stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])


def document_of(entry: bytes, order_uid: bytes) -> bytes | None:
    """The document in an entry of `documents`, if it is that order's."""
    length = len(order_uid)
    if entry[HEAD_BYTES - 1] != length or not entry.startswith(order_uid, HEAD_BYTES):
        return None
    return entry[HEAD_BYTES + length :]


def put_of(entry: bytes) -> Put:
    """What was put, from an entry of `documents`."""
    version, length = _HEAD.unpack_from(entry)
    end = HEAD_BYTES + length
    return Put(entry[HEAD_BYTES:end].decode(), version, entry[end:])


class Work:
    """One write transaction: while it is open nobody else changes memory, and `now` was read inside it."""

    def __init__(self, txn: "Txn", trees: Trees, now: float) -> None:
        self._txn = txn
        self._trees = trees
        self._state = trees.state(txn)
        self._next_number = self._state.next_number
        self._at = self._state.view(now)
        self._unweighed = 0
        self._any_restrictions = txn.stat(trees.restrictions)["entries"] > 0

    # -- documents --

    def put(self, puts: Iterable[Put], since: float, rule: Rule) -> int:
        """Puts what the rule allows, the newest last; returns how many."""
        count = sum(self._put(put, since, rule) for put in puts)
        if count:
            self._evict()
            self._save(self._state._replace(next_number=self._next_number))
        return count

    def _put(self, put: Put, since: float, rule: Rule) -> bool:
        key = put.order_uid.encode()
        there = self._version(key)
        if not rule(put.version, since, there, self._restriction(key), self._at):
            return False
        if there:
            self._drop(key)
        if len(put.document) * FEWEST_DOCUMENTS > self._state.budget:
            return False
        self._append(key, put)
        self._unweighed += len(put.document)
        if self._unweighed * WEIGHINGS > self._state.budget:
            self._evict()
        return True

    def _version(self, key: bytes) -> int:
        """The version in memory, 0 for none."""
        number = self._txn.get(key, None, self._trees.numbers)
        entry = number and self._txn.get(number, None, self._trees.documents)
        version: int = _HEAD.unpack_from(entry)[0] if entry else 0
        return version

    def _drop(self, key: bytes) -> None:
        number = self._txn.pop(key, self._trees.numbers)
        if number is not None:
            self._txn.delete(number, db=self._trees.documents)

    def _append(self, key: bytes, put: Put) -> None:
        number = _NUMBER.pack(self._next_number)
        entry = b"".join((_HEAD.pack(put.version, len(key)), key, put.document))
        if not self._txn.put(number, entry, append=True, db=self._trees.documents):
            raise lmdb.KeyExistsError("appending out of order stores nothing")
        self._txn.put(key, number, db=self._trees.numbers)
        self._next_number += 1

    def _evict(self) -> None:
        """Drops from the front until the budget is kept."""
        self._unweighed = 0
        cursor = self._txn.cursor(self._trees.documents)
        while self._trees.used(self._txn) > self._state.budget and cursor.first():
            entry = cursor.value()
            end = HEAD_BYTES + entry[HEAD_BYTES - 1]
            cursor.delete()
            self._txn.delete(entry[HEAD_BYTES:end], db=self._trees.numbers)

    # -- fences and minimum versions --

    def fence(self, uids: Iterable[str], writer: int) -> None:
        for key in map(str.encode, uids):
            self._drop(key)
            self._keep(key, coherence.fenced(self._restriction(key), writer, self._at))

    def unfence(self, uids: Iterable[str], writer: int) -> None:
        for key in map(str.encode, uids):
            self._keep(key, coherence.unfenced(self._restriction(key), writer))

    def raise_minimum_versions(self, versions: Iterable[tuple[str, int]]) -> None:
        for order_uid, version in versions:
            key = order_uid.encode()
            self._raise(key, self._restriction(key), version)

    def settle(self, changes: Iterable[Change], writer: int) -> None:
        for change in changes:
            key = change.order_uid.encode()
            self._raise(key, coherence.unfenced(self._restriction(key), writer), change.version)

    def _raise(self, key: bytes, restriction: Restriction, version: int) -> None:
        self._keep(key, coherence.raised(restriction, version, self._at))
        if self._version(key) < version:
            self._drop(key)

    def drop_spent(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if coherence.is_spent(self._restriction(key), self._at):
                self._txn.delete(key, db=self._trees.restrictions)

    def _restriction(self, key: bytes) -> Restriction:
        packed = self._txn.get(key, None, self._trees.restrictions) if self._any_restrictions else None
        return UNRESTRICTED if packed is None else coherence.unpack(packed)

    def _keep(self, key: bytes, restriction: Restriction) -> None:
        if restriction == UNRESTRICTED:
            self._txn.delete(key, db=self._trees.restrictions)
        else:
            self._txn.put(key, coherence.pack(restriction), db=self._trees.restrictions)
            self._any_restrictions = True

    # -- memory as a whole --

    def empty(self) -> None:
        """Drops all documents, and the restrictions of orders at which no ingest is at work."""
        working = [
            (k, f) for k, f in self._trees.fenced_restrictions(self._txn) if coherence.outlives_emptying(f, self._at)
        ]
        for tree in (self._trees.documents, self._trees.numbers, self._trees.restrictions):
            self._txn.drop(tree, delete=False)
        for key, restriction in working:
            self._keep(key, restriction)
        emptied_at = max(self._at.now, nextafter(self._state.emptied_at, inf))  # names this emptying: never twice
        self._save(self._state._replace(emptied_at=emptied_at, restoring=False))

    def begin_restore(self) -> float:
        self.empty()
        self._save(self._state._replace(restoring=True, sealed=False))
        return self._state.emptied_at

    def seal(self, since: float) -> bool:
        if self._state.sealed or self._state.is_restored_since(since):
            return False
        self.empty()
        self._save(self._state._replace(sealed=True))
        return True

    def end_restore(self, token: float) -> None:
        if coherence.is_same_restore(token, self._at):
            self._save(self._state._replace(restored_at=token, restoring=False))

    def post(self, name: str, state: bytes) -> None:
        self._txn.put(BOARD + name.encode(), state, db=self._trees.meta)

    def is_same_restore(self, token: float) -> bool:
        return coherence.is_same_restore(token, self._at)

    def _save(self, state: MemoryState) -> None:
        self._state = state
        self._trees.save(self._txn, state)
