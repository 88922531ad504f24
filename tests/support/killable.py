"""An ingest that sends itself a signal at a named point of a batch, as soon as a file says which.

Run as: python killable.py NUMBER FILE, with the settings in the environment. The file holds POINT, for SIGKILL, or
POINT:SIGNAL. The point `in memory` is inside of memory's write transaction, its writer lock held; `after many` comes
where the last that PostgreSQL was sent is `executemany`: dead letters or outcomes.
"""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orders.ingest.store
import orders.memory.shared
from orders.ingest.run import ingest
from orders.ingest.store import Plan, Transaction
from orders.memory.layout import Trees, Work
from orders.settings import load
from orders.system.shutdown import StopSignal

if TYPE_CHECKING:
    from orders.memory.layout import Txn


def main() -> None:
    number, order = int(sys.argv[1]), Path(sys.argv[2])

    def at(point: str) -> None:
        if order.exists() and order.read_text().partition(":")[0] == point:
            _, _, number = order.read_text().partition(":")
            order.unlink()
            os.kill(os.getpid(), int(number or signal.SIGKILL))

    class WatchedWork(Work):
        def __init__(self, txn: "Txn", trees: Trees, now: float) -> None:
            super().__init__(txn, trees, now)
            at("in memory")

    class WatchedTransaction(Transaction):
        def write(self, plan: Plan) -> None:
            super().write(plan)
            if (plan.refused or plan.replies) and not plan.replays:
                at("after many")

    orders.ingest.store.Transaction = WatchedTransaction  # type: ignore[misc] # as below
    orders.memory.shared.Work = WatchedWork  # type: ignore[attr-defined] # a point inside of what has none
    stop = StopSignal()
    stop.listen()
    ingest(load(os.environ), number, stop, at)


if __name__ == "__main__":
    main()
