"""All checks, in their order: what talks to others is looked at at the same time, and given up when it hangs."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from orders import settings
from orders.doctor import installation, local, running
from orders.doctor.check import Case, Check, case, failed, ok, skipped
from orders.doctor.kafka import KafkaChecks
from orders.doctor.positions import lag, positions
from orders.doctor.postgres import PostgresChecks
from orders.errors import OrdersError
from orders.settings.loading import DEFAULT
from orders.timing import Clock, monotonic

LOOK_SECONDS = 10.0
"""How long all looks together may take."""


class Examination:
    """Checks that are made in a thread of their own, each to be had as soon as it is made."""

    def __init__(
        self, name: str, make: Callable[[], Iterable[Check]], seconds: float, clock: Clock = monotonic
    ) -> None:
        self._name = name
        self._make = make
        self._seconds = seconds
        self._until = clock() + seconds
        self._clock = clock
        self._made: SimpleQueue[Check | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()  # a daemon: one that hangs keeps nobody waiting

    def _run(self) -> None:
        try:
            for check in self._make():
                self._made.put(check)
        except OrdersError as error:
            self._made.put(failed(self._name, str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a strange machine makes fail here must not hide the rest
            self._made.put(failed(self._name, f"the look failed ({type(error).__name__} at {where(error)})"))
        finally:
            self._made.put(None)

    def checks(self) -> Iterator[Check]:
        """What is found, until nothing more comes or the time is over."""
        try:
            while check := self._made.get(timeout=max(self._until - self._clock(), 0)):
                yield check
        except Empty:
            yield failed(self._name, f"no answer within {self._seconds:g} s", "see whether it, or the way to it, hangs")


def where(error: Exception) -> str:
    """The place in the code where an error came up; its text stays out, it may quote anything."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def examine(
    environment: Mapping[str, str], options: Mapping[str, Any], seconds: float = LOOK_SECONDS
) -> Iterator[Check]:
    """Every check, as its turn comes; ends within so many seconds and little more."""
    yield from installation.look()
    try:
        looked_at = case(environment, options)
    except OrdersError as error:
        yield failed("settings", str(error))
        yield skipped("the rest", "it needs settings that can be read")
        return
    yield given(environment, options)
    yield from _examine(looked_at, seconds)


def _examine(looked_at: Case, seconds: float) -> Iterator[Check]:
    postgres, kafka = PostgresChecks(looked_at), KafkaChecks(looked_at)
    looks = [
        Examination("embedded", lambda: installation.look_for(looked_at), seconds),
        Examination("machine", lambda: local.look(looked_at), seconds),
        Examination("PostgreSQL", postgres.look, seconds),
        Examination("Kafka", kafka.look, seconds),
        Examination("system", lambda: running.look(looked_at), seconds),
    ]
    for look in looks[:-1]:
        yield from look.checks()
    yield positions(postgres.positions, kafka.topic, looked_at.settings.kafka_topic)
    yield lag(postgres.positions, kafka.topic)
    yield from looks[-1].checks()


def given(environment: Mapping[str, str], options: Mapping[str, Any]) -> Check:
    """From where settings come: options, variables, a file; unknown ones were refused before."""
    origins = {row.origin for row in settings.explain(environment, options)} - {DEFAULT}
    return ok("settings", f"given by {', '.join(sorted(origins))}" if origins else "all have their defaults")
