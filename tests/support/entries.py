"""Short ways to make orders, records and entries, for tests of what comes after the decoder."""

from datetime import UTC, datetime

from orders.ingest.fold import Known, Origin
from orders.order import Content, Row, text
from orders.record import Condition, Entry, Invalid, Record, Replay, Tombstone

TOPIC_ID = "topic-1"


def content(order_uid: str, amount: int = 1) -> Content:
    """A valid order that differs from others of its uid by `amount`."""
    created = datetime(2021, 11, 26, 6, 22, 19, tzinfo=UTC)
    before = (order_uid, "WBIL", "WBIL", "Test", "+972", "26", "Kiryat", "Mira", "Kraiot", "t@example.com")
    payment = ("tx", "", "USD", "wbpay", amount, 1637907727, "alpha", 1500, 317, 0)
    after = ('[{"price":453}]', "en", "", "test", "meest", "9", 99, created, "1", None)
    row = Row._make((*before, *payment, *after))
    return Content(row, text(row))


def record(partition: int = 0, offset: int = 0, value: bytes | None = b"{}", key: bytes | None = b"k") -> Record:
    return Record(partition, offset, 1_637_907_727_000, key, value)


def upsert(
    order_uid: str,
    amount: int = 1,
    *,
    partition: int = 0,
    offset: int = 0,
    condition: Condition | None = None,
    reply: bool = False,
    replay: Replay | None = None,
) -> Entry:
    return Entry(record(partition, offset), content(order_uid, amount), condition, reply, replay)


def delete(
    order_uid: str,
    *,
    partition: int = 0,
    offset: int = 0,
    condition: Condition | None = None,
    replay: Replay | None = None,
) -> Entry:
    return Entry(record(partition, offset, None), Tombstone(order_uid), condition, reply=True, replay=replay)


def invalid(
    *, partition: int = 0, offset: int = 0, reason: str = "Invalid JSON", replay: Replay | None = None
) -> Entry:
    return Entry(record(partition, offset, b"{"), Invalid(reason), reply=True, replay=replay)


def replay(offset: int, *, partition: int = 0, attempt: int = 0, forced: bool = False) -> Replay:
    """What a record says that replays the dead letter at a place."""
    place = {"topic_id": TOPIC_ID, "partition": partition, "offset": offset, "time": 1_637_907_727_000}
    return Replay(**place, attempt=f"{attempt:032x}", forced=forced)  # type: ignore[arg-type] # a mapping of two types


def known(order_uid: str, amount: int = 1, *, version: int = 10, partition: int = 0, offset: int = 5) -> Known:
    return Known(content(order_uid, amount).row, 7, version, Origin(TOPIC_ID, partition, offset))
