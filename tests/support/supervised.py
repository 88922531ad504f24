"""A whole system under `orders run`, on services that outlive it, as the checker and the watchers want it."""

import json
import random
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from orders.memory.shared import Memory
from orders.settings import Settings
from support.machine import free_port
from support.system import ROOT, System, left_of
from support.waiting import wait_for

STOPPING = ROOT / "tests" / "support" / "stopping"


class Supervised:
    """`orders run` with two processes of each kind that there may be more of; its address stays over its starts."""

    def __init__(self, folder: Path, dsn: str, bootstrap: str, topic: str) -> None:
        self.data = folder / "data"
        self.settings = Settings(
            data_dir=str(self.data),
            http_port=free_port(),
            http_workers=2,
            ingest_processes=2,
            kafka_bootstrap=bootstrap,
            kafka_topic=topic,
            kafka_group=f"group-{topic}",
            postgres_dsn=dsn,
            memory_bytes=16 * 2**20,
        )
        self._given = ["http_port", "http_workers", "ingest_processes", "kafka_bootstrap", "kafka_topic"]
        self._given += ["kafka_group", "postgres_dsn", "memory_bytes"]
        self._pause = folder / "stop-in-memory"
        self.system: System

    def begin(self) -> None:
        """Starts it, and waits until it says that it is ready."""
        options = [w for n in self._given for w in (f"--{n.replace('_', '-')}", str(getattr(self.settings, n)))]
        path = {"PYTHONPATH": f"{STOPPING}:{ROOT / 'src'}", "STOP_IN_MEMORY": str(self._pause)}
        self.system = System(self.data, options, path)
        self.system.wait_until_started()

    def end(self) -> None:
        """Ends what is left of it."""
        self.system.process.kill()
        self.system.process.wait()
        for process in left_of(self.data):
            process.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def memory(self) -> Path:
        return Path(json.loads((self.data / "state.json").read_bytes())["settings"]["memory_path"])

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs, by kind and number."""
        if not (self.data / "state.json").exists():
            return {}
        running = json.loads((self.data / "state.json").read_bytes())["processes"]
        return {f"{each['kind']} {number}": each["pid"] for number, each in enumerate(running) if each["kind"] != "run"}

    def stop_in_memory(self, kind: str, emptied: Memory | None = None) -> int:
        """Has a process of a kind stop inside of a write to memory, and waits for that; its process id.

        Memory is `emptied` before where it must miss: HTTP writes to it after misses alone.
        """
        return wait_for(partial(self._stopped, kind, emptied), f"{kind} stops while it writes to memory", 60)

    def _stopped(self, kind: str, emptied: Memory | None) -> int:
        """The process of a kind that was told to stop, once it has; 0 before, and when it ended meanwhile."""
        with suppress(psutil.NoSuchProcess, IndexError, AssertionError):
            # One of them may have none of the load: a client's connection is one worker's.
            pid = random.choice([pid for name, pid in self.pids.items() if name.split()[0] == kind])
            process = psutil.Process(pid)
            if emptied is not None:
                emptied.empty()
            self._pause.write_text(str(pid))
            wait_for(lambda: process.status() == psutil.STATUS_STOPPED, "its stop", 1)
            return pid
        return 0

    def tell(self, number: signal.Signals) -> None:
        self.system.process.send_signal(number)
