"""What the write path counts of a batch: how each try ended, and what became of its records once they are committed."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from orders.errors import Misconfigured, OrdersError, PositionsMoved, Rejected
from orders.ingest.fold import Decision
from orders.ingest.store import Plan
from orders.metrics.kinds import Values
from orders.metrics.table import COMMIT_SECONDS, DEAD_LETTERS, KEYLESS, READABLE_SECONDS, RECORDS, Committed
from orders.order import Content
from orders.record import Batch, Entry
from orders.timing import Clock, monotonic

MILLISECOND = 0.001


class Counts:
    """Counts for one writer. `wall` is the clock that records' timestamps are made with."""

    def __init__(self, values: Values, clock: Clock = monotonic, wall: Clock = time.time) -> None:
        self._values = values
        self._clock = clock
        self._wall = wall

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Around one transaction."""
        began = self._clock()
        result: Committed = "committed"
        try:
            yield
        except OrdersError as error:
            result = result_of(error)
            raise
        finally:
            self._values.observe(COMMIT_SECONDS, result, self._clock() - began)

    def committed(self, batch: Batch, decisions: Sequence[Decision]) -> None:
        """The records of a batch that is committed, by their outcomes."""
        for outcome, count in Counter(each.outcome for each in decisions).items():
            self._values.add(RECORDS, outcome, count)
        for fault, count in Counter(
            each.invalid.fault for each in decisions if each.invalid and not each.replay
        ).items():
            self._values.add(DEAD_LETTERS, fault, count)
        self._values.add(KEYLESS, None, sum(map(is_keyless, batch.entries)))

    def readable(self, plan: Plan) -> None:
        """The orders of a batch that are in memory now. A producer's clock may be ahead of ours."""
        now = self._wall()
        times = [numbered.write.origin.time for numbered in plan.writes]
        ages = [max(0.0, now - time * MILLISECOND) for time in times if time is not None]
        self._values.observe_all(READABLE_SECONDS, None, ages)


def result_of(error: OrdersError) -> Committed:
    if isinstance(error, PositionsMoved):
        return "moved"
    if isinstance(error, Rejected):
        return "rejected"
    return "misconfigured" if isinstance(error, Misconfigured) else "unavailable"


def is_keyless(entry: Entry) -> bool:
    """Whether an order came under another key than its uid, or under none."""
    return isinstance(entry.content, Content) and entry.record.key != entry.content.row.order_uid.encode()
