"""What the commands of `orders dead-letters` do, and how they show it: never content, but where it is asked for."""

import base64
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from orders import decoder
from orders.dead_letters import stored
from orders.dead_letters.replay import Replayed, Replays
from orders.dead_letters.stored import Action, DeadLetterState, Listed, NewAction, StoredDeadLetter, Wanted
from orders.errors import StartError, UsageError
from orders.order import MAX_DOCUMENT_BYTES, MAX_NESTING, Uid
from orders.postgres.connection import Connection, connect
from orders.record import SETTLING, Invalid, Record, uid_of
from orders.settings import Settings
from orders.system import state

DELIVERY_SECONDS = 20.0
"""How long a replay's record may wait for its acknowledgement."""
KEPT_AT_ONCE = 200
"""Actions in one transaction."""


@contextmanager
def opened(settings: Settings) -> Iterator[Connection]:
    """A connection to the database of the dead letters. Raises `UsageError`, `Unavailable` or `Misconfigured`."""
    state.require(settings, "postgres_dsn")
    with connect(settings.postgres_dsn, "dead-letters") as connection:
        yield connection


# ---- list ----


Number = Annotated[int, Meta(description="its number")]
ShownState = Annotated[DeadLetterState, Meta(description="`open` until it is replayed or discarded")]
RecordTopic = Annotated[str, Meta(description="the topic of its record")]
RecordPartition = Annotated[int, Meta(description="the partition of its record")]
RecordOffset = Annotated[int, Meta(description="the offset of its record")]
RecordTime = Annotated[datetime | None, Meta(description="the time of its record; null where that has none")]
RefusedAt = Annotated[datetime, Meta(description="when it was refused")]
Reason = Annotated[str, Meta(description="what is wrong with it")]
FaultPath = Annotated[str, Meta(description="JSONPath of the fault; empty where it has none")]
IsEdited = Annotated[bool, Meta(description="whether it was edited: a replay then sends the last edit")]


class DeadLetter(Struct, frozen=True):
    """A dead letter without its content."""

    id: Number
    state: ShownState
    topic: RecordTopic
    partition: RecordPartition
    offset: RecordOffset
    time: RecordTime
    at: RefusedAt
    key: Annotated[str | None, Meta(description="its key if that is a valid `order_uid`, else null")]
    key_bytes: Annotated[int | None, Meta(description="length of its key in bytes; null without a key")]
    reason: Reason
    path: FaultPath
    edited: IsEdited


def listed(settings: Settings, wanted: Wanted, limit: int) -> list[DeadLetter]:
    """The newest ones, newest first. Raises `UsageError`, `Unavailable` or `Misconfigured`."""
    with opened(settings) as connection:
        return [dead_letter(each) for each in stored.newest(connection, wanted, limit)]


def dead_letter(found: Listed) -> DeadLetter:
    return DeadLetter(
        found.id,
        found.state,
        found.topic,
        found.partition,
        found.offset,
        found.time,
        found.at,
        uid_in(found.key),
        None if found.key is None else len(found.key),
        found.reason,
        found.path,
        found.edited,
    )


def uid_in(key: bytes | None) -> str | None:
    """The order_uid that a key is; None for any other."""
    try:
        return msgspec.convert((key or b"").decode(), Uid)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None


def listed_text(dead_letters: Iterable[DeadLetter]) -> str:
    """Dead letters for a person, a line each."""
    return "\n".join(map(line, dead_letters))


def line(dead_letter: DeadLetter) -> str:
    """A dead letter for a person, on one line."""
    key = dead_letter.key or ("none" if dead_letter.key_bytes is None else f"of {dead_letter.key_bytes} bytes")
    return (
        f"{dead_letter.id:>6}  {dead_letter.at:%Y-%m-%d %H:%M:%S}  {dead_letter.state:<9}  "
        f"{dead_letter.topic}[{dead_letter.partition}]@{dead_letter.offset}  key {key}  "
        f"{dead_letter.path or '-'}: {dead_letter.reason}{'  (edited)' if dead_letter.edited else ''}"
    )


# ---- what is shown and exported ----


class DeadLetterHead(Struct, frozen=True):
    """What a dead letter says of itself, its content aside."""

    id: Number
    state: ShownState
    topic: RecordTopic
    topic_id: Annotated[str, Meta(description="the id that Kafka gave this topic")]
    partition: RecordPartition
    offset: RecordOffset
    time: RecordTime
    at: RefusedAt
    reason: Reason
    path: FaultPath
    note: Annotated[str | None, Meta(description="what else was found out when it was refused")]


def head_of(dead_letter: StoredDeadLetter) -> dict[str, Any]:
    """The fields of `DeadLetterHead`."""
    return {name: getattr(dead_letter, name) for name in DeadLetterHead.__struct_fields__}


# ---- show ----


class ReadableBytes(Struct, frozen=True, omit_defaults=True):
    """Bytes as text where all of it can be read, else as base64; the other field is left out."""

    text: Annotated[str | None, Meta(description="the bytes as text, where all of it can be read")] = None
    base64: Annotated[str | None, Meta(description="else the bytes in base64")] = None


class DeadLetterHeader(Struct, frozen=True):
    name: Annotated[str, Meta(description="its name")]
    value: Annotated[ReadableBytes | None, Meta(description="its value; null where it has none")]


class ShownAction(Struct, frozen=True, omit_defaults=True):
    """What was done about a dead letter; what does not apply is left out."""

    action: Annotated[str, Meta(description="`edit`, `replay`, `discard`, `export`, or `outcome` of a replay")]
    at: Annotated[datetime, Meta(description="when")]
    by_user: Annotated[str | None, Meta(description="who, a user of the operating system; else the service")] = None
    by_host: Annotated[str | None, Meta(description="the host that this user was on")] = None
    state: Annotated[DeadLetterState | None, Meta(description="the state that the dead letter has since then")] = None
    forced: Annotated[bool | None, Meta(description="whether a replay was made with `--force`")] = None
    outcome: Annotated[str | None, Meta(description="what became of a [replay](operations.md#replay)")] = None
    reason: Annotated[str | None, Meta(description="what is wrong with what was replayed")] = None
    path: Annotated[str | None, Meta(description="JSONPath of the fault")] = None
    topic_id: Annotated[str | None, Meta(description="the id of the topic that a replay was sent to")] = None
    partition: Annotated[int | None, Meta(description="the partition of its record there")] = None
    offset: Annotated[int | None, Meta(description="the offset of that record")] = None


class Shown(DeadLetterHead, frozen=True):
    """A dead letter with its content."""

    key: Annotated[ReadableBytes | None, Meta(description="its key; null where it has none")]
    headers: Annotated[list[DeadLetterHeader], Meta(description="its headers, in their order")]
    value: Annotated[ReadableBytes | None, Meta(description="its value as it came; null where it has none")]
    edited: IsEdited
    edit: Annotated[ReadableBytes | None, Meta(description="the value of its last edit; null without one")]
    actions: Annotated[list[ShownAction], Meta(description="what was done about it, in order")]


def show(settings: Settings, number: int) -> Shown:
    """One with its content and what was done about it. Raises `UsageError`, `Unavailable` or `Misconfigured`."""
    with opened(settings) as connection:
        return shown(stored.dead_letter(connection, number), stored.actions(connection, number))


def shown(dead_letter: StoredDeadLetter, actions: Iterable[Action]) -> Shown:
    return Shown(
        **head_of(dead_letter),
        key=readable(dead_letter.key),
        headers=[DeadLetterHeader(name, readable(value)) for name, value in dead_letter.headers],
        value=readable(dead_letter.value),
        edited=dead_letter.edited,
        edit=readable(dead_letter.edit),
        actions=[shown_action(each) for each in actions],
    )


def shown_action(action: Action) -> ShownAction:
    return ShownAction(**{name: found for name, found in action._asdict().items() if found != ""})


def readable(value: bytes | None) -> ReadableBytes | None:
    """Bytes as text, where nothing in it moves a terminal's cursor."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if all(each.isprintable() or each in "\n\t" for each in text):
        return ReadableBytes(text=text)
    return ReadableBytes(base64=base64.b64encode(value).decode())


def shown_text(found: Shown) -> str:
    """A dead letter for a person."""
    lines = [
        ("id", str(found.id)),
        ("state", found.state),
        ("place", f"{found.topic}[{found.partition}]@{found.offset}, topic id {found.topic_id}"),
        ("written", str(found.time or "")),
        ("refused", str(found.at)),
        ("reason", found.reason),
        ("path", found.path),
        ("note", found.note or ""),
        ("key", bytes_text(found.key)),
        *(("header", f"{printable(each.name)}: {bytes_text(each.value)}") for each in found.headers),
        *(("action", action_text(each)) for each in found.actions),
        ("value", bytes_text(found.value)),
        *([("edit", bytes_text(found.edit))] if found.edited else []),
    ]
    return "\n".join(f"{name:<9}{text}" for name, text in lines if text)


def bytes_text(value: ReadableBytes | None) -> str:
    if value is None:
        return "null"
    return value.text if value.text is not None else f"base64 {value.base64}"


def printable(text: str) -> str:
    """Text with nothing that moves a terminal's cursor."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def action_text(each: ShownAction) -> str:
    by = f"{each.by_user}@{each.by_host}" if each.by_user else "the service"
    forced = ", forced" if each.forced else ""
    outcome = f": {each.outcome}" if each.outcome else ""
    why = f" ({each.path or '-'}: {each.reason})" if each.reason else ""
    return f"{each.at:%Y-%m-%d %H:%M:%S}  {each.action}{forced} by {by}{outcome}{why}"


# ---- replay ----


def replay(
    settings: Settings, connection: Connection, ids: list[int], *, forced: bool, deadline: float
) -> Iterator[Replayed]:
    """Sends them again, oldest first, and reports what became of each. Raises `Unavailable` or `Misconfigured`."""
    from orders.kafka.admin import Brokers  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.kafka.producer import OrderProducer  # noqa: PLC0415 - as above

    logging.getLogger("librdkafka").addHandler(logging.NullHandler())  # what it says comes as an error
    Brokers(settings.kafka).count()  # a wrong address is reported at once, not when the first record's time is over
    producer = OrderProducer(settings.kafka, settings.kafka_topic, DELIVERY_SECONDS)
    try:
        yield from Replays(connection, producer, forced=forced, deadline=deadline).run(ids)
    finally:
        producer.close()


def counted(results: Iterable[Replayed], counts: Counter[str | None]) -> Iterator[Replayed]:
    """The same, their outcomes counted."""
    for each in results:
        counts[each.outcome] += 1
        yield each


def replays_text(results: Iterable[Replayed], counts: Counter[str | None], total: int) -> str:
    """What became of replays, for a person: a line for each that stays open, and how many came to what."""
    unsettled = [unsettled_text(each) for each in results if each.outcome not in SETTLING]
    return "\n".join([*unsettled, replayed_text(counts, total)])


def replayed_text(counts: Counter[str | None], total: int) -> str:
    """How many came to what, for a person."""
    settled = sum(counts[each] for each in SETTLING)
    parts = [f"{counts[each]} {each}" for each in (*SETTLING, "conflict", "refused", "unsent") if counts[each]]
    late = f"; {counts[None]} in Kafka without an outcome yet" if counts[None] else ""
    left = total - counts.total()
    return f"{settled} of {total} replayed ({', '.join(parts) or 'none'}){late}{f'; {left} not sent' if left else ''}"


def unsettled_text(result: Replayed) -> str:
    """One that stays open, for a person."""
    return f"{result.id}: {result.outcome or 'no outcome yet'}{why(result.reason, result.path)}"


def why(reason: str, path: str) -> str:
    return f", {path or '-'}: {reason}" if reason else ""


# ---- edit ----


class Edited(Struct, frozen=True):
    """What an edit is like; it is kept in any case."""

    id: Number
    valid: Annotated[bool, Meta(description="whether it is a valid order")]
    order_uid: Annotated[str | None, Meta(description="its `order_uid`; null where none can be read")]
    reason: Annotated[str, Meta(description="what is still wrong; empty where it is valid")]
    path: FaultPath


def edit(connection: Connection, number: int, value: bytes, nesting: int = MAX_NESTING) -> Edited:
    """Keeps bytes that are to be replayed in place of those that came.

    Raises `UsageError`, `Unavailable`, `Misconfigured`.
    """
    if len(value) > MAX_DOCUMENT_BYTES:
        raise UsageError(f"an order has {MAX_DOCUMENT_BYTES} bytes at most: nothing was kept")
    dead_letter = stored.dead_letter(connection, number)
    stored.keep(connection, [NewAction(number, "edit", value=value)])
    record = Record(dead_letter.partition, dead_letter.offset, None, dead_letter.key, value, tuple(dead_letter.headers))
    entry = decoder.read(record, nesting)
    invalid = entry.content if isinstance(entry.content, Invalid) else None
    return Edited(
        number, invalid is None, uid_of(entry), invalid.reason if invalid else "", invalid.path if invalid else ""
    )


def edited_text(edited: Edited) -> str:
    """What became of an edit, for a person."""
    if edited.valid:
        return f"kept: order {edited.order_uid}; send it with `orders dead-letters replay {edited.id}`"
    return f"kept, and still wrong{why(edited.reason, edited.path)}"


# ---- discard ----


class Discarded(Struct, frozen=True):
    """How many were discarded."""

    discarded: Annotated[int, Meta(description="how many were discarded")]
    left_out: Annotated[int, Meta(description="how many the filters matched that were not open, and stay as they are")]


def discarded_text(done: Discarded) -> str:
    """How many were discarded, for a person."""
    return f"{done.discarded} discarded"


def discard(connection: Connection, ids: Sequence[int], advance: Callable[[int], None]) -> None:
    """Marks them as dealt with; their bytes stay. `advance` gets how many more are. Raises our errors."""
    for some in chunks(ids):
        stored.keep(connection, [NewAction(each, "discard", "discarded") for each in some])
        advance(len(some))


def chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Numbers whose actions are kept in one transaction."""
    return (ids[start : start + KEPT_AT_ONCE] for start in range(0, len(ids), KEPT_AT_ONCE))


# ---- export ----


class Exported(DeadLetterHead, frozen=True):
    """A dead letter with its bytes in base64."""

    key: Annotated[bytes | None, Meta(description="its key; null where it has none")]
    headers: Annotated[list[tuple[str, bytes | None]], Meta(description="name and value of each header, in order")]
    value: Annotated[bytes | None, Meta(description="its value as it came; null where it has none")]
    edited: IsEdited
    edit: Annotated[bytes | None, Meta(description="the value of its last edit; null without one")]


class Written(Struct, frozen=True):
    """What `--raw` wrote."""

    directory: Annotated[str, Meta(description="the directory of the files")]
    files: Annotated[int, Meta(description="how many files were written")]
    without_value: Annotated[int, Meta(description="how many dead letters have no value, and so no file for it")]


def export(connection: Connection, ids: Sequence[int]) -> Iterator[StoredDeadLetter]:
    """One after the other with its bytes; that it is handed out is kept before.

    Raises `Unavailable` or `Misconfigured`.
    """
    for some in chunks(ids):
        stored.keep(connection, [NewAction(each, "export") for each in some])
        yield from (stored.dead_letter(connection, each) for each in some)


def exported(dead_letter: StoredDeadLetter) -> Exported:
    content = {name: getattr(dead_letter, name) for name in ("key", "headers", "value", "edited", "edit")}
    return Exported(**head_of(dead_letter), **content)


def write_raw(directory: Path, found: Iterable[StoredDeadLetter]) -> Written:
    """Writes each value to a file of its id's name, and an edit beside it. Raises `StartError`."""
    files = without = 0
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in found:
            values = {str(each.id): each.value, f"{each.id}.edited": each.edit}
            without += each.value is None
            files += sum(write_private(directory / name, value) for name, value in values.items() if value is not None)
    except OSError as error:
        raise StartError(f"{error.strerror}: {error.filename or directory}") from None
    return Written(str(directory), files, without)


def write_private(path: Path, value: bytes) -> bool:
    """A file that its owner alone can read: it holds personal data."""
    path.touch(mode=0o600)
    path.write_bytes(value)
    return True


def written_text(written: Written) -> str:
    """What was exported, for a person."""
    without = f"; {written.without_value} have no value" if written.without_value else ""
    return f"{written.files} files in {written.directory}{without}"
