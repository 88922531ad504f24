"""Time as a parameter: clocks, how long to wait for an answer, and how long before the next try."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from orders.errors import OrdersError, Unavailable

V = TypeVar("V")

Clock = Callable[[], float]
"""Seconds on a clock that never steps and is the same in all processes of a machine."""

monotonic: Clock = time.monotonic


def backoff(first: float = 0.1, most: float = 5.0) -> Iterator[float]:
    """Seconds to wait before each next try: doubling from `first` to `most`, each cut by up to a half at random."""
    wait = first
    while True:
        yield wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        wait = min(wait * 2, most)


async def in_time(question: Awaitable[V], seconds: float, who: str = "PostgreSQL") -> V:
    """The answer, or `Unavailable` after `seconds`.

    The question continues: a server that is stopped takes no cancellation.
    """
    task = asyncio.ensure_future(question)
    task.add_done_callback(seen)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.add_done_callback(_late)
        raise Unavailable(f"{who} does not answer in time")
    return task.result()


def seen(future: "asyncio.Future[Any]") -> None:
    """An error counts as handled even if its caller has gone."""
    if not future.cancelled():
        future.exception()


def _late(task: "asyncio.Future[Any]") -> None:
    """What a question ended with that is not waited for any more: a bug would not be seen."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, OrdersError):
        asyncio.get_running_loop().call_exception_handler({"message": "a late answer", "exception": error})
