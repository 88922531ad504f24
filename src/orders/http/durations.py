"""How long requests took: counted by method, route and status, in the rows that the endpoints declare."""

from orders.metrics.kinds import Histogram, Layout, Values
from orders.metrics.table import LAYOUT, OTHER, UNMATCHED, Request, http_seconds


class Durations:
    """Counts into `values`, in whose layout the histogram stands.

    A method that its route does not declare counts as `_OTHER`, a route that is not declared as `unmatched`. Of each
    route the histogram has the row (`_OTHER`, route, `_OTHER`), where any answer counts that is not declared.
    """

    def __init__(self, seconds: Histogram[Request], values: Values) -> None:
        self.values = values
        self._seconds = seconds
        places = {row: values.layout.place(seconds, row) for row in seconds.rows}
        self._catch_alls = {row[1]: place for row, place in places.items() if row[2] == OTHER}
        self._declared = {(*row[:2], int(row[2])): place for row, place in places.items() if row[2] != OTHER}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        self.values.observe_at(self._seconds, self.place(method, route, status), seconds)

    def place(self, method: str, route: str, status: int) -> int:
        """The index of the first cell of the row in which an answer counts."""
        place = self._declared.get((method, route, status))
        return self._undeclared(method, route, status) if place is None else place

    def _undeclared(self, method: str, route: str, status: int) -> int:
        catch_all = self._catch_alls.get(route)
        if catch_all is None:
            return self.place(method, UNMATCHED, status)
        return self._declared.get((OTHER, route, status), catch_all)


def unread() -> Durations:
    """Durations that nobody reads."""
    seconds = http_seconds([(OTHER, UNMATCHED, OTHER)])
    return Durations(seconds, Values(Layout([seconds], LAYOUT)))
