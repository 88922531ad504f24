"""Logs: one line per event on standard error, for a person or as JSON.

An event has a stable name (`action` in JSON), the time, the kind of process and its fields. What Python's
own `logging` and `warnings` say goes the same way. An exception is its kind and the places it passed: its
text stays out, since libraries quote values in it, and values are personal data.
"""

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from orders.timing import Clock, monotonic

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FRAMES = 8


class Patient:
    """Standard error that takes no harm when its terminal or pipe is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class Through(logging.Handler):
    """Hands what Python's `logging` gets to structlog, under the name of its logger."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.name, text=record.getMessage(), exc_info=record.exc_info)


class Sparse(logging.Filter):
    """Lets one record through in a while: Kafka's client says every second that the brokers are still away."""

    def __init__(self, seconds: float = 30.0, clock: Clock = monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._next = clock()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        """Whether it goes through."""
        if self._clock() < self._next:
            return False
        self._next = self._clock() + self._seconds
        return True


def configure(process: str, level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Sets up the logs of this process; `form` is `console` (in colour on a terminal, see no-color.org) or `json`."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            named(process),
            brief_exception,
            *renderers(form, coloured=stream.isatty() and not os.environ.get("NO_COLOR")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=Patient(stream)),  # type: ignore[arg-type] # it only writes and flushes
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(LEVELS[level], logging.WARNING), handlers=[Through()], force=True)
    kafka = logging.getLogger("librdkafka")
    kafka.setLevel(logging.ERROR)  # its warnings are of tries that it makes again by itself
    kafka.filters = [Sparse()]
    logging.captureWarnings(True)


def renderers(form: str, *, coloured: bool) -> list[Processor]:
    if form == "json":
        return [structlog.processors.EventRenamer("action"), structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [structlog.dev.ConsoleRenderer(colors=coloured, timestamp_key="time")]


def named(process: str) -> Processor:
    """A processor that says which process speaks."""

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def brief_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """`exc_info` as one field: `ValueError at api.py:12 < server.py:3`, the innermost place first."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exception() if given is True else given and given[1]
    if error:
        event["exception"] = f"{type(error).__name__} at {places(error.__traceback__)}"
    return event


def places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
