"""What the commands ask of a running system: over HTTP, Kafka and PostgreSQL, wherever it says it is."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import IO
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from orders.errors import Away, StartError
from orders.settings import Settings
from orders.system import state
from orders.system.asking import Part, Ready, ask_ready, fetch, url_for

DELIVERY_SECONDS = 60.0
"""How long a record of `send` may wait for its acknowledgement."""


# ---- get ----


def get(settings: Settings, uid: str, view: str | None) -> bytes:
    """The served document of an order. Raises `StartError` when there is none."""
    url = url_for(settings)
    query = "?" + urlencode({"view": view}) if view else ""
    status, body = fetch(url, f"/orders/{quote(uid, safe='')}{query}")
    if status == HTTPStatus.NOT_FOUND:
        raise StartError(f"there is no order {uid}")
    if status != HTTPStatus.OK:
        raise StartError(f"{url} answered {status}: {body[:200].decode(errors='replace')}")
    return body


def indented(document: bytes) -> bytes:
    """JSON for the eye."""
    return msgspec.json.format(document, indent=2)


# ---- send ----


class Keyed(Struct, frozen=True):
    """What is read of a line before it is sent."""

    order_uid: str


def records(lines: IO[bytes]) -> Iterator[tuple[bytes | None, bytes]]:
    """Key and value of every line that is not empty: the line as it is, keyed by its order_uid if it has one."""
    decode = msgspec.json.Decoder(Keyed).decode
    for line in lines:
        if value := line.strip():
            key = None
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                key = decode(value).order_uid.encode() or None
            yield key, value


class Sent(Struct, frozen=True):
    """What `orders send --json` writes: how many lines are in the topic, and how many of them without a key."""

    topic: str
    sent: int
    keyless: int


def send(settings: Settings, lines: IO[bytes]) -> Sent:
    """Produces every line and waits until the brokers have all. Raises `UsageError`, `Away` or `SetupWrong`."""
    from orders.brokers import Brokers  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.producer import OrderProducer  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.system.counting import CountingBar  # noqa: PLC0415 - slow to import, for this command alone

    state.require(settings, "kafka_bootstrap")
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())  # what it says comes as an error
    Brokers(settings.kafka).count()  # a wrong address is told at once, not when the first record's time is over
    producer = OrderProducer(settings.kafka, settings.kafka_topic, DELIVERY_SECONDS)
    keyless = 0

    def counted() -> Iterator[tuple[bytes | None, bytes]]:
        nonlocal keyless
        for key, value in records(lines):
            keyless += key is None
            yield key, value

    try:
        with CountingBar(count_lines(lines)) as bar:
            sent = producer.send(counted(), bar.advance)
            return Sent(settings.kafka_topic, sent, keyless)
    finally:
        producer.close()


def sent_text(sent: Sent) -> str:
    """What was sent, for a person."""
    keyless = f", {sent.keyless} of them without an order_uid" if sent.keyless else ""
    return f"{sent.sent} sent{keyless}"


def count_lines(lines: IO[bytes]) -> int | None:
    """How many lines there are, where that can be told without losing them."""
    if not lines.seekable():
        return None
    count = sum(1 for line in lines if line.strip())
    lines.seek(0)
    return count


# ---- status ----


class RunningProcess(Struct, frozen=True):
    kind: str
    pid: int


class Http(Struct, frozen=True):
    url: str


class Kafka(Struct, frozen=True):
    bootstrap: str


class Postgres(Struct, frozen=True):
    dsn: str


class Restore(Struct, frozen=True):
    ok: bool
    done: int
    total: int


class Status(Struct, frozen=True):
    """What `orders status --json` writes; `lag` is in messages, null while nobody can tell."""

    processes: list[RunningProcess]
    http: Http
    kafka: Kafka
    postgres: Postgres
    ready: bool
    reason: str
    lag: int | None
    restore: Restore


def status(settings: Settings) -> Status:
    """What runs now, by the state of the data directory and by /readyz."""
    found = state.load(settings.data)
    running = state.alive(settings.data, found)
    if not running:
        found = state.State()  # what an earlier system left, or the one that this directory was copied from
    ready = ask_ready(found.http_url) if running else Ready(parts={"http": Part(reason="nothing runs")})
    restore = ready.parts.get("restore", Part())
    return Status(
        [RunningProcess(each.kind, each.pid) for each in running],
        Http(found.http_url),
        Kafka(found.settings.get("kafka_bootstrap", "")),
        Postgres(found.settings.get("postgres_dsn", "")),
        ready.ready,
        ready.missing,
        ready.parts.get("lag", Part()).messages,
        Restore(restore.ok, restore.done, restore.total),
    )


def status_text(found: Status) -> str:
    """The status for a person, a line each."""
    lines = [
        ("ready", "yes" if found.ready else f"no ({found.reason})"),
        ("HTTP", found.http.url),
        ("Kafka", found.kafka.bootstrap),
        ("PostgreSQL", found.postgres.dsn),
        ("lag", "unknown" if found.lag is None else f"{found.lag} messages"),
        ("restore", restore_text(found.restore)),
        *((process.kind, f"process {process.pid}") for process in found.processes),
    ]
    return "\n".join(f"{name:<12}{text}" for name, text in lines if text)


def restore_text(restore: Restore) -> str:
    """How far memory is restored; while it goes on in percent too."""
    text = f"{restore.done} of {restore.total} orders"
    return text if restore.ok or not restore.total else f"{text} ({100 * restore.done // restore.total} %)"


# ---- migrate ----


class Migrated(Struct, frozen=True):
    """What `orders migrate --json` writes: the migrations that were applied, in their order."""

    applied: list[str]


def migrate(settings: Settings) -> Migrated:
    """Brings the schema up to date. Raises `StartError` or `SetupWrong`."""
    from orders import migrations  # noqa: PLC0415 - PostgreSQL, for this command alone

    state.require(settings, "postgres_dsn")
    try:
        return Migrated(migrations.migrate(settings.postgres_dsn))
    except Away as error:
        raise StartError(f"{error}; is its address right?") from None


def migrated_text(migrated: Migrated) -> str:
    """What was applied, for a person."""
    from orders import migrations  # noqa: PLC0415 - as above

    return migrations.told(migrated.applied)


def as_json(value: object) -> str:
    """One line of JSON."""
    return msgspec.json.encode(value).decode()
