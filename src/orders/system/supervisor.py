"""`orders run`: the whole system, started from the bottom up, kept running, and stopped from the top down."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.resources import files
from threading import Thread
from typing import Protocol, TypeVar

import msgspec
import psutil
from msgspec.structs import asdict, replace

from orders import logs
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.errors import Away, StartError
from orders.memory import Memory
from orders.migrations import migrate
from orders.settings import Settings, environment, without_password
from orders.system import state
from orders.system.children import Child, Embedded, stop_all, wait_until_up
from orders.system.client import Ready, ask_ready
from orders.system.place import bind, claimed, memory_directory, url_of
from orders.system.state import Process, State, process_of
from orders.system.steps import Steps
from orders.system.stopping import Stop, Stopped
from orders.timing import backoff, monotonic
from orders.topic import TopicView, create_topic

T = TypeVar("T")

TEND_SECONDS = 0.2
AWAY_SECONDS = 30.0
"""How long a given PostgreSQL or Kafka may be away at the start."""
READY_SECONDS = 30.0
"""How long the start waits for /readyz; after that it says what is missing and goes on."""
LEFT_SECONDS = 5.0
SHARES = {"serve": 0.3, "ingest": 0.5, "keep": 0.55, "kafka": 0.75, "postgres": 0.85}
"""By which part of the time for stopping each kind is ended, if need be by force."""


def run(settings: Settings) -> None:
    """Runs the system until a signal asks it to stop, then ends by that signal. Raises `OrdersError`."""
    logs.configure("run", settings.log_level, settings.log_format)
    stop = Stop()
    stop.listen()
    with suppress(Stopped), ExitStack() as held:
        System(settings, stop, Steps(stop), held).run()
    stop.obey()


class Kept(Protocol):
    """What is kept running."""

    @property
    def process(self) -> Process | None: ...
    def tend(self) -> bool: ...


class System:
    """PostgreSQL, Kafka and our processes. What `held` holds is let go in the opposite order."""

    def __init__(self, settings: Settings, stop: Stop, steps: Steps, held: ExitStack) -> None:
        self._settings = settings
        self._stop = stop
        self._steps = steps
        self._held = held
        self._services: list[Embedded] = []
        self._children: list[Child] = []
        self._embedded: frozenset[str] = frozenset()
        """Settings that came from embedded services."""
        self._url = ""

    def run(self) -> None:
        data = self._settings.data
        self._held.enter_context(claimed(data))
        self._end_leftovers()
        http = self._held.enter_context(bind(self._settings.http_host, self._settings.http_port))
        self._url = url_of(http)
        self._held.callback(self._steps.step, "stopped")
        self._held.callback(state.forget, data)
        try:
            self._start_services()
            self._prepare_postgres()
            self._prepare_topic()
            self._make_memory()
            self._start_children(http.fileno())
            self._wait_until_ready()
            self._say_where()
            self._tend()
        finally:
            self._stop.begin()
            self._steps.step("stopping")

    # -- the start, in order --

    def _end_leftovers(self) -> None:
        """Ends what a killed supervisor left; an embedded service ends its own."""
        left = [each for each in state.load(self._settings.data).processes if each.kind not in ("kafka", "postgres")]
        for each in state.alive(left):
            self._steps.step(f"ending {each.kind} (process {each.pid}), which an earlier start left")
            with suppress(psutil.Error):
                process = psutil.Process(each.pid)
                process.kill()  # nothing is lost: ingest's state is PostgreSQL's
                process.wait(LEFT_SECONDS)

    def _start_services(self) -> None:
        """PostgreSQL and Kafka at the same time, except those whose address is given."""
        data = self._settings.data
        addresses: dict[str, Callable[[], str]] = {}
        if not self._settings.postgres_dsn:
            postgres = PostgresService(data / "postgres")
            self._services.append(Embedded("postgres", "PostgreSQL", postgres, self._steps, self._stop))
            addresses["postgres_dsn"] = lambda: postgres.dsn
        if not self._settings.kafka_bootstrap:
            kafka = KafkaService(data / "kafka")
            self._services.append(Embedded("kafka", "Kafka", kafka, self._steps, self._stop))
            addresses["kafka_bootstrap"] = lambda: kafka.bootstrap
        self._held.callback(self._stop_services)
        wait_until_up(self._services, self._stop, lambda service: self._steps.step(f"{service.name} answers"))
        self._settings = replace(self._settings, **{name: known() for name, known in addresses.items()})
        self._embedded = frozenset(addresses)

    def _prepare_postgres(self) -> None:
        applied = self._retried(lambda: migrate(self._settings.postgres_dsn))
        self._steps.step(f"schema: applied {', '.join(applied)}" if applied else "schema: up to date")

    def _prepare_topic(self) -> None:
        """Makes the topic in the embedded Kafka; elsewhere it must be there, and open to us."""
        kafka, topic, partitions = (
            self._settings.kafka,
            self._settings.kafka_topic,
            self._settings.kafka_partitions,
        )
        if "kafka_bootstrap" in self._embedded:
            made = self._retried(lambda: create_topic(kafka, topic, partitions))
            self._steps.step(f"topic {topic}: made with {partitions} partitions" if made else f"topic {topic}: there")
        else:
            view = self._retried(lambda: TopicView(kafka, topic).look(reading=True))
            self._steps.step(f"topic {topic}: there with {len(view.ends)} partitions")

    def _make_memory(self) -> None:
        budget = self._settings.memory_bytes
        directory = self._held.enter_context(memory_directory(self._settings.data, 2 * budget))
        path = directory / "memory"
        Memory.create(path, budget).close()
        self._settings = replace(self._settings, memory_path=str(path))
        self._steps.step(f"memory: {budget // 2**20} MB in {directory}")

    def _start_children(self, http: int) -> None:
        alive, self._life = os.pipe()  # our end is never closed: it ends with us, however we go, and they with it
        variables = os.environ | environment(self._settings)
        parent = ("--parent-fd", str(alive))
        self._children = [
            Child("keep", parent, variables, [alive]),
            *(
                Child("ingest", (*parent, "--number", str(number)), variables, [alive])
                for number in range(self._settings.ingest_processes)
            ),
            *(
                Child("serve", (*parent, "--socket-fd", str(http)), variables, [alive, http])
                for _ in range(self._settings.http_workers)
            ),
        ]
        self._held.callback(self._stop_children)
        for child in self._children:
            child.start()
            self._stop.check()
        self._save_state()
        self._steps.step(f"{', '.join(child.kind for child in self._children)}: started")

    def _wait_until_ready(self) -> None:
        until, ready = monotonic() + READY_SECONDS, self._ask_ready()
        while not ready.ready and monotonic() < until:
            ready = self._ask_ready()
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
        for line in (
            "",
            f"HTTP        {self._url}",
            f"Kafka       {self._settings.kafka_bootstrap}  (topic {self._settings.kafka_topic})",
            f"PostgreSQL  {without_password(self._settings.postgres_dsn)}",
            "",
            "Store an order and get it back, in a second terminal (Ctrl-C here stops everything):",
            "",
            f"curl -i {self._url}/orders -H 'Content-Type: application/json' -d '{original.strip()}'",
            f"curl -i {self._url}/orders/{uid}",
        ):
            self._steps.say(line)

    # -- the life --

    @property
    def _kept(self) -> Sequence[Kept]:
        return [*self._services, *self._children]

    def _tend(self) -> None:
        while True:
            self._tend_once()

    def _tend_once(self) -> None:
        """Starts again what ended; raises `Stopped` when it is time to stop."""
        if sum(each.tend() for each in self._kept):
            self._save_state()
        self._stop.wait(TEND_SECONDS)
        self._stop.check()

    def _save_state(self) -> None:
        data, settings = self._settings.data, self._settings
        running = [each.process for each in self._kept]
        password = data / "postgres" / "password" if "postgres_dsn" in self._embedded else ""
        shown = replace(settings, postgres_dsn=without_password(settings.postgres_dsn))
        processes = (process_of("run", os.getpid()), *(each for each in running if each))
        state.save(data, State(processes, self._url, asdict(shown), str(password)))

    def _retried(self, action: Callable[[], T]) -> T:
        """Tries again while PostgreSQL or Kafka is away, for a while. Raises `StartError`, `SetupWrong`."""
        until, waits = monotonic() + AWAY_SECONDS, backoff()
        while True:
            try:
                return action()
            except Away as error:
                if monotonic() > until:
                    raise StartError(f"{error}; is its address right?") from None
                self._stop.wait(next(waits))
                self._stop.check()

    # -- the end, in order --

    def _stop_children(self) -> None:
        """HTTP, ingest, keeper; each has its part of the time."""
        for kind in ("serve", "ingest", "keep"):
            stop_all([each for each in self._children if each.kind == kind], self._stop.left(SHARES[kind]))

    def _stop_services(self) -> None:
        """Kafka, then PostgreSQL."""
        for service in sorted(self._services, key=lambda each: each.kind):
            service.stop(self._stop.left(SHARES[service.kind]))
