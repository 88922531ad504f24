"""Outages as a log has them: each reason is logged once in an outage, its end once, with how long it lasted."""

from orders.timing import Clock, monotonic

MOST_REASONS = 10
"""Reasons that are logged of one outage: a bound of the memory that ever new ones take."""


class Outage:
    """Of PostgreSQL or Kafka, as far as one part of a process needs them. Not thread-safe; logs nothing itself."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._reasons = set[str]()

    def is_news(self, reason: str) -> bool:
        """It lasts, for this reason; whether that is to be logged."""
        if self._since is None:
            self._since = self._clock()
        if reason in self._reasons or len(self._reasons) == MOST_REASONS:
            return False
        self._reasons.add(reason)
        return True

    def end(self) -> float | None:
        """It is over; how many seconds it lasted, or None where there was none."""
        if self._since is None:
            return None
        lasted, self._since = self._clock() - self._since, None
        self._reasons.clear()
        return round(lasted, 2)
