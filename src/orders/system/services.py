"""The embedded services of `orders run`: started together, shown while they start, stopped one after the other."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from orders.embedded import java
from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService, wheel_binaries
from orders.errors import UsageError
from orders.metrics.table import ProcessKind
from orders.settings import Settings
from orders.settings import property_variable as variable
from orders.settings import variable as setting
from orders.system.children import Embedded, wait_until_up
from orders.system.shutdown import StopSignal
from orders.system.steps import Steps

TOOK = "starts.json"
"""File of the data directory with the seconds that each service took to start, the last time."""


SECURE = ("security.", "sasl.", "ssl.")


class Services:
    """PostgreSQL and Kafka, those of them whose address is not given.

    Raises `UsageError` when what is given leads to services of the user's own.
    """

    def __init__(
        self, settings: Settings, steps: Steps, stop: StopSignal, restarted: Callable[[ProcessKind], None]
    ) -> None:
        self._settings = settings
        self._steps = steps
        self._stop = stop
        data = settings.data
        self._addresses: dict[str, Callable[[], str]] = {}
        self.kept: list[Embedded] = []
        if not settings.postgres_dsn:
            refuse_role(settings)
            postgres = PostgresService(data / "postgres")
            self.kept.append(Embedded("postgres", "PostgreSQL", postgres, steps, stop, restarted=restarted))
            self._addresses["postgres_dsn"] = lambda: postgres.dsn
        if not settings.kafka_bootstrap:
            refuse_security(settings.kafka_properties)
            kafka = KafkaService(data / "kafka")
            self.kept.append(Embedded("kafka", "Kafka", kafka, steps, stop, restarted=restarted))
            self._addresses["kafka_bootstrap"] = lambda: kafka.bootstrap

    @property
    def gives(self) -> frozenset[str]:
        """The settings that come from here."""
        return frozenset(self._addresses)

    def require_programs(self) -> None:
        """Raises `StartError` where what is to be started is not installed."""
        if "postgres_dsn" in self.gives:
            wheel_binaries()
        if "kafka_bootstrap" in self.gives:
            java.program()

    def start(self) -> Settings:
        """Starts all at the same time and waits for them; the settings with their addresses. Raises `StartError`."""
        took = remembered(self._settings.data)

        def report(service: Embedded) -> None:
            took[service.kind] = round(service.seconds, 1)
            self._steps.step(f"{service.name} answers")

        with self._steps.waiting(lambda: waiting_text(self.kept, took)):
            wait_until_up(self.kept, self._stop, report)
        remember(self._settings.data, took)
        return replace(self._settings, **{name: address() for name, address in self._addresses.items()})

    def stop(self, shares: Mapping[str, float]) -> None:
        """Kafka, then PostgreSQL; each has its part of the time."""
        for service in sorted(self.kept, key=lambda each: each.kind):
            service.stop(self._stop.left(shares[service.kind]))


def refuse_role(settings: Settings) -> None:
    """The embedded PostgreSQL has one role: anyone who names another forgot to say where."""
    if settings.postgres_dsn_serve:
        dsn, serve = setting("postgres_dsn"), setting("postgres_dsn_serve")
        raise UsageError(f"{serve} is for a PostgreSQL of your own: name it in {dsn} too, or leave it out")


def refuse_security(properties: Mapping[str, str]) -> None:
    """The embedded Kafka speaks plain text: anyone who asks for more forgot to say where."""
    if given := [variable(name) for name in properties if name.startswith(SECURE)]:
        raise UsageError(f"{given[0]} is for a Kafka of your own: name it in ORDERS_KAFKA_BOOTSTRAP, or leave it out")


def waiting_text(services: Sequence[Embedded], took: Mapping[str, float]) -> str:
    """A line for each service that is starting: for how long, and how long it took the last time."""
    lines = []
    for service in services:
        if service.doing:
            last = took.get(service.kind, 0.0)
            before = f" (last time {last:.0f} s)" if last >= 1 else ""
            lines.append(f"         {service.doing}: {service.seconds:.0f} s{before}")
    return "\n".join(lines)


def remembered(data: Path) -> dict[str, float]:
    """Seconds by kind; what cannot be read is forgotten."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((data / TOOK).read_bytes(), type=dict[str, float])
    return {}


def remember(data: Path, took: Mapping[str, float]) -> None:
    """Keeps the seconds for the next start, for which alone they are."""
    if took:
        with suppress(OSError):
            (data / TOOK).write_bytes(msgspec.json.encode(took))
