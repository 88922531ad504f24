"""Threads and background tasks whose unexpected end is logged with its stack, is counted, and ends the process.

A process without one of its threads would stay half alive. Anyone who supervises it (`orders run`) starts it again: see
docs/decisions/0028-a-lost-thread-ends-its-process.md.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Literal

import structlog

log = structlog.get_logger()

Thread = Literal["copies", "indexes", "parent", "producer", "putter"]
Task = Literal["outage", "outcomes", "questions", "startup", "topic"]
CRASHED = 70
"""The exit status: EX_SOFTWARE, an internal software error, of BSD's sysexits.h."""


def nobody(_name: str) -> None:
    """Where nobody counts."""


def nothing() -> None:
    """Where nothing is to be done."""


class Hooks:
    """What others have done with each end: `counted` gets its name; `last` comes before the process ends."""

    counted: Callable[[str], None] = staticmethod(nobody)
    last: Callable[[], None] = staticmethod(nothing)


HOOKS = Hooks()
"""Those of this process."""


def start(name: Thread, run: Callable[[], None]) -> threading.Thread:
    """Starts a daemon; an exception that leaves `run` ends the process."""
    thread = threading.Thread(target=_guarded, args=(name, run), name=name, daemon=True)
    thread.start()
    return thread


def _guarded(name: str, run: Callable[[], None]) -> None:
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the thread is lost
        thread_lost(name, error)
        end_process()


def background(name: Task, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
    """Begins a task that nobody may be waiting for; an exception that leaves it ends the process."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_done)
    return task


def _done(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("task_ended", task=task.get_name(), exc_info=error)
        HOOKS.counted(task.get_name())
        end_process()


def thread_lost(name: str, error: BaseException | None) -> None:
    """A thread ended unexpectedly, of ours or of a library: logs and counts it."""
    if structlog.is_configured():
        log.error("thread_ended", thread=name, exc_info=error)
    else:  # a command, which has no logs
        sys.stderr.write(f"orders: a bug ended the thread {name!r} ({type(error).__name__})\n")
    HOOKS.counted(name)


def end_process() -> None:
    """Ends the process at once: what a kill leaves in order, this does too."""
    HOOKS.last()
    os._exit(CRASHED)
