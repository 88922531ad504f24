"""A temporary LMDB file for what does not fit into memory: one small entry for each order, dead letter and refusal.

Like `memory` it knows LMDB. It lies in the directory for temporary files, `TMPDIR`, and goes with the
process: it is deleted as soon as it is open.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from orders.errors import StartError

if TYPE_CHECKING:
    from lmdb import _Database

TREES = ("rows", "histories", "dead_letters", "refused", "replays")
SAVED_AT_ONCE = 5_000
"""Changes in one transaction, which holds a page of 4 KiB for each until its end."""
LEAST_ROOM = 2**20
LARGER = "name a larger directory in TMPDIR"


class Scratch:
    """Trees of bytes by bytes. One thread alone uses it."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self._trees = {name: env.open_db(name.encode()) for name in TREES}
        self._txn = env.begin(write=True)
        self._changes = 0

    def tree(self, name: str) -> "Tree":
        return Tree(self, self._trees[name])

    def get(self, tree: "_Database", key: bytes) -> bytes | None:
        return self._txn.get(key, None, tree)

    def put(self, tree: "_Database", key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=tree)
        self._count()

    def pop(self, tree: "_Database", key: bytes) -> bytes | None:
        value: bytes | None = self._txn.pop(key, tree)
        if value is not None:
            self._count()
        return value

    def entries(self, tree: "_Database") -> Iterator[tuple[bytes, bytes]]:
        """All entries by ascending keys, as they are now."""
        self._save()
        with self._env.begin() as txn:
            yield from txn.cursor(tree)

    def _count(self) -> None:
        self._changes += 1
        if self._changes >= SAVED_AT_ONCE:
            self._save()

    def _save(self) -> None:
        self._txn.commit()
        self._txn = self._env.begin(write=True)
        self._changes = 0

    def close(self) -> None:
        self._txn.abort()
        self._env.close()


class Tree:
    """One tree of a scratch file."""

    def __init__(self, scratch: Scratch, tree: "_Database") -> None:
        self._scratch = scratch
        self._tree = tree

    def get(self, key: bytes) -> bytes | None:
        return self._scratch.get(self._tree, key)

    def put(self, key: bytes, value: bytes) -> None:
        self._scratch.put(self._tree, key, value)

    def pop(self, key: bytes) -> bytes | None:
        """Takes an entry away; None where there is none."""
        return self._scratch.pop(self._tree, key)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self._scratch.entries(self._tree)


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A scratch file that may grow as large as there is room. Raises `StartError` where there is none."""
    try:
        opened = Scratch(_environment())
        try:
            yield opened
        finally:
            opened.close()
    except lmdb.Error as error:
        raise StartError(f"there is no room for what is compared ({error}): {LARGER}") from error


def _environment() -> lmdb.Environment:
    try:
        with tempfile.TemporaryDirectory(prefix="orders-verify-") as name:
            room = max(shutil.disk_usage(name).free, LEAST_ROOM)
            path = str(Path(name) / "scratch")
            return lmdb.open(path, map_size=room, subdir=False, max_dbs=len(TREES), sync=False, metasync=False)
    except OSError as error:
        raise StartError(f"there is no directory for temporary files ({error.strerror or error}): {LARGER}") from error
