"""`orders send` and `orders validate`: orders of a file or a pipe, in any layout, checked before they are sent."""

import gzip
import io
import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Literal, cast

import msgspec
from msgspec import Struct

from orders import malformed
from orders.errors import StartError, UsageError
from orders.json_stream import Found, split
from orders.settings import Settings
from orders.system import state

DELIVERY_SECONDS = 60.0
"""How long a record of `send` may wait for its acknowledgement."""
CHUNK_BYTES = 2**16
KB = 1024
SHOWN = 3
"""So many of what is wrong are shown."""
GZIP = b"\x1f\x8b"

Way = Literal["valid or nothing", "valid", "as is"]
"""What is sent of a file: all of it if all is valid, what is valid of it, or each line untouched."""
Pair = tuple[bytes | None, bytes]
"""Key and value of a record."""


class Wrong(Struct, frozen=True):
    """A value that is no valid order: the line where it begins, the JSONPath of the fault, and why; never a value.

    What is not JSON has no path: the reason has the position in the file, unpacked if it was gzip's.
    """

    line: int
    path: str
    reason: str


class Checked(Struct):
    """What `orders validate --json` writes: how many values are valid orders and how many not, the first of those."""

    valid: int = 0
    invalid: int = 0
    first: list[Wrong] = []

    def note(self, wrong: Wrong) -> None:
        self.invalid += 1
        if len(self.first) < SHOWN:
            self.first.append(wrong)


class Sent(Struct, frozen=True):
    """What `orders send --json` writes: how many records are in the topic, how many without a key, what was left out.

    `complete` is false where a pipe was not read to its end, since something in it is wrong.
    """

    topic: str
    sent: int
    keyless: int
    invalid: int = 0
    first: list[Wrong] = []
    complete: bool = True


class Keyed(Struct, frozen=True):
    """What is read of a line that is sent as it is."""

    order_uid: str


# ---- reading ----


def chunks(file: IO[bytes], read: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """The bytes of a file, unpacked if it is gzip's; `read` is called after each. Raises `UsageError`."""
    source = io.BufferedReader(cast("io.RawIOBase", file))
    packed = source.peek(len(GZIP))[: len(GZIP)] == GZIP
    reader = gzip.GzipFile(fileobj=source) if packed else source
    try:
        while chunk := reader.read(CHUNK_BYTES):
            read()
            yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"the file begins as gzip's do and cannot be unpacked: {error}") from None
    finally:
        source.detach()  # else the file would be closed with it


def judged(found: Found, nesting: int) -> Pair | Wrong:
    """The record of a value, or what is wrong with it; ingest's own decoder decides."""
    from orders.decoder import decode  # noqa: PLC0415 - for these commands alone
    from orders.record import Invalid  # noqa: PLC0415 - as above

    content = decode(found.value, nesting)
    if isinstance(content, Invalid):
        fault = None if content.is_json else malformed.find(found.value)
        reason = malformed.describe(found.value, fault, found.start) if fault else content.reason
        return Wrong(found.start.line, content.path, reason)
    return content.row.order_uid.encode(), found.value


def lines(file: IO[bytes]) -> Iterator[Pair]:
    """Every line that is not empty: as it is, keyed by its order_uid if it has one."""
    decode = msgspec.json.Decoder(Keyed).decode
    for line in file:
        if value := line.strip():
            key = None
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                key = decode(value).order_uid.encode() or None
            yield key, value


def check(settings: Settings, file: IO[bytes]) -> Checked:
    """Looks at every value, and shows how far it is. Raises `UsageError`."""
    from orders.system.counting import CountingBar  # noqa: PLC0415 - slow to import, for these commands alone

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


class Reading:
    """The valid orders of a stream, as records; what is not is counted, and ends it unless it may be left out."""

    def __init__(self, settings: Settings, file: IO[bytes], *, skip: bool) -> None:
        self._settings = settings
        self._file = file
        self._skip = skip
        self.checked = Checked()
        self.complete = True

    def __iter__(self) -> Iterator[Pair]:
        for found in split(chunks(self._file)):
            result = judged(found, self._settings.order_nesting)
            if isinstance(result, Wrong):
                self.checked.note(result)
                if not self._skip:
                    self.complete = False
                    return
            else:
                yield result


def send(settings: Settings, file: IO[bytes], way: Way) -> Sent:
    """Produces orders and waits until the brokers have all.

    A file of which something is no valid order is not sent at all; a pipe is sent up to there. Raises `StartError`,
    `UsageError`, `Away` or `SetupWrong`.
    """
    from orders.brokers import Brokers  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.producer import OrderProducer  # noqa: PLC0415 - Kafka's client, for this command alone
    from orders.system.counting import CountingBar  # noqa: PLC0415 - slow to import, for this command alone

    state.require(settings, "kafka_bootstrap")
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())  # what it says comes as an error
    total = _checked_first(settings, file, way) if file.seekable() else None
    Brokers(settings.kafka).count()  # a wrong address is reported at once, not when the first record's time is over
    reading = Reading(settings, file, skip=way == "valid")
    producer = OrderProducer(settings.kafka, settings.kafka_topic, DELIVERY_SECONDS)
    keyless = 0

    def counted() -> Iterator[Pair]:
        nonlocal keyless
        for key, value in lines(file) if way == "as is" else reading:
            keyless += key is None
            yield key, value

    try:
        with CountingBar(total) as bar:
            sent = producer.send(counted(), bar.advance)
    finally:
        producer.close()
    checked = reading.checked
    return Sent(settings.kafka_topic, sent, keyless, checked.invalid, checked.first, reading.complete)


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
    head = f"{checked.invalid} of {total} {'is' if checked.invalid == 1 else 'are'} no valid order"
    return "\n".join([f"{head}:" if checked.first else head, *map(_line, checked.first)])


def _line(wrong: Wrong) -> str:
    return f"  line {wrong.line}: {wrong.path + ': ' if wrong.path else ''}{wrong.reason}"


def checked_text(checked: Checked) -> str:
    """What `orders validate` says to a person."""
    return wrong_text(checked) if checked.invalid else f"{checked.valid} valid orders"


def sent_text(sent: Sent) -> str:
    """What was sent, for a person."""
    keyless = f", {sent.keyless} of them without an order_uid" if sent.keyless else ""
    shown = [f"{sent.sent} sent{keyless}: they are in Kafka, and stored when an ingest has written them"]
    if sent.invalid:
        what = "left out" if sent.complete else "not sent, nor what follows it"
        shown += [f"{sent.invalid} {what}, no valid order:", *map(_line, sent.first)]
    return "\n".join(shown)
