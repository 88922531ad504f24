"""Dead letters in PostgreSQL: which there are, their bytes, and what was done about them.

Functions raise our errors. Rows are only read and added: the state of a dead letter is what its actions say.
"""

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from orders.errors import UsageError
from orders.os_users import name_of
from orders.postgres.connection import Connection, queries, translated

DeadLetterState = Literal["open", "replayed", "discarded"]
Deed = Literal["edit", "replay", "discard", "export"]


class Wanted(NamedTuple):
    """Which dead letters are meant: those to which all applies that is given.

    `reason` is a part of theirs, whatever its case; `since` and `until` (not included) bound when they were refused.
    """

    ids: tuple[int, ...] | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    topic: str | None = None
    partition: int | None = None
    state: DeadLetterState | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """As the statements take it."""
        return self._asdict() | {"ids": None if self.ids is None else list(self.ids)}


class Listed(NamedTuple):
    """A dead letter without its content. `time` is its record's, `at` when it was refused."""

    id: int
    topic: str
    partition: int
    offset: int
    time: datetime | None
    at: datetime
    key: bytes | None
    reason: str
    path: str
    state: DeadLetterState
    edited: bool


class StoredDeadLetter(NamedTuple):
    """A dead letter with the bytes that came, and those of its last edit."""

    id: int
    topic: str
    topic_id: str
    partition: int
    offset: int
    time: datetime | None
    at: datetime
    reason: str
    path: str
    state: DeadLetterState
    note: str | None
    key: bytes | None
    value: bytes | None
    header_names: Sequence[str]
    header_values: Sequence[bytes | None]
    edited: bool
    edit: bytes | None

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """Names and values in their order."""
        return list(zip(self.header_names, self.header_values, strict=True))

    @property
    def current(self) -> bytes | None:
        """What a replay sends: the edit, or what came."""
        return self.edit if self.edited else self.value


class Action(NamedTuple):
    """What was done about a dead letter; `by_user` is None where the service did it.

    The place is that of the record that a replay made.
    """

    action: str
    at: datetime
    by_user: str | None
    by_host: str | None
    state: DeadLetterState | None
    forced: bool | None
    outcome: str | None
    reason: str | None
    path: str | None
    topic_id: str | None
    partition: int | None
    offset: int | None


class NewAction(NamedTuple):
    """An action that is to be kept."""

    id: int
    deed: Deed
    state: DeadLetterState | None = None
    attempt: str | None = None
    forced: bool | None = None
    value: bytes | None = None


class ReplayOutcome(NamedTuple):
    """What became of a replay, and where its record lies."""

    outcome: str
    reason: str
    path: str
    partition: int
    offset: int


def newest(connection: Connection, wanted: Wanted, limit: int) -> list[Listed]:
    """Newest first, so many at most."""
    with translated():
        rows = connection.execute(queries["newest_dead_letters"], wanted.parameters | {"limit": limit}).fetchall()
    return list(map(Listed._make, rows))


def chosen(connection: Connection, wanted: Wanted) -> tuple[list[int], int]:
    """The ids of all that are meant, oldest first, and how many their state alone leaves out."""
    with translated():
        ((ids, others),) = connection.execute(queries["chosen_dead_letters"], wanted.parameters).fetchall()
    for missing in sorted(set(wanted.ids or ()) - set(ids)):
        raise UsageError(f"there is no dead letter {missing}: `orders dead-letters list` shows which there are")
    return ids, others


def dead_letter(connection: Connection, number: int) -> StoredDeadLetter:
    """One with its bytes. Raises `UsageError` where there is none."""
    with translated():
        row = connection.execute(queries["dead_letter"], {"id": number}).fetchone()
    if row is None:
        raise UsageError(f"there is no dead letter {number}: `orders dead-letters list` shows which there are")
    return StoredDeadLetter._make(row)


def actions(connection: Connection, number: int) -> list[Action]:
    """What was done about one, in order."""
    with translated():
        rows = connection.execute(queries["actions_of_dead_letter"], {"id": number}).fetchall()
    return list(map(Action._make, rows))


def keep(connection: Connection, done: Iterable[NewAction]) -> None:
    """Keeps what this process's user does: all of it or nothing."""
    user, host = name_of(os.getuid()), socket.gethostname()
    rows = [(each.id, each.deed, each.state, user, host, each.attempt, each.forced, each.value) for each in done]
    with translated(), connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(queries["add_dead_letter_action"], rows)


def outcomes(connection: Connection, attempts: Sequence[str]) -> dict[str, ReplayOutcome]:
    """What became of replays, of those where something did."""
    with translated():
        rows = connection.execute(queries["outcomes_of_attempts"], {"attempts": list(attempts)}).fetchall()
    return {attempt: ReplayOutcome(*outcome) for attempt, *outcome in rows}
