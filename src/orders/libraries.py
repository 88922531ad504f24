"""What libraries and Python itself would write, as events of ours with plain fields.

An object in a message becomes the name of its type: what `repr` shows of it is an address, or values, and values are
personal data. Of several lines the first one is taken.
"""

import asyncio
import logging
import re
import sys
import threading
import traceback
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog

from orders import threads

TEMPLATE = "_template"
"""The key of what distinguishes the lines of one action where words are filled in; not written."""
FRAMES = 8
KAFKA = "librdkafka"
LEVELS = {
    KAFKA: logging.ERROR,  # its warnings are of tries that it makes again by itself
    "psycopg.pool": logging.ERROR,  # each try to connect: the processes log outages themselves
}
"""The least level of a library's log, where that is not `warning`."""
ADDRESS = re.compile(r" (?:object )?at 0x[0-9a-fA-F]+")

log = structlog.get_logger()


class Through(logging.Handler):
    """Hands what Python's `logging` gets to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        action, fields = fields_of(record.name, template, record.args)
        fields |= {TEMPLATE: fields.get("facility", template), "exc_info": record.exc_info}
        structlog.get_logger().log(record.levelno, action, **fields)


def fields_of(library: str, template: str, values: Any) -> tuple[str, dict[str, Any]]:
    """The action and the fields of a library's line."""
    match values:
        case (str(facility), str(client), str(text)) if library == KAFKA:
            return "kafka_client", {"facility": facility, "client": client, "text": text}
    return "library_log", {"library": library, "text": words(template, values)}


def words(template: str, values: Any) -> str:
    """A message of `logging`, its values filled in."""
    plain = (
        {k: plainly(v) for k, v in values.items()} if isinstance(values, dict) else tuple(map(plainly, values or ()))
    )
    try:
        text = template % plain if plain else template
    except (TypeError, ValueError, KeyError):  # a library's own mistake, or a number that is a type's name now
        text = template
    return without_addresses(text)


def plainly(value: object) -> object:
    return value if isinstance(value, str | int | float | None) else type(value).__name__


def without_addresses(text: str) -> str:
    """The first line, without places in this process's memory."""
    return ADDRESS.sub("", text.strip().partition("\n")[0])


def place(trace: TracebackType | None) -> str:
    """Where an exception passed, the innermost place first: `api.py:12 < server.py:3`."""
    frames = traceback.extract_tb(trace)[-FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def show_warning(  # noqa: PLR0917 - the signature is that of `warnings.showwarning`
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of Python's, in place of `warnings.showwarning`."""
    del file, line
    where = f"{Path(filename).name}:{lineno}"
    log.warning("python_warning", kind=category.__name__, place=where, text=without_addresses(str(message)))


def unhandled(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """What ends the process, in place of `sys.excepthook`."""
    log.error("unhandled_exception", exc_info=error)


def ignored(found: "sys.UnraisableHookArgs") -> None:
    """What Python can raise to nobody, as in `__del__`, in place of `sys.unraisablehook`."""
    what = type(found.object).__name__ if found.object is not None else ""
    log.error("exception_ignored", what=getattr(found.object, "__qualname__", what), exc_info=found.exc_value)


def thread_ended(found: threading.ExceptHookArgs) -> None:
    """What ends a thread that is none of `threads`, in place of `threading.excepthook`."""
    threads.thread_lost(found.thread.name if found.thread else "", found.exc_value)


def in_loop(_loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
    """What nobody handles in an event loop, as its exception handler: a callback's, or a task's that nobody awaits."""
    error = found.get("exception")
    text = "a bug" if error else without_addresses(str(found.get("message")))  # asyncio's own shows a callback's values
    log.error("loop_error", text=text, exc_info=error)
    threads.HOOKS.counted("")


def redirect(level: int) -> None:
    """From now on nothing of these is written anywhere else; libraries' lines from `level` on, warnings at least."""
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[Through()], force=True)
    for name, least in LEVELS.items():
        logging.getLogger(name).setLevel(least)
    warnings.showwarning = show_warning
    sys.excepthook = unhandled
    sys.unraisablehook = ignored
    threading.excepthook = thread_ended
