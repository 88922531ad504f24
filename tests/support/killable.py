"""An ingest that ends itself with SIGKILL at a named point of a batch, as soon as a file says which.

Run as: python killable.py NUMBER FILE, with the settings in the environment.
"""

import os
import signal
import sys
from pathlib import Path

from orders.pipeline import ingest
from orders.settings import load
from orders.system.stopping import Stop


def main() -> None:
    number, order = int(sys.argv[1]), Path(sys.argv[2])

    def at(point: str) -> None:
        if order.exists() and order.read_text() == point:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    stop = Stop()
    stop.listen()
    ingest(load(os.environ), number, stop, at)


if __name__ == "__main__":
    main()
