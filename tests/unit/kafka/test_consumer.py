"""What becomes of a message of Kafka's client, also where the client cannot give all of it."""

from typing import cast

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from orders.kafka.consumer import record_of


class Given:
    """A message as the client gives it; its headers may fail as the client's do."""

    def __init__(self, error: Exception | None = None, time: int = 5) -> None:
        self._error, self._time = error, time

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._time

    def headers(self) -> list[tuple[str, bytes | None]]:
        if self._error:
            raise self._error
        return [("n", None)]

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 2

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def leader_epoch(self) -> int:
        return 0


def failed(cause: Exception) -> SystemError:
    """An error as C code makes it that returns with another one set."""
    error = SystemError("returned a result with an exception set")
    error.__cause__ = cause
    return error


NOT_UTF_8 = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


@pytest.mark.parametrize("error", [NOT_UTF_8, failed(NOT_UTF_8)], ids=["plain", "wrapped"])
def test_header_names_that_are_not_utf_8_are_lost_and_the_record_is_not(error: Exception) -> None:
    record = record_of(cast("Message", Given(error)))
    assert (record.key, record.value, record.headers, record.headers_lost) == (b"k", b"v", (), True)


def test_another_failure_of_the_client_is_not_hidden() -> None:
    with pytest.raises(SystemError):
        record_of(cast("Message", Given(failed(MemoryError()))))


@pytest.mark.parametrize(("time", "expected"), [(-1, None), (-2, None), (0, 0), (5, 5)])
def test_a_time_below_zero_is_none(time: int, expected: int | None) -> None:
    record = record_of(cast("Message", Given(time=time)))
    assert (record.time, record.headers) == (expected, (("n", None),))
