"""Sends dead letters to the topic again, and waits for what becomes of them as a POST does."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from orders import decoder
from orders.dead_letters import stored
from orders.dead_letters.stored import NewAction, StoredDeadLetter
from orders.errors import TooLarge
from orders.kafka.producer import MAX_MESSAGE_BYTES, Keyed, OrderProducer, fits, hand_over
from orders.order import Content
from orders.postgres.connection import Connection
from orders.record import CONDITION_HEADER, REPLAY_HEADER, REPLY_HEADER, Replay
from orders.timing import Clock, monotonic

DEAD_LETTERS_AT_ONCE = 500
BYTES_AT_ONCE = 8 * 2**20
"""What is sent before its outcomes are waited for: it is held here and in the producer."""
LOOK_SECONDS = 0.05
EPOCH = datetime.fromtimestamp(0, UTC)
MILLISECOND = timedelta(milliseconds=1)

HeaderPair = tuple[str, bytes | None]


class Replayed(Struct, frozen=True):
    """What became of one dead letter."""

    id: Annotated[int, Meta(description="its number")]
    outcome: Annotated[
        str | None, Meta(description="its [outcome](operations.md#replay); null where it had none within `--deadline`")
    ]
    reason: Annotated[str, Meta(description="why it stays open; else empty")] = ""
    path: Annotated[str, Meta(description="JSONPath of the fault; empty where there is none")] = ""
    partition: Annotated[int | None, Meta(description="the partition of the record that was sent, if any")] = None
    offset: Annotated[int | None, Meta(description="the offset of that record")] = None


class Message(NamedTuple):
    """A dead letter on its way."""

    dead_letter: StoredDeadLetter
    attempt: str
    key: bytes | None
    value: bytes | None
    headers: list[HeaderPair]

    @property
    def record(self) -> Keyed:
        """As it is produced."""
        return self.key, self.value, self.headers

    @property
    def too_large(self) -> bool:
        """Whether no broker would take it."""
        return not fits(self.key, self.value, self.headers)


class Replays:
    """Replays dead letters through one producer; `deadline` is how long, in seconds, outcomes are waited for."""

    def __init__(
        self,
        connection: Connection,
        producer: OrderProducer,
        *,
        forced: bool,
        deadline: float,
        clock: Clock = monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._producer = producer
        self._forced = forced
        self._deadline = deadline
        self._clock = clock
        self._sleep = sleep

    def run(self, ids: Sequence[int]) -> Iterator[Replayed]:
        """One after the other, oldest first. Where outcomes do not come, nothing more is sent: the rest is missing."""
        for some in self._batches(ids):
            results = self._batch(some)
            yield from results
            if any(each.outcome is None for each in results):
                return

    def _batches(self, ids: Sequence[int]) -> Iterator[list[Message]]:
        batch: list[Message] = []
        size = 0
        for number in ids:
            message = message_of(stored.dead_letter(self._connection, number), forced=self._forced)
            batch.append(message)
            size += len(message.value or b"")
            if len(batch) >= DEAD_LETTERS_AT_ONCE or size >= BYTES_AT_ONCE:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _batch(self, messages: list[Message]) -> list[Replayed]:
        fit = [each for each in messages if not each.too_large]
        stored.keep(
            self._connection, [NewAction(m.dead_letter.id, "replay", None, m.attempt, self._forced) for m in fit]
        )
        refused = self._send(fit)
        outcomes = self._wait([each.attempt for each in fit if each.attempt not in refused])
        return [result_of(each, outcomes.get(each.attempt), refused.get(each.attempt, "")) for each in messages]

    def _send(self, messages: list[Message]) -> dict[str, str]:
        """Why brokers refuse some for their size, by attempt: each was tried alone. Raises any other failure."""
        failures = hand_over(self._producer, [each.record for each in messages])
        refused: dict[str, str] = {}
        for number, failure in failures.items():
            if not isinstance(failure, TooLarge):
                raise failure
            for last in hand_over(self._producer, [messages[number].record]).values():
                if not isinstance(last, TooLarge):
                    raise last
                refused[messages[number].attempt] = str(last)
        return refused

    def _wait(self, attempts: list[str]) -> dict[str, stored.ReplayOutcome]:
        until = self._clock() + self._deadline
        outcomes = stored.outcomes(self._connection, attempts)
        while len(outcomes) < len(attempts) and self._clock() < until:
            self._sleep(LOOK_SECONDS)
            outcomes = stored.outcomes(self._connection, attempts)
        return outcomes


def message_of(dead_letter: StoredDeadLetter, *, forced: bool) -> Message:
    """What is sent: key, value and headers as they came, the edit and its order's uid in place of value and key.

    Our own headers are left out: nobody waits for the first record's outcome, and a forced replay has no condition.
    """
    attempt = secrets.token_hex(16)
    left_out = {REPLAY_HEADER, REPLY_HEADER} | ({CONDITION_HEADER} if forced else set())
    headers = [(name, value) for name, value in dead_letter.headers if name not in left_out]
    headers.append((REPLAY_HEADER, msgspec.json.encode(replay_of(dead_letter, attempt, forced=forced))))
    return Message(dead_letter, attempt, key_of(dead_letter), dead_letter.current, headers)


def replay_of(dead_letter: StoredDeadLetter, attempt: str, *, forced: bool) -> Replay:
    return Replay(
        topic_id=dead_letter.topic_id,
        partition=dead_letter.partition,
        offset=dead_letter.offset,
        time=None if dead_letter.time is None else (dead_letter.time - EPOCH) // MILLISECOND,
        attempt=attempt,
        forced=forced,
    )


def key_of(dead_letter: StoredDeadLetter) -> bytes | None:
    """The uid of an edited order, so that its record is in the partition of its others; else the key that came."""
    if dead_letter.edited and isinstance(content := decoder.decode(dead_letter.edit or b""), Content):
        return content.row.order_uid.encode()
    return dead_letter.key


def result_of(message: Message, outcomes: stored.ReplayOutcome | None, refused: str) -> Replayed:
    """What became of a message; `refused` is why brokers did not take it, if so."""
    if message.too_large:
        refused = f"larger than {MAX_MESSAGE_BYTES} bytes, which Kafka does not take"
    if refused:
        return Replayed(message.dead_letter.id, "unsent", refused)
    return Replayed(message.dead_letter.id, None) if outcomes is None else Replayed(message.dead_letter.id, *outcomes)
