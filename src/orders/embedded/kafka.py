"""An embedded Apache Kafka: one broker that is its own controller, on the Java runtime of a wheel."""

import os
import re
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException

from orders.embedded import Progress, jars, java, ports
from orders.embedded.process import Launch, ServiceKind
from orders.embedded.service import EmbeddedService
from orders.errors import StartError
from orders.kafka import clients

KIND = ServiceKind("Kafka", stop=signal.SIGTERM, grace=6)
READY_SECONDS = 300.0
"""A service that was killed reads its log first; one that cannot start ends long before."""
FORMAT_SECONDS = 60.0
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A killed broker may come back at once: the controller waits for the end of its old session.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    # The ingests of one start join within this time. Without it the first one takes all partitions and then gives some
    # away, during which they stand idle for a second.
    "group.initial.rebalance.delay.ms": "250",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    # The default of 128 MB would be taken from the heap at once.
    "log.cleaner.dedupe.buffer.size": str(8 * 2**20),
}


class KafkaService(EmbeddedService):
    """Apache Kafka on free loopback ports; data under `directory`. It makes no topics by itself."""

    def __init__(self, directory: Path) -> None:
        super().__init__(KIND, directory)
        self._properties = self._directory / "server.properties"
        self._stamp = self._directory / "version"
        """The Kafka that formatted the storage. It set the metadata's version, which later ones keep and older ones
        cannot read; of one number before the last dot all write the same."""
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """host:port of the broker; known after `start`."""
        return f"{ports.LOOPBACK}:{self._port}"

    def _start(self, report: Progress) -> None:
        pinned = jars.pinned()
        ours, formatted = version(pinned), (self._directory / "data" / "meta.properties").exists()
        if formatted:
            self._refuse_newer_data(ours)
        command = java.command(pinned, self._directory, report)
        self._configure()
        if not formatted:
            report.step("formatting Kafka's storage")
            self._stamp.write_text(f"{ours}\n")
            self._format(command)
        report.step("starting Kafka")
        self._process.start(lambda: self._launch(command), self._answers, READY_SECONDS)

    def _refuse_newer_data(self, ours: str) -> None:
        made = self._stamp.read_text().strip() if self._stamp.exists() else ours
        if _release(made) > _release(ours):
            raise StartError(
                f"{self._directory} was made by Kafka {made}, and ours is {ours}, which cannot read it: start "
                "the release of orders that made it, or a later one, or choose another directory with --data-dir"
            )

    def _configure(self) -> None:
        client, controller = ports.remembered(self._directory / "ports", 2)
        self._port = client
        java.write_properties(
            self._properties,
            PROPERTIES
            | {
                "listeners": f"CLIENT://{ports.LOOPBACK}:{client},CONTROLLER://{ports.LOOPBACK}:{controller}",
                "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller}",
                "log.dirs": "data",  # under the directory it runs in
            },
        )

    def _format(self, command: Sequence[str | Path]) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with self._process.output.open("ab") as log:
            done = subprocess.run(
                [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", self._properties],
                cwd=self._directory,
                env=os.environ | java.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                timeout=FORMAT_SECONDS,
            )
        if done.returncode:
            words, advice = self._process.cause()
            raise StartError(f"Kafka's storage could not be formatted: {words}: {advice}")

    def _launch(self, command: Sequence[str | Path]) -> Launch:
        self._configure()
        return Launch([*command, "kafka.Kafka", self._properties], -1, java.ENVIRONMENT)

    def _answers(self) -> bool:
        return answers(self._port, {"bootstrap.servers": self.bootstrap})


def answers(port: int, kafka: Mapping[str, str]) -> bool:
    """Whether a broker on a loopback port serves clients; `kafka` are the properties that lead to it."""
    if not ports.is_open(port):
        return False
    admin = clients.admin({"log_level": "0", **kafka})
    try:
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def version(pinned: Sequence[jars.Jar]) -> str:
    """The version of Kafka among its jars."""
    return next(jar.version for jar in pinned if jar.artifact == "kafka-clients")


def _release(text: str) -> list[int]:
    """Major and minor number; what is not a version compares as the oldest."""
    return [int(number) for number in re.findall(r"\d+", text)[:2]]
