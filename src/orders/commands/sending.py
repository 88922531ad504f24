"""`orders send` and `orders validate`: orders of a file or a pipe, in any layout, checked before they are sent."""

import gzip
import io
import logging
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import IO, TYPE_CHECKING, Annotated, Literal, NamedTuple, cast

import msgspec
from msgspec import Meta, Struct

from orders import malformed
from orders.commands.positions import INTERRUPTED
from orders.commands.storing import STATEMENT_SECONDS, Offsets, StoringResult, Waiting
from orders.errors import OrdersError, StartError, TooLarge, Unavailable
from orders.json_stream import StreamedValue, split
from orders.settings import Settings
from orders.system import state

if TYPE_CHECKING:
    from orders.kafka.admin import Brokers
    from orders.kafka.producer import Delivered, OrderProducer

DELIVERY_SECONDS = 60.0
"""How long a record of `send` may wait for its acknowledgement."""
CHUNK_BYTES = 2**16
KB = 1024
SHOWN = 3
"""So many of what is wrong are shown."""
GZIP = b"\x1f\x8b"

FLUSH_SECONDS = 5.0
"""How long acknowledgements are waited for once sending has ended before its time."""

Way = Literal["valid or nothing", "valid", "as is"]
"""What is sent of a file: all of it if all is valid, what is valid of it, or each line untouched."""


class Outgoing(NamedTuple):
    """A record and the line where its value begins, from 1."""

    line: int
    key: bytes | None
    value: bytes


class Wrong(Struct, frozen=True):
    """A value that is not a valid order, or is too large; never the value itself."""

    line: Annotated[int, Meta(description="line where the value begins, from 1")]
    path: Annotated[str, Meta(description="JSONPath of the fault; empty where it is not JSON or is too large")]
    reason: Annotated[
        str,
        Meta(description="what is wrong; of what is not JSON with its place in the file, unpacked if it was gzip's"),
    ]


class Checked(Struct):
    """What the orders of a file are like."""

    valid: Annotated[int, Meta(description="how many are valid orders")] = 0
    invalid: Annotated[int, Meta(description="how many are not")] = 0
    first: Annotated[list[Wrong], Meta(description=f"the first of those that are not, up to {SHOWN}")] = []

    def note(self, wrong: Wrong) -> None:
        self.invalid += 1
        if len(self.first) < SHOWN:
            self.first.append(wrong)


class Sent(Struct, frozen=True):
    """What was sent, and what was left out."""

    topic: Annotated[str, Meta(description="the topic that was sent to")]
    sent: Annotated[int, Meta(description="how many records are in Kafka")]
    keyless: Annotated[int, Meta(description="how many of them have no key, since no `order_uid` was found")]
    invalid: Annotated[int, Meta(description="how many values are not valid orders, and were not sent")] = 0
    first: Annotated[list[Wrong], Meta(description=f"the first of those, up to {SHOWN}")] = []
    complete: Annotated[
        bool, Meta(description="whether the input was sent to its end, but for what was left out as asked")
    ] = True
    refused: Annotated[int, Meta(description="how many records are too large, and were not sent")] = 0
    first_refused: Annotated[list[Wrong], Meta(description=f"the first of those, up to {SHOWN}")] = []
    unknown: Annotated[
        int, Meta(description="how many may be in Kafka or not: it neither acknowledged nor refused them")
    ] = 0
    error: Annotated[
        str, Meta(description="why the rest was not sent; empty where nothing failed, or something in it is not valid")
    ] = ""
    wait: Annotated[
        StoringResult | None, Meta(description="what PostgreSQL made of what was sent; null without `--wait`")
    ] = None

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.error == INTERRUPTED or (self.wait is not None and INTERRUPTED in self.wait.reasons)

    @property
    def is_done(self) -> bool:
        """Whether all that was asked for is where it was asked to be."""
        is_sent = self.complete and not (self.refused or self.unknown or self.error)
        return is_sent and (self.wait is None or self.wait.is_all)


class LineKey(Struct, frozen=True):
    """What is read of a line that is sent as it is."""

    order_uid: str


# ---- reading ----


def chunks(file: IO[bytes], read: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """The bytes of a file, unpacked if it is gzip's; `read` is called after each. Raises `StartError`."""
    raw = getattr(file, "raw", file)  # what is buffered would wait until the buffer is full
    source = io.BufferedReader(cast("io.RawIOBase", raw))
    packed = source.peek(len(GZIP))[: len(GZIP)] == GZIP
    reader = gzip.GzipFile(fileobj=source) if packed else source
    try:
        while chunk := reader.read1(CHUNK_BYTES):
            read()
            yield chunk
    except EOFError:
        raise StartError("the file is gzip and is cut off: get it again") from None
    except (gzip.BadGzipFile, zlib.error):
        raise StartError("the file begins as gzip's do and is damaged, or followed by something else") from None
    finally:
        source.detach()  # else the file would be closed with it


def judged(found: StreamedValue, nesting: int) -> Outgoing | Wrong:
    """The record of a value, or what is wrong with it; ingest's own decoder decides."""
    from orders.decoder import decode  # noqa: PLC0415 - for these commands alone
    from orders.record import Invalid  # noqa: PLC0415 - as above

    content = decode(found.value, nesting)
    if isinstance(content, Invalid):
        fault = None if content.is_json else malformed.find(found.value)
        reason = malformed.describe(found.value, fault, found.start) if fault else content.reason
        return Wrong(found.start.line, content.path, reason)
    return Outgoing(found.start.line, content.row.order_uid.encode(), found.value)


def lines(file: IO[bytes]) -> Iterator[Outgoing]:
    """Every line that is not empty: as it is, keyed by its order_uid if it has one."""
    decode = msgspec.json.Decoder(LineKey).decode
    for number, line in enumerate(file, 1):
        if value := line.strip():
            key = None
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                key = decode(value).order_uid.encode() or None
            yield Outgoing(number, key, value)


def check(settings: Settings, file: IO[bytes]) -> Checked:
    """Looks at every value, and shows how far it is. Raises `StartError`."""
    from orders.system.progress_bar import CountingBar  # noqa: PLC0415 - slow to import, for these commands alone

    checked, size, done = Checked(), _size(file), 0
    with CountingBar(size and size // KB, text="checking, KB") as bar:

        def advance() -> None:
            nonlocal done
            if size is not None:
                bar.advance(file.tell() // KB - done)
                done = file.tell() // KB

        for found in split(chunks(file, advance)):
            result = judged(found, settings.order_nesting)
            if isinstance(result, Wrong):
                checked.note(result)
            else:
                checked.valid += 1
    return checked


def _size(file: IO[bytes]) -> int | None:
    """Bytes of a file; None where counting them would lose them."""
    if not file.seekable():
        return None
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


# ---- sending ----


class OrderInput:
    """The valid orders of a stream, as records; what is not is counted, and ends it unless it may be left out."""

    def __init__(self, settings: Settings, file: IO[bytes], *, skip: bool) -> None:
        self._settings = settings
        self._file = file
        self._skip = skip
        self.checked = Checked()
        self.complete = True

    def __iter__(self) -> Iterator[Outgoing]:
        for found in split(chunks(self._file)):
            result = judged(found, self._settings.order_nesting)
            if isinstance(result, Wrong):
                self.checked.note(result)
                if not self._skip:
                    self.complete = False
                    return
            else:
                yield result


class Tally:
    """What became of the records of one sending; reported from several threads."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._lock = Lock()
        self._open: dict[int, Outgoing] = {}
        self._failed = 0
        self.sent = self.keyless = self.refused = 0
        self.first_refused: list[Wrong] = []
        self.offsets: defaultdict[int, Offsets] = defaultdict(Offsets)
        """Where those lie that were sent, by partition."""

    def numbered(self, records: Iterable[Outgoing]) -> Iterator[tuple[bytes | None, bytes]]:
        """Keys and values of records; each is open until it is reported."""
        for number, record in enumerate(records):
            with self._lock:
                self._open[number] = record
            yield record.key, record.value

    def report(self, number: int, result: "Delivered | OrdersError") -> None:
        """What became of a record, by its number from 0."""
        with self._lock:
            record = self._open.pop(number)
            if isinstance(result, TooLarge):
                self._refuse(record, result)
            elif isinstance(result, OrdersError):
                self._failed += isinstance(result, Unavailable)  # what the configuration forbids is certainly not there
            else:
                self.sent += 1
                self.keyless += record.key is None
                self.offsets[result.partition].add(result.offset)
                self._advance(1)

    def _refuse(self, record: Outgoing, why: TooLarge) -> None:
        self.refused += 1
        if len(self.first_refused) < SHOWN:
            size = len(record.value) + len(record.key or b"")
            self.first_refused.append(Wrong(record.line, "", f"{size} bytes with its key: {why}"))

    @property
    def unknown(self) -> int:
        """How many were handed over and neither acknowledged nor refused."""
        with self._lock:
            return len(self._open) + self._failed


def send(settings: Settings, file: IO[bytes], way: Way, wait_seconds: float | None = None) -> Sent:
    """Produces orders and waits until the brokers have all; or, with `wait_seconds`, until PostgreSQL has.

    A file of which something is not a valid order is not sent at all; a pipe is sent up to there. What is too large is
    left out. What ends the sending before its time, Ctrl-C too, stands in the result. Raises `StartError`,
    `UsageError`, `Unavailable` or `Misconfigured` where nothing was sent.
    """
    from orders.kafka.admin import Brokers  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.kafka.producer import OrderProducer  # noqa: PLC0415 - Kafka's client, for this command alone

    state.require(settings, "kafka_bootstrap", *(() if wait_seconds is None else ("postgres_dsn",)))
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())  # what it says comes as an error
    total = _checked_first(settings, file, way) if file.seekable() else None
    brokers = Brokers(settings.kafka)
    brokers.count()  # a wrong address is reported at once, not when the first record's time is over
    waiting = None if wait_seconds is None else _waiting(settings, brokers, wait_seconds)
    topic_bytes = topic_limit(brokers.config(settings.kafka_topic))
    producer = OrderProducer(settings.kafka, settings.kafka_topic, DELIVERY_SECONDS, topic_bytes=topic_bytes)
    reading = OrderInput(settings, file, skip=way == "valid")
    try:
        tally, error = _produce(producer, lines(file) if way == "as is" else reading, total)
    finally:
        producer.close()
    checked, stored = reading.checked, None
    if waiting:
        stored = waiting.interrupted(tally.offsets) if error == INTERRUPTED else _wait(waiting, tally)
    return Sent(
        settings.kafka_topic,
        tally.sent,
        tally.keyless,
        checked.invalid,
        checked.first,
        reading.complete and not error,
        tally.refused,
        tally.first_refused,
        tally.unknown,
        error,
        stored,
    )


def _produce(producer: "OrderProducer", records: Iterable[Outgoing], total: int | None) -> tuple[Tally, str]:
    """What became of the records, and what ended the sending before its time. Raises where nothing was sent."""
    from orders.system.progress_bar import CountingBar  # noqa: PLC0415 - slow to import, for this command alone

    with CountingBar(total, text="sending") as bar:
        tally = Tally(bar.advance)
        try:
            producer.send(tally.numbered(records), tally.report)
        except KeyboardInterrupt:
            error = INTERRUPTED
        except OrdersError as ended:
            producer.flush(FLUSH_SECONDS)
            if not (tally.sent or tally.unknown):
                raise
            error = str(ended)
        else:
            error = ""
        producer.flush(FLUSH_SECONDS)
    return tally, error


def topic_limit(config: Mapping[str, str] | None) -> int | None:
    """A topic's max.message.bytes; None where its configuration may not be read."""
    limit = (config or {}).get("max.message.bytes", "")
    return int(limit) if limit.isdecimal() else None


def _waiting(settings: Settings, brokers: "Brokers", seconds: float) -> Waiting:
    """Raises where PostgreSQL cannot be asked, before anything is sent."""
    from orders.postgres.connection import connect  # noqa: PLC0415 - PostgreSQL, for --wait alone

    topic = brokers.topic(settings.kafka_topic)
    if topic is None:
        raise StartError(f"topic {settings.kafka_topic!r} does not exist: make it with `orders topics create`")
    waiting = Waiting(
        lambda: connect(settings.postgres_dsn, "send", statement_seconds=STATEMENT_SECONDS),
        settings.kafka_topic,
        topic.topic_id,
        seconds,
    )
    try:
        waiting.begin()
    except OrdersError as error:
        raise StartError(f"--wait needs PostgreSQL, and nothing was sent: {error}") from None
    return waiting


def _wait(waiting: Waiting, tally: Tally) -> StoringResult:
    from orders.system.progress_bar import CountingBar  # noqa: PLC0415 - as above

    with CountingBar(tally.sent, text="storing") as bar:
        return waiting.wait(tally.offsets, bar.advance)


def _checked_first(settings: Settings, file: IO[bytes], way: Way) -> int:
    """How many records a file gives. Raises `StartError` where it is not to be sent."""
    if way == "as is":
        total = sum(1 for _ in lines(file))
    else:
        checked = check(settings, file)
        total = checked.valid
        if checked.invalid and way != "valid":
            raise StartError(f"{wrong_text(checked)}\nNothing was sent: correct the file, or give --skip-invalid.")
    file.seek(0)
    return total


# ---- what is shown ----


def wrong_text(checked: Checked) -> str:
    """How many are wrong, and the first of them, a line each."""
    total = checked.valid + checked.invalid
    head = f"{checked.invalid} of {total} {'is not a valid order' if checked.invalid == 1 else 'are not valid orders'}"
    return "\n".join([f"{head}:" if checked.first else head, *map(_line, checked.first)])


def _line(wrong: Wrong) -> str:
    return f"  line {wrong.line}: {wrong.path + ': ' if wrong.path else ''}{wrong.reason}"


def checked_text(checked: Checked) -> str:
    """What `orders validate` says to a person."""
    return wrong_text(checked) if checked.invalid else f"{checked.valid} valid orders"


def sent_text(sent: Sent) -> str:
    """What was sent and what became of it, for a person; without `--wait` the last line says that it is not stored."""
    keyless = f", {sent.keyless} of them without an order_uid" if sent.keyless else ""
    shown = [f"{sent.sent} sent to Kafka{keyless}"]
    if sent.invalid:
        what = "left out" if sent.complete or sent.error else "not sent, nor what follows it"
        shown += [f"{sent.invalid} {what}, no valid order:", *map(_line, sent.first)]
    if sent.refused:
        shown += [f"{sent.refused} not sent, too large:", *map(_line, sent.first_refused)]
    if sent.error:
        shown.append(f"the rest was not sent: {sent.error}")
    if sent.unknown:
        shown.append(f"{sent.unknown} may be in Kafka or not, without its answer; to send them again doubles no order")
    if sent.wait:
        shown += waited_text(sent.wait)
    elif sent.sent:
        shown.append("sent is not yet stored: an ingest stores it from Kafka, and --wait waits for that")
    return "\n".join(shown)


def waited_text(stored: StoringResult) -> list[str]:
    """What became of what was sent, for a person."""
    others = {
        "became dead letters, see `orders dead-letters list`": stored.dead_letters,
        "skipped by `orders resume --skip`": stored.skipped,
        "not stored yet": stored.pending,
    }
    counted = [f"{stored.stored} stored", *(f"{count} {what}" for what, count in others.items() if count)]
    return [*map("  {}".format, stored.reasons), "; ".join(counted)]
