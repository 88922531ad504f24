"""`orders run`: the whole system, started from the bottom up, kept running, and stopped from the top down."""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.resources import files
from threading import Thread
from typing import Protocol, TypeVar

import msgspec
import psutil
import structlog
from msgspec.structs import replace

from orders import __version__, logs
from orders.errors import StartError, Unavailable
from orders.kafka import clients
from orders.kafka.admin import require_group
from orders.kafka.topic import TopicView, create_topic
from orders.memory.shared import Memory
from orders.metrics.table import RESTARTS, ProcessKind, private, shared
from orders.postgres import grants
from orders.postgres.migrations import describe, migrate
from orders.readiness import Ready
from orders.settings import Settings, environment, inherited, public, without_password
from orders.system import state
from orders.system.capacity import memory_directory, require_disk, require_files, require_memory
from orders.system.children import Child, stop_all
from orders.system.claims import Claim, bind, claimed, url_of
from orders.system.probe import ask_ready
from orders.system.services import Services
from orders.system.shutdown import StopRequested, StopSignal
from orders.system.state import StartedProcess, SystemState, process_of
from orders.system.steps import Addresses, LoggedSteps, Steps
from orders.system.unheard import Unheard, seal
from orders.timing import backoff, monotonic

T = TypeVar("T")
log = structlog.get_logger()

TEND_SECONDS = 0.2
AWAY_SECONDS = 30.0
"""How long a given PostgreSQL or Kafka may be unavailable at the start."""
READY_SECONDS = 30.0
"""How long the start waits for /readyz; after that it says what is missing and continues."""
LEFT_SECONDS = 5.0
SHARES = {"serve": 0.35, "ingest": 0.5, "keep": 0.55, "kafka": 0.75, "postgres": 0.85}
"""By which part of the time for stopping each kind is ended, if need be by force."""


def run(settings: Settings) -> None:
    """Runs the system until a signal asks it to stop, then ends by that signal. Raises `OrdersError`."""
    logs.configure("run", settings.log_level, settings.log_format)
    os.umask(os.umask(0o077) | 0o022)  # what we write is for nobody else to change
    stop = StopSignal()
    stop.listen()
    with suppress(StopRequested), ExitStack() as held:
        steps = LoggedSteps(stop) if settings.log_format == "json" else Steps(stop)
        System(settings, stop, steps, held).run()
    logs.flush()
    stop.obey()


class Supervised(Protocol):
    """What is kept running."""

    @property
    def process(self) -> StartedProcess | None: ...
    def tend(self) -> bool: ...


class System:
    """PostgreSQL, Kafka and our processes. What `held` holds is let go in the opposite order."""

    def __init__(self, settings: Settings, stop: StopSignal, steps: Steps, held: ExitStack) -> None:
        self._settings = settings
        self._stop = stop
        self._steps = steps
        self._held = held
        self._services = Services(settings, steps, stop, self._restarted)
        self._children: list[Child] = []
        self._unheard = Unheard(self._seal)
        self._values = private()
        self._url = ""
        self._claim: Claim
        self._memory: Memory
        self._is_saved = True
        self._started_at = monotonic()

    def run(self) -> None:
        data = self._settings.data
        clients.check(self._settings.kafka)
        self._claim = self._held.enter_context(claimed(data))
        self._require_room()
        self._end_leftovers()
        http = self._held.enter_context(bind(self._settings.http_host, self._settings.http_port))
        self._url = url_of(http)
        self._held.callback(self._steps.step, "stopped")
        self._held.callback(self._forget_state)
        try:
            self._start_services()
            self._prepare_postgres()
            self._prepare_topic()
            self._make_memory()
            self._start_children(http)
            self._wait_until_ready()
            self._say_where()
            self._tend()
        finally:
            self._stop.begin()
            self._steps.step("stopping")

    # -- the start, in order --

    def _require_room(self) -> None:
        """Raises `StartError` when embedded services would lack their programs, files, disk or memory."""
        if self._services.kept:
            self._services.require_programs()
            require_files()
            require_disk(self._settings.data)
            data = self._settings.data
            if not state.alive(data, state.load(data)):  # else what they hold comes free when they are ended
                require_memory()

    def _end_leftovers(self) -> None:
        """Ends what a killed supervisor left; an embedded service ends its own."""
        data = self._settings.data
        found = state.load(data)
        for each in state.foreign(data, found):
            self._steps.step(
                f"leaving {each.kind} alone (process {each.pid}): it is of the directory that {data} was copied from"
            )
        for each in state.alive(data, found):
            if each.kind in state.SERVICES:
                continue
            self._steps.step(f"ending {each.kind} (process {each.pid}), which an earlier start left")
            with suppress(psutil.Error):
                process = psutil.Process(each.pid)
                process.kill()  # nothing is lost: ingest's state is PostgreSQL's
                process.wait(LEFT_SECONDS)

    def _start_services(self) -> None:
        self._held.callback(lambda: self._services.stop(SHARES))
        self._settings = self._services.start()

    def _prepare_postgres(self) -> None:
        applied = self._retried(lambda: migrate(self._settings.postgres_dsn))
        self._steps.step(describe(applied))
        self._retried(lambda: grants.require(self._settings))

    def _prepare_topic(self) -> None:
        """Makes the topic in the embedded Kafka; elsewhere it must be there, and open to us."""
        kafka, topic, partitions = (
            self._settings.kafka,
            self._settings.kafka_topic,
            self._settings.kafka_partitions,
        )
        if "kafka_bootstrap" in self._services.gives:
            made = self._retried(lambda: create_topic(kafka, topic, partitions))
            self._steps.step(f"topic {topic}: made with {partitions} partitions" if made else f"topic {topic}: there")
        else:
            quiet = {"log_level": "0", **kafka}  # what its client would log is in the error
            view = self._retried(lambda: TopicView(quiet, topic).look("Read", "Write"))
            require_group(kafka, self._settings.kafka_group)
            self._steps.step(f"topic {topic}: there with {len(view.ends)} partitions")
        if copies := self._settings.dead_letters_topic:
            self._prepare_copies(copies)

    def _prepare_copies(self, topic: str) -> None:
        """The same for the topic of copies."""
        kafka = {"log_level": "0", **self._settings.kafka}
        if "kafka_bootstrap" in self._services.gives:
            self._retried(lambda: create_topic(kafka, topic, self._settings.kafka_partitions))
        else:
            self._retried(lambda: TopicView(kafka, topic).look("Write"))
        self._steps.step(f"topic {topic}: there, for copies of dead letters")

    def _make_memory(self) -> None:
        budget = self._settings.memory_bytes
        directory, remark = self._held.enter_context(memory_directory(self._settings.data, budget))
        path = directory / "memory"
        # Open for good: to open it again would hold Python's lock for as long as another process has the writer lock.
        self._memory = Memory.create(path, budget)
        self._memory.seal(monotonic())  # until the keeper listens
        self._values = shared(path)
        self._settings = replace(self._settings, memory_path=str(path))
        self._steps.step(f"memory: {budget // 2**20} MB in {directory}{remark}")

    def _start_children(self, http: socket.socket) -> None:
        alive, self._life = os.pipe()  # our end is never closed: it ends with us, however we go, and they with it

        def made(kind: ProcessKind, *arguments: str, handles: Sequence[int] = ()) -> Child:
            command = ("--parent-fd", str(alive), *arguments)
            theirs = self._settings.serving if kind == "serve" else self._settings.writing
            variables = inherited(os.environ) | environment(theirs)
            return Child(kind, command, variables, [alive, self._claim.member, *handles], restarted=self._restarted)

        ingests, serves = range(self._settings.ingest_processes), range(self._settings.http_workers)
        self._children = [
            made("keep"),
            *(made("ingest", "--number", str(number)) for number in ingests),
            *(made("serve", "--socket-fd", str(http.fileno()), handles=[http.fileno()]) for _ in serves),
        ]
        self._held.callback(self._stop_children)
        self._held.callback(self._drain, http)
        for child in self._children:
            child.start()
            self._stop.check()
        self._save_state()
        self._steps.step(f"{', '.join(child.kind for child in self._children)}: started")

    def _wait_until_ready(self) -> None:
        until, ready = monotonic() + READY_SECONDS, self._ask_ready()
        with self._steps.counted("restoring orders") as bar:
            while not ready.ready and monotonic() < until:
                ready = self._ask_ready()
                bar.at(ready.restore.done, ready.restore.total)
        self._steps.step("ready" if ready.ready else f"not ready yet: {ready.missing}")

    def _ask_ready(self) -> Ready:
        """Asks in a thread, and tends meanwhile."""
        answers: list[Ready] = []
        asking = Thread(target=lambda: answers.append(ask_ready(self._url)), name="ready", daemon=True)
        asking.start()
        self._tend_once()
        while asking.is_alive():
            self._tend_once()
        return answers[0]

    def _say_where(self) -> None:
        original = files("orders").joinpath("original.json").read_text("utf-8")
        uid = msgspec.json.decode(original)["order_uid"]
        postgres = without_password(self._settings.postgres_dsn)
        addresses = Addresses(self._url, self._settings.kafka_bootstrap, self._settings.kafka_topic, postgres)
        self._steps.found_at(addresses, original.strip(), uid)

    # -- the life --

    @property
    def _kept(self) -> Sequence[Supervised]:
        return [*self._services.kept, *self._children]

    def _restarted(self, kind: ProcessKind) -> None:
        self._values.add(RESTARTS, kind)

    def _tend(self) -> None:
        while True:
            self._tend_once()

    def _tend_once(self) -> None:
        """Starts again what ended; raises `StopRequested` to stop, `StartError` when the data were moved."""
        if self._claim.is_moved():
            raise StartError(
                f"{self._settings.data} was moved or replaced while the system ran, which has ended: start it again, "
                "with --data-dir where it is now"
            )
        if sum(each.tend() for each in self._kept) or not self._is_saved:
            self._save_state()
        self._tend_memory()
        self._stop.wait(TEND_SECONDS)
        self._stop.check()

    def _tend_memory(self) -> None:
        """Empties memory while no keeper runs, as soon as PostgreSQL answers."""
        keepers = [child for child in self._children if child.kind == "keep"]
        self._unheard.tend(heard=all(keeper.works for keeper in keepers))

    def _seal(self, since: float) -> None:
        seal(self._settings.postgres_dsn, self._memory, since)

    def _save_state(self) -> None:
        data, settings = self._settings.data, self._settings
        running = [each.process for each in self._kept]
        password = "postgres/password" if "postgres_dsn" in self._services.gives else ""
        processes = (process_of("run", os.getpid()), *(each for each in running if each))
        try:
            state.save(
                data, SystemState(processes, self._url, public(settings), password, __version__, self._started_at)
            )
        except OSError as error:
            if self._is_saved:
                log.error("state_not_saved", reason=error.strerror)  # noqa: TRY400 - the reason says all
            self._is_saved = False  # until there is room again
        else:
            self._is_saved = True

    def _forget_state(self) -> None:
        if not self._claim.is_moved():
            state.forget(self._settings.data)

    def _retried(self, action: Callable[[], T]) -> T:
        """Tries again while PostgreSQL or Kafka is unavailable, for a while. Raises `StartError`, `Misconfigured`."""
        until, waits, said = monotonic() + AWAY_SECONDS, backoff(), False
        while True:
            try:
                return action()
            except Unavailable as error:
                if not said:
                    self._steps.step(f"waiting for up to {AWAY_SECONDS:g} s: {error}")
                    said = True
                if monotonic() > until:
                    raise StartError(f"{error}; is its address right?") from None
                self._stop.wait(next(waits))
                self._stop.check()

    # -- the end, in order --

    def _drain(self, http: socket.socket) -> None:
        """All serve processes are unready at once but continue for a while, as ingest does for late POSTs."""
        http.close()  # the children's are open: who comes when they have ended is refused, and waits for nobody
        serves, seconds = [each for each in self._children if each.kind == "serve"], self._settings.drain_seconds
        if not seconds:
            return
        self._steps.step(f"draining: HTTP continues for {seconds:g} s; a second signal ends that")
        for child in serves:
            child.ask_to_stop()

        def ended() -> bool:
            self._tend_memory()
            return not any(child.process for child in serves)

        self._stop.drain(seconds, ended)

    def _stop_children(self) -> None:
        """HTTP, ingest, keeper; each has its part of the time."""
        for kind in ("serve", "ingest", "keep"):
            stop_all([each for each in self._children if each.kind == kind], self._stop.left(SHARES[kind]))
