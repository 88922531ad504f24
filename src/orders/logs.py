"""Logs: one line per event on standard error, for a person or as JSON.

An event has a stable name (`action` in JSON), the time, the kind of process and its fields. What libraries and Python
itself say goes the same way (`libraries`). Of a flood the first lines are written and the rest counted. An
exception is its kind and the places it passed: its text stays out, since libraries quote values in it, and values
are personal data.
"""

import atexit
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from orders import threads
from orders.libraries import TEMPLATE, place, redirect, without_addresses
from orders.log_sampling import Floods, Held, LineKind
from orders.timing import Clock, monotonic

log = structlog.get_logger()

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
STABLE = ("time", "level", "process", "action", "request_id", "trace_id", "reason")
"""Keys that stand first in JSON; those up to `action` are always there."""
OF_A_REQUEST = ("request_id", "trace_id")
SUPPRESSED = "lines_suppressed"
"""The action of the line that says how many were held back."""
REASONS = ("reason", "exception", "kind", "text")
"""What distinguishes lines of one action, the first that is there."""


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


class Sampling:
    """A processor that lets the first few lines of a flood through and says later how many it held back.

    A line's kind is its action and its reason; what was meant for `debug` goes through as it is. `counted` is called
    with the level of each line that is held back, one at a time.
    """

    def __init__(self, floods: Floods, clock: Clock = monotonic) -> None:
        self._floods = floods
        self._clock = clock
        self._lock = threading.RLock()  # what Python warns of meanwhile, in this thread, is a line too
        self._timer: threading.Timer | None = None
        self.counted: Callable[[str], None] = ignored

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The event as it was, or `DropEvent`."""
        kind = kind_of(event)
        if event["level"] == "debug":
            return event
        if event["event"] == SUPPRESSED:
            return {name: value for name, value in event.items() if name not in OF_A_REQUEST}
        with self._lock:
            over, passes = self._take(kind, event["level"])
        log_suppressed(over)
        if not passes:
            raise structlog.DropEvent
        return event

    def _take(self, kind: LineKind, level: str) -> tuple[list[Held], bool]:
        now = self._clock()
        over, passes = self._floods.ended(now), self._floods.passes(kind, level, now)
        if not passes:
            self.counted(level)
            self._arm(now)
        return over, passes

    def _arm(self, now: float) -> None:
        """A window's end is logged even if nothing else is any more."""
        if self._timer is None and (end := self._floods.next_end) is not None:
            timer = threading.Timer(max(end - now, 0.0), self._end)
            timer.daemon = True
            with suppress(RuntimeError):  # no thread can be had: it is logged with the next line, or at the end
                timer.start()
                self._timer = timer

    def _end(self) -> None:
        with self._lock:
            now, self._timer = self._clock(), None
            over = self._floods.ended(now)
            self._arm(now)
        log_suppressed(over)

    def flush(self) -> None:
        """Logs what was held back until now."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            over = self._floods.flush(self._clock())
        log_suppressed(over)


def ignored(_level: str) -> None:
    """Where nobody counts."""


def kind_of(event: EventDict) -> LineKind:
    """Action and reason of a line; what a library says is one kind by its template, whatever it fills in."""
    template = event.pop(TEMPLATE, None)
    reasons = (template, *(event.get(name) for name in REASONS))
    return str(event["event"]), next((str(reason) for reason in reasons if reason is not None), "")


def log_suppressed(over: Iterable[Held]) -> None:
    """One line for each window that held lines back."""
    for (action, reason), level, lines, seconds in over:
        structlog.get_logger().log(
            LEVELS.get(level, logging.ERROR),
            SUPPRESSED,
            of=action,
            reason=reason,
            lines=lines,
            seconds=round(seconds, 1),
        )


SAMPLING = Sampling(Floods())
"""That of this process."""


def flush() -> None:
    """Logs what was held back; to be called before a process ends by a signal, which runs nothing else."""
    SAMPLING.flush()


def configure(process: str, level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Sets up the logs of this process; `form` is `console` (in colour on a terminal, see no-color.org) or `json`."""
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            brief_exception,
            SAMPLING,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            named(process),
            *renderers(form, coloured=stream.isatty() and not os.environ.get("NO_COLOR")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=Patient(stream)),  # type: ignore[arg-type] # it only writes and flushes
        cache_logger_on_first_use=False,
    )
    redirect(LEVELS[level])
    atexit.unregister(flush)
    atexit.register(flush)
    threads.HOOKS.last = flush


def tell_end(process: str, reason: str, status: int) -> None:
    """Why this process ends, also where it ends before its logs are set up; they are JSON."""
    if not structlog.is_configured():
        configure(process, "info", "json")
    log.error("ended", reason=reason, status=status)


def renderers(form: str, *, coloured: bool) -> list[Processor]:
    if form == "json":
        return [in_json, structlog.processors.JSONRenderer()]
    return [for_a_person, structlog.dev.ConsoleRenderer(colors=coloured, timestamp_key="time")]


def in_json(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The stable keys first, and nothing that JSON has no word for."""
    event["action"] = event.pop("event")
    names = [*(name for name in STABLE if name in event), *(name for name in event if name not in STABLE)]
    return {name: plain(event[name]) for name in names}


def plain(value: Any) -> Any:
    """A value that is JSON: no half surrogate, no NaN; what is none of JSON's kinds as text."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case list() | tuple():
            return [plain(each) for each in value]
    return plain(
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else without_addresses(repr(value))
    )


def for_a_person(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Text without what would move a terminal's cursor or begin another line."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


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
        event["exception"] = f"{type(error).__name__} at {place(error.__traceback__)}"
    return event
