"""Put before all else on the path of a process: it stops itself inside of a write to memory when a file has its id.

The file is named in STOP_IN_MEMORY. Memory's writer lock is held then, and nobody else can write.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orders.memory.layout import Trees, Txn


def watch(file: Path) -> None:
    import orders.memory.shared  # noqa: PLC0415 - only where somebody asks for it
    from orders.memory.layout import Work  # noqa: PLC0415 - as above

    class WatchedWork(Work):
        def __init__(self, txn: "Txn", trees: "Trees", now: float) -> None:
            super().__init__(txn, trees, now)
            with suppress(FileNotFoundError):
                if file.read_text() == str(os.getpid()):
                    file.unlink()
                    os.kill(os.getpid(), signal.SIGSTOP)

    orders.memory.shared.Work = WatchedWork  # type: ignore[attr-defined] # a point inside of what has none


if "STOP_IN_MEMORY" in os.environ and {"ingest", "keep", "serve"} & {*sys.orig_argv}:
    watch(Path(os.environ["STOP_IN_MEMORY"]))
