"""A dead letter against the record at its place: what the store writes of it is right, anything else is told."""

from hypothesis import given
from hypothesis import strategies as st

from orders.ingest.store import storable
from orders.record import Record
from orders.verify import dead_letters
from orders.verify.dead_letters import DeadLetterDigest, digests

BYTES = st.none() | st.binary(max_size=4)
HEADERS = st.lists(st.tuples(st.text(max_size=3), BYTES), max_size=3).map(tuple)
RECORDS = st.builds(Record, st.just(1), st.just(7), st.none(), BYTES, BYTES, HEADERS)


def kept_of(record: Record, *, topic: bool = True, reason: str = "Invalid JSON") -> DeadLetterDigest:
    """What is read of the dead letter that the store writes."""
    names, values = [storable(name) for name, _ in record.headers], [value for _, value in record.headers]
    kept = digests(record.key, record.value, names, values, topic=topic, reason=reason)
    return dead_letters.unpack(dead_letters.pack(kept))


@given(RECORDS)
def test_the_dead_letter_of_a_record_does_not_differ_from_it(record: Record) -> None:
    assert kept_of(record).differing(record) == ()


@given(RECORDS, RECORDS)
def test_each_part_that_differs_is_named(record: Record, other: Record) -> None:
    """Nothing is not the same as an empty key, value or header."""
    parts = {"key": (record.key, other.key), "value": (record.value, other.value)}
    parts["headers"] = (storable_headers(record), storable_headers(other))  # type: ignore[assignment] # any two parts
    assert kept_of(record).differing(other) == tuple(name for name, (a, b) in parts.items() if a != b)


def storable_headers(record: Record) -> list[tuple[str, bytes | None]]:
    return [(storable(name), value) for name, value in record.headers]


def test_a_dead_letter_under_another_topics_name_differs() -> None:
    record = Record(0, 0, None, b"k", b"{")
    assert kept_of(record, topic=False).differing(record) == ("topic",)


def test_what_postgresql_refused_is_reported_by_its_reason() -> None:
    record = Record(0, 0, None, b"k", b"{}")
    assert kept_of(record, reason="PostgreSQL refused it (23514)").trial
    assert not kept_of(record).trial


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_a_place_comes_back_from_its_key(partition: int, offset: int) -> None:
    assert dead_letters.place_of(dead_letters.place_key(partition, offset)) == (partition, offset)
